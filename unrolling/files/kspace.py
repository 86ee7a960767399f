"""Files of measured k-space, and of the images made from it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.files import pictures
from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.whole import write_bytes

READS = "k-space in a .npy file or the one array of a .npz file, complex (height, width) or (coils, height, width)"


def read_kspace(path: Path) -> Tensor:
    """(coils, height, width) complex64, zero frequency where the file has it.

    Raises:
        ValueError: no such file, not an array of complex numbers of two or three dimensions, NaN or infinity, no
            frequency at all.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; the input is {READS}")
    values = Arrays(path).only
    if values.dtype.kind != "c":
        raise ValueError(f"{path} holds {values.dtype}; k-space is complex")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ValueError(
            f"{path} holds an array of shape {values.shape}; k-space is (height, width) or (coils, height, width)"
        )
    bad = ~np.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{path} holds {int(bad.sum())} values that are NaN or infinite, the first at index {where}")
    if not values.any():
        raise ValueError(f"{path} is zero everywhere: nothing was measured")
    samples = torch.from_numpy(np.ascontiguousarray(values.astype(np.complex64)))
    return samples if samples.ndim == 3 else samples.unsqueeze(0)


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


def check_output(path: Path) -> None:
    """Refuses an output that is neither a picture nor a ``.npy`` file.

    Raises:
        ValueError: it is not, or cannot be written.
    """
    pictures.check_output(path.with_suffix(".png") if path.suffix.lower() == ".npy" else path)


def write_image(path: Path, image: Tensor) -> None:
    """Write an image (height, width): its magnitude as a picture of 16 bits whose largest value is white, or all of it
    as ``.npy``; whole or not at all.
    """
    if path.suffix.lower() == ".npy":
        content = io.BytesIO()
        np.save(content, checked(image, "the image").numpy())
        write_bytes(path, content.getvalue())
    else:
        magnitude = checked(image, "the image").abs()
        pictures.write(path, pictures.Picture((magnitude / magnitude.max()).unsqueeze(0), depth=16))
