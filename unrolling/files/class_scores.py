"""Files of scores of the classes of pixels."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.whole import check_place, write_bytes

LEAST_CHANCE = 1e-6  # what a chance of zero counts as


def read_class_scores(path: str | Path) -> Tensor:
    """Scores (classes, height, width) float32 of a ``.npy`` file: logits, up to a number for each pixel. What is a
    chance, at least 0 with sums of 1 over the classes, becomes its logarithm, with a warning.

    Raises:
        ValueError: another shape or kind, numbers that are not finite, fewer than two classes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; it is a .npy file of scores (classes, height, width)")
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: scores are a .npy file (classes, height, width)")
    values = np.asarray(Arrays(path).only)
    if values.ndim != 3 or values.dtype.kind not in "iuf" or values.size == 0:
        raise ValueError(f"{path}: scores are real numbers (classes, height, width); got {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds {int((~np.isfinite(values)).sum())} scores that are NaN or infinite")
    if len(values) < 2:
        raise ValueError(f"{path} has scores of {len(values)} class; there are at least two")
    scores = torch.from_numpy(values.astype(np.float32))
    if bool((scores >= 0).all()) and bool(((scores.sum(0) - 1).abs() < 1e-2).all()):
        warnings.warn(
            f"{path} holds chances, with sums of 1 over the classes; their logarithms are taken", stacklevel=2
        )
        scores = scores.clamp_min(LEAST_CHANCE).log()
    return scores


def check_class_output(path: Path) -> None:
    """Finds out before the work whether labels or chances can be written.

    Raises:
        ValueError: they cannot.
    """
    if path.suffix.lower() not in (".png", ".npy"):
        raise ValueError(f"{path}: labels are written as .png or .npy, chances as .npy")
    check_place(path)


def write_pixel_labels(path: Path, labels: Tensor) -> None:
    """Labels (height, width) as a grey picture of 8 bits whose values they are, or as a ``.npy`` file; whole or not at
    all.

    Raises:
        ValueError: more than 256 classes in a picture.
    """
    content = io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(content, labels.numpy())
    else:
        from unrolling.files.pictures import pillow

        if int(labels.max()) > 255:
            raise ValueError(f"{path}: a picture holds 256 labels, and there are {int(labels.max()) + 1}; name a .npy")
        pillow().fromarray(labels.to(torch.uint8).numpy()).save(content, format="PNG")
    write_bytes(path, content.getvalue())


def write_chances(path: Path, chances: Tensor) -> None:
    """Chances (classes, height, width) as a ``.npy`` file, whole or not at all.

    Raises:
        ValueError: another suffix; numbers that are not finite.
    """
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: chances are written as .npy")
    content = io.BytesIO()
    np.save(content, checked(chances, "the chances").numpy())
    write_bytes(path, content.getvalue())
