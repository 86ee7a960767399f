"""Images with any number of bands: TIFF files with their place on the Earth (GeoTIFF), and arrays of NumPy."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unrolling._extras import extra
from unrolling.files._places import KEPT, NODATA, Tag, finer, number_of
from unrolling.files.decoding import Arrays, check_size, decoding
from unrolling.files.gate import checked
from unrolling.files.whole import check_place, writing

TIFF, NUMPY = (".tif", ".tiff"), ".npy"
SUFFIXES = (*TIFF, NUMPY)
READS = "an image with bands: a TIFF or GeoTIFF file, or a .npy file with an array (bands, height, width)"
ALPHA = (1, 2)  # kinds of extra samples that are transparency (TIFF 6.0, ExtraSamples)
REDUCED = 1  # bit of NewSubfileType: a smaller copy


@dataclass(frozen=True)
class Raster:
    """An image with bands, as its numbers are stored.

    Attributes:
        values: (bands, height, width), single precision.
        valid: (height, width): pixels that hold data in all bands.
        dtype: of the file's numbers.
        nodata: the number that stands for no data; None where the file names none.
        tags: of the TIFF file that say where the image lies and what its bands are.
        colour: whether the first three bands are red, green and blue.
        path: of the file.
    """

    values: Float[Tensor, "bands height width"]
    valid: Bool[Tensor, "height width"]
    dtype: np.dtype[Any]
    nodata: float | None = None
    tags: tuple[Tag, ...] = ()
    colour: bool = False
    path: Path | None = None

    def enlarged(self, values: Float[Tensor, "bands height width"], valid: Bool[Tensor, "height width"]) -> Raster:
        """The same scene with other pixels, so many times smaller in both directions as the sides say."""
        factor = values.shape[-1] // self.values.shape[-1]
        return replace(self, values=values, valid=valid, tags=finer(self.tags, factor))


def read_raster(path: str | Path) -> Raster:
    """An image with bands from a file.

    Bands are samples of a pixel, in either order of the file, or pages of one size; a transparent pixel holds no data,
    and neither does one with NaN or with the number that the file (GDAL's tag 42113) names for it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, truncated or damaged, complex numbers, no pixels, or none that holds data.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; the input is {READS}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} is no {' or '.join(SUFFIXES)} file; the input is {READS}")
    if suffix == NUMPY:
        return _made(path, Arrays(path).only)
    with decoding(path, "a TIFF file"):
        return _read(path)


def _read(path: Path) -> Raster:
    with extra("a TIFF file with bands"):
        import tifffile
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it raises what it has to say
    size = path.stat().st_size
    with tifffile.TiffFile(path) as file:
        first: Any = file.pages[0]
        whole: list[Any] = [p for p in file.pages if not int(getattr(p, "subfiletype", 0) or 0) & REDUCED]
        pages = whole if first.samplesperpixel == 1 and all(_alike(p, first) for p in whole) else [first]
        if len(pages) < len(whole):
            warnings.warn(f"{path} holds {len(whole)} images; the first is taken", stacklevel=4)
        decoded = 4 * len(pages) * math.prod(first.shape)
        check_size(path, decoded, size, f"{len(pages)} x {' x '.join(map(str, first.shape))} values")
        for page in pages:
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                if start + count > size:
                    raise ValueError(f"{path} is truncated: its values go to byte {start + count}, and it has {size}")
        if len(pages) > 1:
            values = np.stack([page.asarray() for page in pages])
            # written without a word on what its last dimension is: rows as pages
            if values.shape[-1] < min(values.shape[:2]):
                values = np.moveaxis(values, -1, 0)
        else:
            values = first.asarray()
            if values.ndim == 3 and int(first.planarconfig) == 1:
                values = np.moveaxis(values, -1, 0)
        held = {tag.code: tag for tag in first.tags}
        tags = tuple(_tag(held[code]) for code in KEPT if code in held)
        alpha = [int(kind) in ALPHA for kind in (first.extrasamples or ())]
        colour = int(first.photometric) == 2
    if values.ndim == 3 and alpha and alpha[-1] and values.shape[0] > 1:
        warnings.warn(f"{path}: its last band is transparency, which is taken for a mask", stacklevel=4)
        made = _made(path, values[:-1], tags, colour)
        return replace(made, valid=made.valid & torch.from_numpy(values[-1] > 0))
    return _made(path, values, tags, colour)


def _alike(page: Any, first: Any) -> bool:
    return page.shape == first.shape and page.dtype == first.dtype


def _tag(tag: Any) -> Tag:
    value = tag.value if isinstance(tag.value, (str, bytes)) else tuple(np.atleast_1d(tag.value).tolist())
    return Tag(int(tag.code), int(tag.dtype), value)


def _made(path: Path, values: np.ndarray, tags: tuple[Tag, ...] = (), colour: bool = False) -> Raster:
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(
            f"{path} holds an array of shape {tuple(values.shape)}, and an image with bands is (bands, height, width)"
        )
    if values.dtype.kind not in "uif":
        raise ValueError(f"{path} holds values of type {values.dtype}; bands are integers or floating-point numbers")
    nodata = number_of(tags)
    with np.errstate(over="ignore"):
        single = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    valid = torch.isfinite(single).all(0)
    if nodata is not None and not math.isnan(nodata):
        valid &= torch.from_numpy(~(values == np.asarray(nodata)).any(0))
    if not bool(valid.any()):
        raise ValueError(f"{path} holds no pixel with data: all are NaN, infinite or the number for no data")
    return Raster(single, valid, values.dtype.newbyteorder("="), nodata, tags, colour, path)


def check_raster_output(path: str | Path) -> None:
    """Finds out before the work whether bands can be written.

    Raises:
        ValueError: an unknown suffix, a folder that is none or cannot be written into.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: bands are written as {', '.join(SUFFIXES)}; {path.suffix or 'no suffix'} is none")
    check_place(path)


def write_raster(path: str | Path, raster: Raster) -> None:
    """Write an image with bands in the kind of numbers that it was read in, rounded and cut to what they hold, with its
    tags; whole or not at all. A pixel without data becomes the number that stands for it, or NaN, or 0.

    Raises:
        ValueError: an unknown suffix, values that are not finite where there are data.
    """
    path = Path(path)
    check_raster_output(path)
    checked(raster.values[:, raster.valid], "the bands")
    values = raster.values.numpy().astype(np.float64 if raster.dtype.itemsize > 4 else np.float32)
    gone = ~raster.valid.numpy()
    nodata = raster.nodata if raster.nodata is not None else math.nan if raster.dtype.kind == "f" else 0
    if raster.dtype.kind != "f":
        limits = np.iinfo(raster.dtype)
        values = np.where(gone, 0, values).astype(np.float64).round().clip(limits.min, limits.max)
        if raster.nodata is not None:  # a pixel with data is not to be taken for one without
            values[:, ~gone] += np.where(values[:, ~gone] == nodata, 1 if nodata < limits.max else -1, 0)
    values[:, gone] = nodata
    stored = values.astype(raster.dtype)
    with writing(path) as (temporary,):
        if path.suffix.lower() == NUMPY:
            with temporary.open("wb") as file:
                np.save(file, stored)
        else:
            _write(temporary, stored, raster)


def _write(path: Path, stored: np.ndarray, raster: Raster) -> None:
    with extra("a TIFF file with bands"):
        import tifffile
    tags = [(tag.code, tag.dtype, None if isinstance(tag.value, str) else len(tag.value), tag.value, True)
            for tag in raster.tags]  # fmt: skip
    if raster.nodata is None and bool((~raster.valid).any()):
        text = "nan" if raster.dtype.kind == "f" else "0"
        tags.append((NODATA, 2, None, text, True))
    options: dict[str, Any] = {"photometric": "rgb" if raster.colour and len(stored) >= 3 else "minisblack"}
    if len(stored) > 1:
        options["planarconfig"] = "separate"
    if raster.colour and len(stored) > 3:
        options["extrasamples"] = ["unspecified"] * (len(stored) - 3)
    tifffile.imwrite(path, stored if len(stored) > 1 else stored[0], extratags=tags, metadata=None, **options)
