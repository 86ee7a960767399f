"""Files of scanners: what they hold is read, keeps where it lies, and is given back."""

import numpy as np
import pytest
import torch

from unrolling.files import read_scan, write_scan

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
h5py = pytest.importorskip("h5py")

RNG = np.random.default_rng(0)
KSPACE = (RNG.standard_normal((3, 4, 16, 12)) + 1j * RNG.standard_normal((3, 4, 16, 12))).astype(np.complex64)
CT = pydicom.data.get_testdata_file("CT_small.dcm", download=False)
# A slanted volume: columns to the left, rows to the back and down, slices up and to the front.
AFFINE = np.array([[-0.7, 0.0, 0.0, 90.0], [0.0, -0.8, 0.6, 120.0], [0.0, -0.45, 1.9, -70.0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.dcm", "a.npz"])
def test_a_ct_slice_keeps_its_units_and_its_place_through_every_format(tmp_path, name):
    scan = read_scan(CT, "image", modality="CT")
    source = pydicom.dcmread(CT)
    units = source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept)
    np.testing.assert_array_equal(scan.values[0].numpy(), units)
    assert scan.units == "HU"
    (path,) = write_scan(tmp_path / name, scan.values, scan)
    again = read_scan(path, "image")
    assert again.units == "HU"
    np.testing.assert_array_equal(again.values.numpy(), scan.values.numpy())
    np.testing.assert_allclose(again.spacing, scan.spacing, rtol=1e-6)
    np.testing.assert_allclose(again.affine, scan.affine, atol=1e-5)


def test_a_nifti_volume_is_what_nibabel_makes_of_it(tmp_path):
    values = RNG.integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
    image = nibabel.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(0.5, 3.0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    wanted = np.asarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)
    scan = read_scan(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(scan.values.numpy(), wanted.transpose(2, 1, 0))
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(scan.spacing, np.linalg.norm(AFFINE[:3, :3], axis=0)[::-1], rtol=1e-6)
    some = scan.part([2, 3])
    np.testing.assert_array_equal(some.values.numpy(), scan.values[2:].numpy())
    write_scan(tmp_path / "b.nii", some.values, some)
    begun = nibabel.load(tmp_path / "b.nii").affine
    np.testing.assert_allclose(begun[:3, 3], (AFFINE @ [0, 0, 2, 1])[:3], atol=1e-5)


def test_fastmri_is_read_slice_by_slice(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"] = KSPACE
        file["mask"] = np.r_[np.ones(6), np.zeros(6)].astype(bool)
        file.attrs["acquisition"] = "AXT2"
    scan = read_scan(tmp_path / "a.h5", "kspace", slices=())
    assert (scan.count, scan.values.shape, scan.more["acquisition"]) == (3, (0, 4, 16, 12), "AXT2")
    np.testing.assert_array_equal(scan.part([1]).values.numpy(), KSPACE[1:2])
    assert torch.equal(scan.mask, torch.cat([torch.ones(16, 6), torch.zeros(16, 6)], 1))
    write_scan(tmp_path / "b.h5", scan.part([0, 1, 2]).values[:, 0].abs())
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_allclose(file["reconstruction"], np.abs(KSPACE[:, 0]), rtol=1e-6)
