"""MATLAB files of numbers: version 5 (and 4) by SciPy, version 7.3, which is HDF5, by h5py."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unrolling._extras import extra
from unrolling.files._apart import Apart
from unrolling.files.decoding import check_size
from unrolling.files.scan import Contents, Kind

NUMBERS = {
    "double": 8,
    "single": 4,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "logical": 1,
    "char": 2,
}
COILS = 64  # more than these in the last place, and fewer pixels in the first, and the order is another


def open_matlab(path: Path, kind: Kind | None, array: str | None = None, **_: Any) -> Contents:
    """An array in the order that MATLAB has: (height, width), and then coils, slices: k-space (height, width, coils,
    slices), images (height, width, slices), sinograms (bins, views) as ``radon`` gives them, (bins, views, slices).

    Raises:
        ValueError: objects, cells and structures, sparse matrices; no array that could be meant.
    """
    from unrolling.files._arrays import chosen, described

    with path.open("rb") as file:
        start = file.read(520)
    held: Mapping[str, np.ndarray]
    if start[512:516] == b"\x89HDF" or start.startswith((b"\x89HDF", b"MATLAB 7.3")):
        held = _Seven(path)
    else:
        held = _Five(path)
    words = ("spacing", "units", "affine", "angles", "mask")
    names = [name for name in held if name not in words]
    name, named = chosen(path, names, kind, array)
    values = _ordered(path, np.asarray(held[name]), kind or named)
    facts = described(held, path, kind or named)
    if name == "counts":
        facts["units"] = "counts"
    found = {**facts, "single": len(values) == 1, "more": held}
    return Contents("a MATLAB file", len(values), lambda slices: values[slices], named, found)


def _ordered(path: Path, values: np.ndarray, kind: Kind | None) -> np.ndarray:
    """Slices first, from MATLAB's order."""
    if values.dtype.kind not in "iufcb":
        raise ValueError(f"{path} holds {values.dtype}, and not numbers")
    kspace = kind == "kspace" or (kind is None and values.dtype.kind == "c")
    if kspace and values.ndim in (2, 3, 4):
        while values.ndim < 4:
            values = values[..., None]
        height, width, coils, _ = values.shape
        if coils > COILS and coils > min(height, width):
            raise ValueError(
                f"{path} would hold {coils} coils of {height} x {width}; k-space in MATLAB's order is (height, width, "
                "coils, slices)"
            )
        return values.transpose(3, 2, 0, 1)
    if values.ndim == 2:
        return (values.T if kind == "sinogram" else values)[None]
    if values.ndim == 3:
        return values.transpose(2, 1, 0) if kind == "sinogram" else values.transpose(2, 0, 1)
    return values


class _Five(Mapping[str, np.ndarray]):
    """The arrays of numbers of a file of version 4 or 5, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        with extra("a MATLAB file", "scans"):
            import scipy  # noqa: F401
        self.file = Apart(path, "matlab")
        self.found: dict[str, tuple[list[int], str]] = self.file.asked({"do": "describe"})[0]["holds"]
        self.names = [name for name, (_, form) in self.found.items() if form in NUMBERS]
        if not self.names:
            others = ", ".join(f"{name} ({form})" for name, (_, form) in list(self.found.items())[:8])
            raise ValueError(f"{path} holds {others or 'nothing'}, and no array of numbers")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        path, (shape, form) = self.file.path, self.found[name]
        sides = " x ".join(map(str, shape))
        need = 2 * NUMBERS[form] * math.prod(shape)
        check_size(path, need, path.stat().st_size, f"{sides} values of {name}")
        return self.file.asked({"do": "read", "name": name, "shape": shape, "bytes": need})[1][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class _Seven(Mapping[str, np.ndarray]):
    """The arrays of numbers of a file of version 7.3, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        from unrolling.files._hdf5_access import File

        self.file = File(path)
        self.names = [
            name
            for name, found in self.file.holds.items()
            if self.file.has(name)
            and (found["kind"] in "iufcb" or self.file.is_complex(name))
            and found["attributes"].get("MATLAB_empty", "0") == "0"
        ]
        if not self.names:
            others = ", ".join(list(self.file.holds)[:8])
            raise ValueError(f"{path} holds {others or 'nothing'}, and no array of numbers")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        values = self.file.numbers(name)
        if self.file.holds[name]["attributes"].get("MATLAB_class") == "char" and values.dtype.kind == "u":
            return np.array("".join(map(chr, values.reshape(-1))))
        return values.T

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
