r"""
A CT slice, there and back
==========================

A slice of a scanner, from the DICOM file that pydicom brings along: its values are Hounsfield units, and its pixels
have a size in mm. A quarter of the views that it would need are simulated, with the photons of a low dose; filtered
back-projection and total variation reconstruct the slice, which goes back into the study as a new DICOM series, into a
NIfTI file for other programs, and into a picture.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import pydicom
import torch
from pydicom.data import get_testdata_file

from unrolling import solve
from unrolling.algorithms import PDHG, diagonal_steps
from unrolling.files import read_scan, write_scan
from unrolling.operators import (
    FilteredBackProjection,
    FiniteDifferences,
    ParallelBeam,
    Radon,
    from_counts,
    from_hounsfield,
    photon_counts,
    to_hounsfield,
)
from unrolling.prox import Box, IsotropicShrink

# %%
# What the file says: units, spacing, and where the slice lies in the patient.
scan = read_scan(get_testdata_file("CT_small.dcm", download=False), "image", modality="CT")
size = scan.values.shape[-1]
print(f"{size} x {size} pixels of {scan.spacing[1]:.2f} mm, {scan.values.min():.0f} to {scan.values.max():.0f} HU")

# %%
# Attenuation in 1/mm, 50 views over half a circle, and 10,000 photons for each bin of the detector.
attenuation = from_hounsfield(scan.values)
geometry = ParallelBeam.even(views=50, size=size, pixel=scan.spacing[1])
radon = Radon(geometry)
counts = photon_counts(radon(attenuation), 10_000, torch.Generator().manual_seed(0))
sinogram = from_counts(counts, 10_000)

# %%
# The weight of the total variation was chosen on this slice, which flatters it: what is shown is the way of the file.
differences = FiniteDifferences()
steps = diagonal_steps(radon, differences, balance=300.0)
variation = PDHG(radon, differences, IsotropicShrink(), 0.06, image_prox=Box(0.0), **steps)
found = {
    "filtered back-projection": FilteredBackProjection(geometry, "hann")(sinogram),
    "total variation": solve(variation, sinogram, tolerance=1e-4, max_iterations=150).estimate,
}
for name, slices in found.items():
    error = (to_hounsfield(slices) - scan.values).square().mean().sqrt()
    print(f"{name:26}{float(error):6.1f} HU off")

# %%
# Written like what was read: the DICOM file has a new series of the same study, the NIfTI file the same place.
folder = Path(tempfile.mkdtemp())
result = to_hounsfield(found["total variation"])
for name in ("slice.dcm", "slice.nii.gz", "slice.png"):
    write_scan(folder / name, result, scan, window=(0, 1500))
made, volume = pydicom.dcmread(folder / "slice.dcm"), nibabel.load(folder / "slice.nii.gz")
print("DICOM:", *made.ImageType[:2], "of study", made.StudyInstanceUID[-8:], "rescale", made.RescaleSlope, "HU")
print("NIfTI: the first pixel lies at", *(f"{float(mm):.1f}" for mm in volume.affine[:3, 3]), "mm")

figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
axes[0].imshow(scan.values[0], vmin=-750, vmax=750)
axes[1].imshow(sinogram[0], aspect="auto")
for axis, slices in zip(axes[2:], found.values(), strict=True):
    axis.imshow(to_hounsfield(slices)[0], vmin=-750, vmax=750)
for axis, title in zip(axes, ("the file", "50 views", *found), strict=True):
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()
plt.show()
