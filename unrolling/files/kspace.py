"""Files of measured k-space, and where the origins of it and of its image are."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unrolling.files.scans import read_scan

READS = (
    "k-space: HDF5 of fastMRI or ISMRMRD, MATLAB, or a .npy or .npz file, complex (height, width), (coils, height, "
    "width) or (slices, coils, height, width)"
)
SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".mrd", ".mat")


def read_kspace(path: Path) -> Tensor:
    """(coils, height, width) complex64, zero frequency where the file has it; of several slices the first.

    Raises:
        ValueError: no such file, not k-space, NaN or infinity, no frequency at all.
    """
    samples = read_scan(path, "kspace", slices=[0]).values[0]
    if not bool(samples.any()):
        raise ValueError(f"{path} is zero everywhere: nothing was measured")
    return samples


def is_centred(samples: Tensor) -> bool:
    """Whether the zero frequency is in the middle, where then most of the energy is, and not at (0, 0)."""
    energy = samples.abs().square().sum(0)
    height, width = energy.shape
    return float(_around(energy.roll((-(height // 2), -(width // 2)), (0, 1)))) > float(_around(energy))


def image_origin(image: Tensor) -> str | None:
    """Where the origin of an image is that an inverse FFT without any shift made: ``corner`` where it is whole as it
    is, ``centre`` where it lies in four corners and is whole when rolled by half; None where it does not say.

    What is imaged lies inside the field of view, so that the lines at the borders are dark. Of the wrong origin they
    are the lines in the middle, and bright.

    Args:
        image: (coils, height, width).
    """
    energy = image.abs().square().sum(0)
    corner, centre = _border(energy), _border(energy.roll((energy.shape[0] // 2, energy.shape[1] // 2), (0, 1)))
    least, most = min(corner, centre), max(corner, centre)
    if most < 0.5 * float(energy.mean()) or most < 3 * least:
        return None
    return "corner" if corner < centre else "centre"


def _border(energy: Tensor) -> float:
    """The mean energy in the first and last rows, plus that in the first and last columns."""
    total = 0.0
    for dim, side in enumerate(energy.shape):
        lines = max(1, side // 32)
        both = torch.cat([energy.narrow(dim, 0, lines), energy.narrow(dim, side - lines, lines)], dim)
        total += float(both.mean())
    return total


def _around(energy: Tensor) -> Tensor:
    """The energy within an eighth of the sides of (0, 0), periodic."""
    rows, columns = (max(1, side // 16) for side in energy.shape)
    return energy.roll((rows, columns), (0, 1))[: 2 * rows + 1, : 2 * columns + 1].sum()
