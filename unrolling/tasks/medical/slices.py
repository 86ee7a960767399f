"""Slices of magnetic resonance images from files, and how estimates of them are scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.core import scale
from unrolling.files.decoding import Arrays
from unrolling.tasks.base import Samples
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.pictures import similarity

PARTS = ("train", "validation", "test")
SHARES = (0.8, 0.1)  # of slices in one file: training, validation; the rest are tested on


def read_slices(path: str | Path) -> list[Tensor]:
    """Images from a file: ``.npy`` or ``.npz`` arrays (height, width) or (count, height, width), real or complex, or a
    picture.

    Of an ``.npz`` with ``counts`` and ``scale`` the quotient is taken; of any other, all arrays in their order. Real
    images are divided by their maximum where that is above 1.

    Raises:
        ValueError: no such file, no images in it, NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    if path.suffix.lower() in images.SUFFIXES:
        return [images.read(path)]
    try:
        held = Arrays(path)
        if held.zipped and {"counts", "scale"} <= set(held):
            arrays = [held["counts"] / held["scale"].reshape(-1, 1, 1)]
        else:
            arrays = list(held.values())
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a file of numbers (.npy, .npz) or a picture: {error}") from error
    found: list[Tensor] = []
    for array in arrays:
        if array.ndim not in (2, 3) or array.dtype.kind not in "biufc":
            raise ValueError(
                f"{path} holds an array of shape {array.shape} and type {array.dtype}; images are "
                "(height, width) or (count, height, width)"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{path} holds NaN or infinite values")
        values = torch.from_numpy(
            np.ascontiguousarray(array.astype(np.complex64 if array.dtype.kind == "c" else np.float32))
        )
        found += list(values if values.ndim == 3 else values.unsqueeze(0))
    return [each / max(1.0, float(each.abs().max())) for each in found]


def slices_by_part(path: str | Path) -> dict[str, list[Tensor]]:
    """Images for training, validation and testing: of a file divided 80 / 10 / 10 in its order (see ``read_slices``),
    of a folder those in its sub-folders train, validation and test.

    Raises:
        ValueError: no images, fewer than three in a file, and what ``read_slices`` refuses.
    """
    path = Path(path)
    if path.is_dir():
        return {part: _folder(path / part) for part in PARTS}
    return _divided(read_slices(path), path)


def relative_errors(estimate: Tensor, target: Tensor) -> Tensor:
    """|x' - x| / |x| of each image, Euclidean norms, (batch,), for losses: 0 where x is zero, since a cut-out of the
    background has no relative error and teaches nothing.
    """
    return scale.divide(scale.norm((estimate - target).flatten(1)), scale.norm(target.flatten(1)))


def magnitude_errors(estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
    """Relative error of images, complex where they are (magnitudes where the estimate is real and the target is not),
    and structural similarity of their magnitudes, averaged over images.
    """
    pairs = [(e, b.target[: len(e)]) for e, b in zip(estimates, batches, strict=True)]
    pairs = [(e, t if e.is_complex() or not t.is_complex() else t.abs()) for e, t in pairs]
    ratio = torch.cat(
        [
            torch.linalg.vector_norm((e - t).flatten(1), dim=1) / torch.linalg.vector_norm(t.flatten(1), dim=1)
            for e, t in pairs
        ]
    )
    return {
        "relative error": float(ratio.mean()),
        "SSIM": similarity([e.abs() for e, _ in pairs], [t.abs() for _, t in pairs]),
    }


def _folder(path: Path) -> list[Tensor]:
    files = (
        sorted(file for file in path.rglob("*") if file.suffix.lower() in (".npy", ".npz", *images.SUFFIXES))
        if path.is_dir()
        else []
    )
    if not files:
        raise ValueError(f"{path} holds no slices (.npy, .npz, or pictures)")
    return [each for file in files for each in read_slices(file)]


def _divided(slices: list[Tensor], path: str | Path) -> dict[str, list[Tensor]]:
    count = len(slices)
    if count < 3:
        raise ValueError(f"{path} holds {count} slices; at least 3 are needed, to train, validate and test on")
    train = min(count - 2, max(1, round(SHARES[0] * count)))
    validation = train + min(count - train - 1, max(1, round(SHARES[1] * count)))
    return {"train": slices[:train], "validation": slices[train:validation], "test": slices[validation:]}
