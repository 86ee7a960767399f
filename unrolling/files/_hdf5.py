"""HDF5 files of fastMRI, arrays in others, and the way to those of ISMRMRD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolling.files._hdf5_access import Header, dataset, geometry, numbers, opened, text
from unrolling.files._ismrmrd import open_ismrmrd
from unrolling.files.scan import Contents, Kind


def open_hdf5(path: Path, kind: Kind | None, array: str | None = None, **_: Any) -> Contents:
    """k-space of fastMRI or ISMRMRD; another array by its name.

    Raises:
        ValueError: no HDF5 file, or none of these is in it.
    """
    with opened(path) as file:
        names = list(file)
        if array is None and "kspace" not in names and _is_group(path, file, names):
            return open_ismrmrd(path)
        if array is None and "kspace" in names and kind in (None, "kspace"):
            return _fastmri(path, file)
        if array is None and kind == "kspace":
            raise ValueError(
                f"{path} has no dataset kspace, and no group dataset as ISMRMRD; it holds "
                f"{', '.join(names[:20]) or 'nothing'}"
            )
        return _other(path, file, names, kind, array)


def _is_group(path: Path, file: Any, names: Sequence[str]) -> bool:
    import h5py

    if "dataset" not in names or not isinstance(file.get("dataset", getlink=True), h5py.HardLink):
        return False
    return isinstance(file["dataset"], h5py.Group) and {"xml", "data"} <= set(file["dataset"])


def _fastmri(path: Path, file: Any) -> Contents:
    held = dataset(path, file, "kspace")
    shape, dtype = held.shape, held.dtype
    if dtype.kind != "c" and dtype.names is None:
        raise ValueError(f"{path}: kspace holds {dtype}; k-space is complex")
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(
            f"{path}: kspace has the shape {shape}; it is (slices, height, width) or (slices, coils, height, width)"
        )
    facts: dict[str, Any] = {"centred": True, "modality": "MR"}
    if "ismrmrd_header" in file:
        facts |= geometry(Header(path, text(path, file, "ismrmrd_header")), shape[-2:])
    if "mask" in file:
        facts["mask"] = _mask(path, dataset(path, file, "mask"), shape[-2:])
    more = {}
    for name in ("acquisition", "patient_id"):
        value = file.attrs.get(name)
        if isinstance(value, (str, bytes)):
            more[name] = value if isinstance(value, str) else value.decode("utf-8", "replace")

    def read(slices: Sequence[int]) -> np.ndarray:
        with opened(path) as file:
            held = dataset(path, file, "kspace")
            values = np.stack([numbers(held[number]) for number in slices])
        return values if len(shape) == 4 else values[:, None]

    return Contents("fastMRI", shape[0], read, "kspace", {**facts, "more": more})


def _mask(path: Path, held: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """What was measured: lines (width,), or points (height, width)."""
    if held.size > shape[0] * shape[1] or held.dtype.kind not in "biuf":
        raise ValueError(f"{path}: mask has the shape {held.shape}; it is (width,) or (height, width)")
    values = np.asarray(held[()]).squeeze()
    if values.shape not in ((shape[1],), shape):
        raise ValueError(f"{path}: mask has the shape {held.shape}; it is ({shape[1]},) or {tuple(shape)}")
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"{path}: mask holds other values than 0 and 1")
    if not values.any():
        raise ValueError(f"{path}: mask is zero everywhere: nothing was measured")
    return torch.from_numpy(np.broadcast_to(values, shape).astype(np.float32))


def _other(path: Path, file: Any, names: Sequence[str], kind: Kind | None, array: str | None) -> Contents:
    """An array that is not of fastMRI's or ISMRMRD's making, by its name."""
    import h5py

    from unrolling.files._arrays import chosen, described, sliced

    arrays = [
        name
        for name in names
        if isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset)
    ]
    words = {"spacing", "units", "affine", "mask", "ismrmrd_header"}
    name, named = chosen(path, [each for each in arrays if each not in words], kind, array)
    held = dataset(path, file, name)
    if held.dtype.kind not in "iufcb" and held.dtype.names is None:
        raise ValueError(f"{path}: {name} holds {held.dtype}, and not numbers")
    values, single = sliced(numbers(held[()]), kind or named)
    more = {}
    for each in ("spacing", "affine"):
        if each in arrays and dataset(path, file, each).size <= 16:
            more[each] = file[each][()]
    if "units" in arrays:
        more["units"] = np.array(text(path, file, "units"))
    facts = described(more, path, kind or named)
    return Contents("HDF5", len(values), lambda slices: values[slices], named, {**facts, "single": single})
