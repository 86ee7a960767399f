"""Scans in files of arrays: ``.npy``, ``.npz`` and TIFF."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unrolling._extras import extra
from unrolling.files.decoding import Arrays, check_size
from unrolling.files.scan import Contents, Kind

# What arrays are called, by what they are.
NAMES: Mapping[str, tuple[str, ...]] = {
    "kspace": ("kspace", "ksp", "kdata", "k"),
    "sinogram": ("sinogram", "sino", "projections", "proj", "counts"),
    "image": ("image", "img", "volume", "hu", "reconstruction", "recon", "x"),
}
UNITS = ("HU", "1/mm", "1/cm", "counts", "")


def chosen(path: Path, names: Sequence[str], kind: Kind | None, array: str | None) -> tuple[str, Kind | None]:
    """The array of a file that is meant, and what it is by its name.

    Raises:
        ValueError: none, or several that could be.
    """
    if array is not None:
        if array not in names:
            raise ValueError(f"{path} holds {', '.join(names) or 'nothing'}, and no array {array}")
        return array, kind
    found = [
        (name, known)
        for known in ([kind] if kind is not None else NAMES)
        for wanted in NAMES[known]
        for name in names
        if name.lower() == wanted
    ]
    if found:
        return found[0]  # pyright: ignore[reportReturnType]
    if len(names) == 1:
        return names[0], kind
    words = NAMES[kind or "kspace"][0]
    raise ValueError(
        f"{path} holds {', '.join(names) or 'nothing'}, and it is not clear which is meant; call one {words}"
    )


def sliced(values: np.ndarray, kind: Kind | None) -> tuple[np.ndarray, bool]:
    """With the slices as first dimension, and whether there were none; an array of k-space of three dimensions is
    (coils, height, width).
    """
    complex_is = kind == "kspace" or (kind is None and values.dtype.kind == "c")
    if values.ndim == (3 if complex_is else 2):
        return values[None], True
    if complex_is and values.ndim == 2:
        return values[None, None], True
    return values, values.ndim < 2


def described(more: Mapping[str, Any], path: Path, kind: Kind | None) -> dict[str, Any]:
    """The attributes of a scan among the other arrays of a file.

    Raises:
        ValueError: a spacing that is not positive, units that are not known, an affine that is none.
    """
    facts: dict[str, Any] = {}
    if "spacing" in more:
        spacing = np.atleast_1d(np.asarray(more["spacing"]).squeeze())
        if spacing.dtype.kind not in "iuf" or spacing.ndim != 1 or not 1 <= len(spacing) <= 3:
            raise ValueError(f"{path}: spacing is one to three numbers in mm; got {spacing.dtype} {spacing.shape}")
        if not (np.isfinite(spacing).all() and (spacing > 0).all()):
            raise ValueError(f"{path}: spacing is in mm and positive; got {spacing.tolist()}")
        sides = [float(each) for each in spacing]
        if kind != "sinogram" and len(sides) < 3:
            sides = [1.0, sides[0], sides[-1]]
        facts["spacing"] = tuple(sides)
    if "units" in more:
        text = np.asarray(more["units"])
        units = str(text.reshape(-1)[0]) if text.size == 1 and text.dtype.kind in "US" else ""
        units = units[2:-1] if units.startswith("b'") else units
        if units not in UNITS:
            raise ValueError(f"{path}: units are {', '.join(UNITS[:-1])} or none; got {units[:40]!r}")
        facts["units"] = units
    if "affine" in more:
        affine = np.asarray(more["affine"])
        if affine.shape != (4, 4) or affine.dtype.kind not in "iuf" or not np.isfinite(affine).all():
            raise ValueError(f"{path}: affine is (4, 4) and finite; got {affine.dtype} {affine.shape}")
        facts["affine"] = affine.astype(np.float64)
    return facts


def open_arrays(path: Path, kind: Kind | None, array: str | None = None, **_: Any) -> Contents:
    """An array of a ``.npy`` or ``.npz`` file; in the latter, ``spacing`` in mm, ``units`` and ``affine`` may stand
    beside it.
    """
    arrays = Arrays(path)
    name, named = ("y", None) if not arrays.zipped else chosen(path, arrays.names, kind, array)
    values, single = sliced(arrays[name], kind or named)
    facts = described(arrays, path, kind or named) if arrays.zipped else {}
    if name == "counts":
        facts["units"] = "counts"
    return Contents(
        "a .npy or .npz file of arrays",
        len(values),
        lambda slices: values[slices],
        named if arrays.zipped else None,
        {**facts, "single": single, "more": arrays if arrays.zipped else {}},
    )


def open_tiff(path: Path, kind: Kind | None, **_: Any) -> Contents:
    """The pages of a TIFF file as slices; grey, of any kind of number.

    Raises:
        ValueError: colours, or pages of several sizes.
    """
    with extra("a TIFF file of measurements", "scans"):
        import tifffile
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it raises what it has to say
    size = path.stat().st_size
    with tifffile.TiffFile(path) as file:
        shapes: list[Any] = [(page.shape, page.dtype) for page in file.pages]  # pyright: ignore
        if not shapes or len(shapes[0][0]) != 2 or shapes[0][1] is None:
            raise ValueError(f"{path} is no stack of grey images, each (height, width)")
        if any(each != shapes[0] for each in shapes):
            raise ValueError(f"{path} holds images of several sizes or kinds of numbers")
        (height, width), dtype = shapes[0]
        held = len(shapes) * math.prod((height, width)) * dtype.itemsize
        check_size(path, held, size, f"{len(shapes)} x {height} x {width} values")
        for page in file.pages:
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):  # pyright: ignore
                if start + count > size or not (start and count):
                    raise ValueError(f"{path} is truncated: its values go to byte {start + count}, and it has {size}")

    def read(slices: Sequence[int]) -> np.ndarray:
        with tifffile.TiffFile(path) as file:
            return np.stack([np.asarray(file.pages[number].asarray()) for number in slices])

    return Contents("a TIFF file", len(shapes), read, None, {"single": len(shapes) == 1})
