"""HDF5 files of fastMRI, arrays in others, and the way to those of ISMRMRD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolling.files._arrays import chosen, described, sliced
from unrolling.files._hdf5_access import File, Header, geometry
from unrolling.files._ismrmrd import open_ismrmrd
from unrolling.files.scan import Contents, Kind

BESIDE = {"spacing", "units", "affine", "mask", "ismrmrd_header"}  # arrays that are about another one


def open_hdf5(path: Path, kind: Kind | None, array: str | None = None, **_: Any) -> Contents:
    """k-space of fastMRI or ISMRMRD; another array by its name.

    Raises:
        ValueError: no HDF5 file, or none of these is in it.
    """
    file = File(path)
    if array is None and "kspace" in file.holds and kind in (None, "kspace"):
        return _fastmri(file)
    if array is None and {"xml", "data"} <= set(file.holds.get("dataset", {}).get("holds", {})):
        return open_ismrmrd(file)
    if array is None and kind == "kspace":
        raise ValueError(
            f"{path} has no dataset kspace, and no group dataset as ISMRMRD has; it holds "
            f"{', '.join(list(file.holds)[:20]) or 'nothing'}"
        )
    return _other(file, kind, array)


def _fastmri(file: File) -> Contents:
    path, shape = file.path, file.shape("kspace")
    if not file.is_complex("kspace"):
        raise ValueError(f"{path}: kspace holds {file.holds['kspace']['type']}; k-space is complex")
    if len(shape) not in (3, 4):
        raise ValueError(
            f"{path}: kspace has the shape {shape}; it is (slices, height, width) or (slices, coils, height, width)"
        )
    facts: dict[str, Any] = {"centred": True, "modality": "MR"}
    if "ismrmrd_header" in file.holds:
        facts |= geometry(Header(path, file.text("ismrmrd_header")), (shape[-2], shape[-1]))
    if "mask" in file.holds:
        facts["mask"] = _mask(file, (shape[-2], shape[-1]))
    more = {name: file.attributes[name] for name in ("acquisition", "patient_id") if name in file.attributes}

    def read(slices: Sequence[int]) -> np.ndarray:
        values = file.numbers("kspace", slices)
        return values if len(shape) == 4 else values[:, None]

    return Contents("fastMRI", shape[0], read, "kspace", {**facts, "more": more})


def _mask(file: File, shape: tuple[int, int]) -> torch.Tensor:
    """What was measured: lines (width,), or points (height, width)."""
    path, found = file.path, file.shape("mask")
    if tuple(side for side in found if side != 1) not in ((shape[1],), shape):
        raise ValueError(f"{path}: mask has the shape {found}; it is ({shape[1]},) or {shape}")
    values = file.numbers("mask").squeeze()
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{path}: mask holds other values than 0 and 1")
    if not values.any():
        raise ValueError(f"{path}: mask is zero everywhere: nothing was measured")
    return torch.from_numpy(np.broadcast_to(values, shape).astype(np.float32))


def _other(file: File, kind: Kind | None, array: str | None) -> Contents:
    """An array that is not of fastMRI's or ISMRMRD's making, by its name."""
    path = file.path
    name, named = chosen(path, [each for each in file.holds if file.has(each) and each not in BESIDE], kind, array)
    values, single = sliced(file.numbers(name), kind or named)
    more: dict[str, Any] = {}
    for each in ("spacing", "affine"):
        if each in file.holds and np.prod(file.shape(each)) <= 16:
            more[each] = file.numbers(each)
    if "units" in file.holds:
        more["units"] = np.array(file.text("units"))
    facts = described(more, path, kind or named)
    return Contents("HDF5", len(values), lambda slices: values[slices], named, {**facts, "single": single})
