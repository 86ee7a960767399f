"""What a scanner's file holds, with where it lies in the patient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import decoding

Kind = Literal["kspace", "sinogram", "image"]
WORDS = {"kspace": "k-space", "sinogram": "a sinogram", "image": "an image"}
AXES = {
    "kspace": "(height, width), (coils, height, width) or (slices, coils, height, width)",
    "sinogram": "(views, bins) or (slices, views, bins)",
    "image": "(height, width) or (slices, height, width)",
}


@dataclass(frozen=True)
class Scan:
    """What a file holds, slice by slice.

    Attributes:
        values: image: (slices, height, width) float32, or complex64; sinogram: (slices, views, bins) float32; kspace:
            (slices, coils, height, width) complex64.
        kind: which of these.
        spacing: mm from one to the next, of the last dimensions: (slices, rows, columns) of an image, and of the image
            that k-space gives; (bins,) of a sinogram. None where the file does not say.
        units: of the values: ``HU``, ``1/mm``, ``counts``; empty where they have none, or the file does not say.
        affine: (4, 4), from (column, row, slice, 1) to mm to the patient's right, front and head, the coordinates of
            NIfTI; None where the file does not say. Of k-space, that of the image of ``image_size``.
        mask: (height, width) of zeros and ones, what was measured of k-space, zero frequency where the k-space has it;
            None where the file holds none.
        image_size: (height, width) of the middle of the image that k-space gives; the rest comes from reading twice as
            densely as was needed. None for all of it.
        centred: whether the zero frequency and the image's origin are in the middle; None where the file does not say.
        noise: (coils, coils) complex, the covariance of the coils' noise, where the file holds a recording of it.
        window: the centre and the width of the values to be shown, where the file says.
        modality: as DICOM has it: ``CT``, ``MR``; empty where the file does not say.
        more: what else there is, by name: other arrays of a ``.npz`` or ``.mat`` file, notes.
        path: of the file, or of the folder of a series.
        count: slices in the file, of which ``values`` may hold some.
        numbers: which these are.
        single: whether the file held an array without slices.
    """

    values: Tensor
    kind: Kind
    spacing: tuple[float, ...] | None = None
    units: str = ""
    affine: np.ndarray | None = None
    mask: Tensor | None = None
    image_size: tuple[int, int] | None = None
    centred: bool | None = None
    noise: Tensor | None = None
    window: tuple[float, float] | None = None
    modality: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    count: int = 1
    numbers: tuple[int, ...] = (0,)
    single: bool = False
    source: Contents | None = field(default=None, repr=False, compare=False)

    def part(self, slices: Sequence[int]) -> Scan:
        """The same with other slices of the file, which are read now.

        Raises:
            ValueError: a slice that is not there; a file that cannot be read any more.
        """
        if self.source is None or self.path is None:
            raise ValueError("this scan was not read from a file, so that no other slices of it can be read")
        return replace(self, values=values_of(self.path, self.source, self.kind, slices), numbers=tuple(slices))

    def cropped(self, image: Tensor) -> Tensor:
        """The middle of an image (..., height, width) of this k-space, without what reading too densely added."""
        if self.image_size is None:
            return image
        height, width = (min(a, b) for a, b in zip(self.image_size, image.shape[-2:], strict=True))
        top, left = image.shape[-2] // 2 - height // 2, image.shape[-1] // 2 - width // 2  # middle on middle
        return image[..., top : top + height, left : left + width]

    def spacing_or(self, assumed: tuple[float, ...]) -> tuple[float, ...]:
        """The spacing in mm; where the file does not say it, what is assumed, with a warning."""
        if self.spacing is not None:
            return self.spacing
        sides = " x ".join(f"{side:g}" for side in assumed)
        warnings.warn(f"{self.path} does not say its spacing; {sides} mm is assumed", stacklevel=2)
        return assumed


@dataclass(frozen=True)
class Contents:
    """What the reader of a format finds.

    Attributes:
        what: the format, for messages.
        count: slices.
        read: numbers of slices -> an array of ``Scan.values``' shape.
        kind: None where the file does not say.
        facts: further attributes of ``Scan``.
    """

    what: str
    count: int
    read: Callable[[Sequence[int]], np.ndarray]
    kind: Kind | None
    facts: Mapping[str, Any] = field(default_factory=dict)


def values_of(path: Path, found: Contents, kind: Kind, slices: Sequence[int]) -> Tensor:
    """Slices in single precision, all numbers finite."""
    for number in slices:
        if not 0 <= number < found.count:
            raise ValueError(f"{path} has no slice {number}; it has {found.count}, counted from 0")
    with decoding(path, found.what), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")  # of what the file itself has wrong
        values = found.read(list(slices) if len(slices) else [0])
    if kind == "kspace" and values.dtype.kind != "c":
        pairs = "; pairs of real and imaginary parts are joined by a[..., 0] + 1j * a[..., 1]"
        raise ValueError(f"{path} holds {values.dtype}; k-space is complex" + (pairs if values.shape[-1] == 2 else ""))
    if kind == "sinogram" and values.dtype.kind == "c":
        raise ValueError(f"{path} holds {values.dtype}; a sinogram is real")
    if values.dtype.kind not in "iufcb":
        raise ValueError(f"{path} holds {values.dtype}, and not numbers")
    if values.ndim == 3 and kind == "kspace":
        values = values[:, None]
    if values.ndim != (4 if kind == "kspace" else 3) or 0 in values.shape:
        shape = values.shape[1:] if len(values) == 1 else values.shape
        raise ValueError(f"{path} holds an array of shape {shape}; {WORDS[kind]} is {AXES[kind]}")
    values = values[: len(slices)]
    with np.errstate(over="ignore"):
        single = values.astype(np.complex64 if values.dtype.kind == "c" else np.float32)
    bad = ~np.isfinite(single)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        size = "" if not np.isfinite(values[bad]).all() else " in single precision"
        raise ValueError(
            f"{path} holds {int(bad.sum())} values that are NaN or infinite{size}, the first at index {where}"
        )
    if kind == "sinogram" and found.facts.get("units") == "counts" and (values < 0).any():
        raise ValueError(f"{path} holds negative counts, the smallest {values.min():g}; photons are counted from 0")
    return torch.from_numpy(np.ascontiguousarray(single))
