"""Slices of a scanner in the place of projections: those are simulated, so that a network for few views can be tried on
what somebody has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolling.files.scan import Contents, Scan
from unrolling.files.scans import read_scan
from unrolling.operators.attenuation import (
    WATER,
    from_counts,
    from_hounsfield,
    photon_counts,
    to_hounsfield,
    with_gaussian_noise,
)
from unrolling.operators.geometry import ParallelBeam
from unrolling.operators.radon import Radon
from unrolling.systems.options import Option

SIMULATE = Option(
    "simulate",
    int,
    "views over half a circle that are simulated of slices (DICOM, NIfTI, ...), with noise of --photons",
    default="none: the input holds projections; noise of 5 % of the mean",
)
NOISE = 0.05  # of the mean of the projections, as weights were trained
UNITS = ("HU", "1/mm")


def is_series(folder: Path) -> bool:
    """Whether a folder holds a DICOM file, and so is the input as a whole."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            with path.open("rb") as file:
                if path.suffix.lower() in (".dcm", ".ima") or file.read(132)[128:] == b"DICM":
                    return True
    return False


def projections(path: Path, given: Mapping[str, Any]) -> Scan:
    """The projections of slices as a sinogram, simulated slice by slice; ``more["image"]`` holds the slices.

    Raises:
        ValueError: by the file's name: no images, slices or pixels that are not square, units that nobody says.
    """
    scan = read_scan(path, "image", slices=())
    height, width = map(int, scan.values.shape[-2:])
    if height != width:
        raise ValueError(f"{path} has slices of {height} x {width}; only square ones are projected")
    units = given.get("units") or scan.units
    if units not in UNITS:
        raise ValueError(f"{path} does not say the units of its values: give --units HU or --units 1/mm")
    pixel = given.get("pixel") or (None if scan.spacing is None else scan.spacing[-1])
    if pixel is None:
        raise ValueError(f"{path} does not say the size of its pixels: give --pixel, in mm")
    if scan.spacing is not None and abs(scan.spacing[-2] - scan.spacing[-1]) > 1e-3 * scan.spacing[-1]:
        raise ValueError(f"{path} has pixels of {scan.spacing[-2]:g} x {scan.spacing[-1]:g} mm; only square ones work")
    if given["simulate"] < 1:
        raise ValueError(f"--simulate {given['simulate']}: at least one view is simulated")
    geometry = ParallelBeam.even(given["simulate"], width, float(pixel))
    photons, water = given.get("photons"), given.get("water", WATER)

    def read(slices: Sequence[int]) -> np.ndarray:
        found = scan.part(slices).values
        attenuation = from_hounsfield(found, water) if units == "HU" else found
        made = Radon(geometry)(attenuation)
        noisy = []
        for number, y in zip(slices, made, strict=True):
            generator = torch.Generator().manual_seed(number)
            if photons is None:
                noisy.append(with_gaussian_noise(y.unsqueeze(0), NOISE, generator))
            else:
                noisy.append(from_counts(photon_counts(y.unsqueeze(0), photons, generator), photons))
        return torch.cat(noisy).numpy()

    contents = Contents("projections that are simulated", scan.count, read, "sinogram")
    told = {"beam": "parallel", "angles": "0:180", "size": width, "pixel": float(pixel), "spacing": float(pixel)}
    told |= {"units": "integrals", "hounsfield": units == "HU"}
    return Scan(
        torch.zeros(0, geometry.views, geometry.bins),
        "sinogram",
        more={"image": scan, "simulated": told},
        path=path,
        count=scan.count,
        numbers=(),
        source=contents,
    )


def difference(scan: Scan, numbers: Sequence[int], volume: torch.Tensor, units: str, given: Mapping[str, Any]) -> float:
    """The root of the mean square difference from the slices that were projected, in ``units``."""
    truth = scan.part(numbers).values
    if units == "HU" and scan.units == "1/mm":
        truth = to_hounsfield(truth, given.get("water", WATER))
    return float((volume - truth).square().mean().sqrt())
