"""NIfTI files, with the affine that places them (https://nifti.nimh.nih.gov/nifti-1)."""

from __future__ import annotations

import gzip
import math
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unrolling._extras import extra
from unrolling.files.decoding import check_size
from unrolling.files.scan import Contents, Kind

EXTENSIONS = 1 << 24  # bytes that may lie between the header and the values
MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
NOTE = "values in "  # before the units in the description


def is_nifti(start: bytes) -> bool:
    """Whether a file that begins so is one, or may be one that is compressed."""
    if start[:2] == b"\x1f\x8b":
        return True
    return start[:4] in (struct.pack("<i", 348), struct.pack(">i", 348)) or start[4:8] in (b"n+2\0", b"ni2\0")


def open_nifti(path: Path, kind: Kind | None, volume: int | None = None, **_: Any) -> Contents:
    """A volume, or one of several.

    Raises:
        ValueError: no NIfTI file, values in another file, several volumes of which none is chosen, colours.
    """
    with extra("a NIfTI file"):
        import nibabel
    compressed, offset = _check_header(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Its suffix says how nibabel opens a file; this one's first bytes do.
        opener = gzip.open if compressed else open
        with opener(path, "rb") as file:
            image: Any = _klass(nibabel, path).from_file_map({"image": nibabel.FileHolder(str(path), file)})
            header, dtype = image.header, image.get_data_dtype()
            shape, affine = tuple(int(side) for side in image.shape), image.affine
    if dtype.kind not in "iufc":
        raise ValueError(f"{path} holds {dtype}, colours perhaps; a volume of numbers is read")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"{path} has the shape {shape}; a volume is (columns, rows, slices)")
    volumes = math.prod(shape[3:])
    if volumes > 1 and volume is None:
        raise ValueError(
            f"{path} holds {volumes} volumes, shape {shape}; name one of them (volume=0 to {volumes - 1}), or save it "
            "as a file of its own"
        )
    number = 0 if volume is None else volume
    if not 0 <= number < volumes:
        raise ValueError(f"{path} has no volume {number}; it has {volumes}, counted from 0")
    columns, rows, slices = (*shape, 1)[:3]
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    each = columns * rows * dtype.itemsize

    def read(numbers: Sequence[int]) -> np.ndarray:
        made = []
        with (gzip.open if compressed else open)(path, "rb") as file:
            for k in sorted(set(numbers)):
                file.seek(offset + (number * slices + k) * each)
                content = file.read(each)
                if len(content) < each:
                    raise ValueError(f"{path} is truncated: slice {k} is not whole")
                made.append(np.frombuffer(content, dtype).reshape(rows, columns))
                if number * slices + k + 1 == volumes * slices:
                    file.read(1)  # the end of what is compressed, where its checksum is compared
        order = sorted(set(numbers))
        values = np.stack([made[order.index(k)] for k in numbers])
        if (slope, intercept) == (1.0, 0.0):
            return values
        return values * slope + intercept

    return Contents("a NIfTI file", slices, read, "image", _facts(header, affine, len(shape) == 2))


def _klass(nibabel: Any, path: Path) -> Any:
    start = _start(path)
    second = struct.unpack("<i", start[:4])[0] in (540, 469893120)
    return nibabel.Nifti2Image if second else nibabel.Nifti1Image


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if compressed else open)(path, "rb") as file:
        return file.read(544)


def _check_header(path: Path) -> tuple[bool, int]:
    """Looks at a header before nibabel does, which believes it; whether the file is compressed, and
    where its values begin.

    Raises:
        ValueError: none; sizes that cannot be.
    """
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    start = _start(path)
    sizes = {348: "<", 1543569408: ">", 540: "<", 469893120: ">"}
    length = struct.unpack("<i", start[:4])[0] if len(start) >= 4 else 0
    if length not in sizes or len(start) < (352 if length in (348, 1543569408) else 544):
        raise ValueError(f"{path} is no NIfTI file: its header is missing or truncated")
    order, first = sizes[length], length in (348, 1543569408)
    magic = start[344:348] if first else start[4:8]
    if magic in (b"ni1\0", b"ni2\0"):
        raise ValueError(f"{path} is one of a pair (.hdr and .img); save it as one file, .nii")
    if magic not in (b"n+1\0", b"n+2\0"):
        raise ValueError(f"{path} is no NIfTI file: its header says {magic!r}")
    if first:
        shape = struct.unpack(order + "8h", start[40:56])
        bits = struct.unpack(order + "h", start[72:74])[0]
        offset = struct.unpack(order + "f", start[108:112])[0]
    else:
        shape = struct.unpack(order + "8q", start[16:80])
        bits = struct.unpack(order + "h", start[14:16])[0]
        offset = struct.unpack(order + "q", start[168:176])[0]
    if not 1 <= shape[0] <= 7 or any(side < 0 for side in shape[1 : 1 + shape[0]]):
        raise ValueError(f"{path} has a damaged header: its sizes are {list(shape)}")
    if not (math.isfinite(offset) and (352 if first else 544) <= offset <= EXTENSIONS) or not 0 < bits <= 256:
        raise ValueError(f"{path} has a damaged header: values of {bits} bits that begin at byte {offset}")
    count = math.prod(side for side in shape[1 : 1 + shape[0]])
    held, need = path.stat().st_size, count * bits // 8
    sides = " x ".join(map(str, shape[1 : 1 + shape[0]]))
    check_size(path, need, held, f"{sides} values")
    if not compressed and int(offset) + need > held:
        raise ValueError(f"{path} is truncated: its header speaks of {need} bytes of values, and {held} are there")
    return compressed, int(offset)


def _facts(header: Any, affine: np.ndarray | None, single: bool) -> dict[str, Any]:
    """Spacing, affine and units."""
    facts: dict[str, Any] = {"single": single}
    scale = MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    zooms = [float(zoom) * scale for zoom in header.get_zooms()[:3]]
    zooms += [1.0] * (3 - len(zooms))
    if all(math.isfinite(zoom) and zoom > 0 for zoom in zooms):
        facts["spacing"] = (zooms[2], zooms[1], zooms[0])
    known = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    if affine is not None and known and np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0:
        facts["affine"] = np.diag([scale, scale, scale, 1.0]) @ affine.astype(np.float64)
    description = bytes(header["descrip"]).split(b"\0")[0].decode("utf-8", "replace")
    if description.startswith(NOTE) and description[len(NOTE) :] in ("HU", "1/mm"):
        facts["units"] = description[len(NOTE) :]
    return facts
