"""How images lie in the patient, and how they are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.files.scan import Scan

SOFT_TISSUE = (40.0, 400.0)  # centre and width of the window for Hounsfield units where nobody says another


def suffix_of(path: Path) -> str:
    """The suffix in small letters; ``.nii.gz`` as a whole."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def of_image(like: Scan, volume: Tensor) -> Scan:
    """What the image made from k-space or a sinogram keeps of it."""
    if like.kind == "sinogram":
        return replace(like, kind="image", spacing=None if like.affine is None else like.spacing)
    affine = like.affine
    if affine is not None and like.image_size is not None:
        # The affine is that of the middle part; of the whole image it begins further out.
        more = [a // 2 - b // 2 for a, b in zip(volume.shape[-2:], like.image_size, strict=True)]
        affine = affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ np.array([more[1], more[0], 0.0])
    return replace(like, kind="image", affine=affine, modality=like.modality or "MR")


def placed(like: Scan | None, slices: int) -> tuple[tuple[float, float, float], np.ndarray | None]:
    """The spacing in mm (1 where it is not known) and the affine of the slices ``like.numbers``."""
    if like is None:
        return (1.0, 1.0, 1.0), None
    spacing = like.spacing if like.spacing is not None and len(like.spacing) == 3 else (1.0, 1.0, 1.0)
    affine = like.affine
    if affine is not None and len(like.numbers) == slices and slices:
        first = like.numbers[0]
        step = like.numbers[1] - first if slices > 1 else 1
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * first
        affine[:3, 2] *= step
        spacing = (spacing[0] * abs(step), *spacing[1:])
    return spacing, affine  # pyright: ignore


def upright(image: Tensor, affine: np.ndarray | None) -> Tensor:
    """(height, width) as radiologists look at it: rows from anterior to posterior or from superior to inferior,
    columns from the patient's right to the left or from anterior to posterior; as it is where the affine is not known.
    """
    if affine is None:
        return image
    for dim, axis in ((0, affine[:3, 1]), (1, affine[:3, 0])):
        largest = int(np.argmax(np.abs(axis)))
        # Down is posterior or inferior, to the right of the picture is left, or posterior.
        if axis[largest] > 0:
            image = image.flip(dim)
    return image


def shown(image: Tensor, like: Scan | None, window: tuple[float, float] | None = None) -> Tensor:
    """(height, width) in [0, 1] of a picture, upright."""
    low, high = limits(image, like, window)
    scaled = (image - low) / (high - low) if high > low else torch.zeros_like(image)
    return upright(scaled.clamp(0, 1), None if like is None else like.affine)


def limits(image: Tensor, like: Scan | None, window: tuple[float, float] | None = None) -> tuple[float, float]:
    """The values that are black and white."""
    if window is None and like is not None:
        window = like.window or (SOFT_TISSUE if like.units == "HU" else None)
    if window is not None:
        return window[0] - window[1] / 2, window[0] + window[1] / 2
    return min(0.0, float(image.min())), float(image.max())
