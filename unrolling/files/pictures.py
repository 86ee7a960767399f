"""Picture files: read and write them with everything that belongs to them, and work through large ones tile by tile."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unrolling._extras import extra
from unrolling.files import png16
from unrolling.files.decoding import check_size, decoding
from unrolling.files.gate import checked
from unrolling.files.whole import check_place, writing

_KEPT: ContextVar[list[Tensor] | None] = ContextVar("kept", default=None)
WRITTEN = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
SUFFIXES = (*WRITTEN, ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif")  # that are taken from folders
DEEP = (".png", ".tif", ".tiff")  # that hold 16 bits
OPAQUE = (".jpg", ".jpeg", ".bmp")  # that hold no alpha
READS = (
    "a picture (png, jpeg, tiff, bmp, webp, gif, ppm, jp2, avif; 1 to 16 bits, grey, palette, colour or CMYK, with or "
    "without alpha)"
)


@dataclass(frozen=True)
class Picture:
    """A picture, upright.

    Attributes:
        pixels: (channels, height, width) in [0, 1]: 1 channel for grey, 3 for RGB.
        alpha: (height, width) in [0, 1], or None.
        depth: bits per channel of the file, 8 or 16.
        profile: of its colours (ICC).
        exif: what else the camera noted; without the orientation, which has been applied.
    """

    pixels: Float[Tensor, "channels height width"]
    alpha: Float[Tensor, "height width"] | None = None
    depth: int = 8
    profile: bytes | None = None
    exif: bytes | None = None

    def replaced(self, pixels: Float[Tensor, "channels height width"]) -> Picture:
        """The same with other pixels; alpha is enlarged with them."""
        alpha = self.alpha
        if alpha is not None and alpha.shape != pixels.shape[-2:]:
            from unrolling.operators.resize import resize

            alpha = resize(alpha, *pixels.shape[-2:]).clamp(0, 1)
        return replace(self, pixels=pixels, alpha=alpha)


def pillow() -> Any:
    """The module ``PIL.Image``.

    Raises:
        ImportError: Pillow is missing.
    """
    with extra("reading and writing pictures"):
        from PIL import Image
    return Image


def read(path: str | Path) -> Picture:
    """A picture file.

    1 bit becomes grey, a palette and CMYK become RGB (CMYK with a warning, as the colours change with the profile that
    is not applied).

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, no pixels, truncated, NaN, or values outside [0, 1] where they are floating point.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; the input is {READS}")
    with opened(path) as file:
        return _other_tiff(path) if file is None else _read(path, file)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A picture file that Pillow decodes within the context; None for a TIFF file that it does not know. What it raises
    within the context names the file.

    Raises:
        ValueError: not a picture, no pixels, truncated, or more of them than a file of its size holds.
    """
    Image = pillow()
    with decoding(path, "a picture"), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the check is below
        if png16.header(path) is not None:
            for _ in png16.chunks(path):
                pass
        try:
            file = Image.open(path)
        except Image.UnidentifiedImageError as error:
            if not _is_tiff(path):
                raise ValueError(f"{path} is not a picture; the input is {READS}") from error
            file = None
        with nullcontext() if file is None else file:
            if file is not None:
                width, height = file.size
                if 0 in file.size:
                    raise ValueError(f"{path} has {width} x {height} pixels; there is nothing to work on")
                taken = 4 * width * height * len(file.getbands())
                check_size(path, taken, path.stat().st_size, f"{width} x {height} pixels")
                if file.format == "TIFF":
                    _check_segments(path, file.tag_v2)
            yield file


def _check_segments(path: Path, tags: Any) -> None:
    """Refuses a TIFF file that ends before the strips or tiles that it lists."""
    size = path.stat().st_size
    for starts, counts in ((273, 279), (324, 325)):
        if starts in tags and counts in tags:
            for start, count in zip(tags[starts], tags[counts], strict=False):
                if start + count > size:
                    raise ValueError(f"{path} is truncated: its pixels go to byte {start + count}, and it has {size}")


def _read(path: Path, file: Any) -> Picture:
    from PIL import ImageOps

    if getattr(file, "n_frames", 1) > 1:
        warnings.warn(f"{path} holds {file.n_frames} pictures; the first is taken", stacklevel=4)
    orientation = int(file.getexif().get(0x0112, 1))
    profile = file.info.get("icc_profile")
    deep = _deep(path, file)
    if deep is not None:
        values, depth = deep
        upright = torch.from_numpy(np.ascontiguousarray(turned(values, orientation)))
    else:
        file = ImageOps.exif_transpose(file)
        if file.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            if file.mode == "CMYK":
                warnings.warn(
                    f"{path} has four inks (CMYK); it is converted to RGB without its profile, and written as RGB",
                    stacklevel=4,
                )
                profile = None
            file = file.convert("RGB")
        elif file.mode in ("P", "PA"):
            file = file.convert("RGBA" if file.mode == "PA" or "transparency" in file.info else "RGB")
        elif file.mode == "1":
            file = file.convert("L")
        elif file.mode not in ("L", "LA", "RGB", "RGBA"):
            raise ValueError(
                f"{path} has pixels of the kind {file.mode}, which is not supported; save it as 8 or 16 "
                "bits, grey or colour"
            )
        values = np.array(file, dtype=np.float32)
        values /= 255
        upright, depth = torch.from_numpy(values), 8
    return _made(path, upright, depth, profile, _notes(file))


def _made(path: Path, upright: Tensor, depth: int, profile: bytes | None = None, notes: bytes | None = None) -> Picture:
    """A picture of (height, width[, channels])."""
    upright = upright.unsqueeze(-1) if upright.ndim == 2 else upright
    planes = upright.movedim(-1, 0).contiguous()
    count = planes.shape[0]
    if count not in (1, 2, 3, 4):
        raise ValueError(f"{path} has {count} channels; a picture has 1 to 4")
    alpha = planes[-1] if count in (2, 4) else None
    return Picture(planes[: 1 if count < 3 else 3], alpha, depth, profile, notes)


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _other_tiff(path: Path) -> Picture:
    """A TIFF file of a kind that Pillow does not know, such as 16 bits of grey with alpha."""
    return _made(path, torch.from_numpy(_tiff(path)), 16)


def _deep(path: Path, file: Any) -> tuple[np.ndarray, int] | None:
    """(height, width[, channels]) float32 in [0, 1] of what has more than 8 bits, with the bits to write it in; None
    for the rest.
    """
    if file.format == "PNG":
        found = png16.header(path)
        if found is not None and found.depth == 16 and found.colour != 0:
            return png16.read(path).astype(np.float32) / 65535, 16
    if file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PNG"):
        return np.array(file, dtype=np.float32) / 65535, 16
    if file.format != "TIFF" or max(file.tag_v2.get(258, (1,))) <= 8:
        return None
    return _tiff(path), 16


def _tiff(path: Path) -> np.ndarray:
    """(height, width[, channels]) float32 in [0, 1] of a TIFF file with 16 bits or floating-point numbers."""
    with extra("a TIFF file with more than 8 bits"):
        import tifffile
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it raises what it has to say
    size = path.stat().st_size
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        sides = " x ".join(map(str, page.shape))
        check_size(path, 4 * math.prod(page.shape), size, f"an image of {sides}")
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if start + count > size or not (start and count):
                raise ValueError(f"{path} is truncated: its pixels go to byte {start + count}, and it has {size}")
        values = page.asarray()
    if values.size == 0 or values.ndim not in (2, 3):
        raise ValueError(f"{path} holds an image of {sides}; there is nothing to work on")
    if values.ndim == 3 and values.shape[0] <= 4 < values.shape[-1]:
        values = values.transpose(1, 2, 0)
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError(
                f"{path} holds floating-point values that are not all finite and in [0, 1]; they go from "
                f"{values.min():.4g} to {values.max():.4g}"
            )
        warnings.warn(
            f"{path} holds numbers with a floating point; what becomes of it is written with 16 bits per channel",
            stacklevel=6,
        )
        return values.astype(np.float32)
    if values.dtype != np.uint16:
        raise ValueError(f"{path} holds values of type {values.dtype}, which is not supported; save it as 8 or 16 bits")
    return values.astype(np.float32) / 65535


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Upright, by the orientation of the Exif standard."""
    if orientation in (2, 4):
        values = values[:, ::-1] if orientation == 2 else values[::-1]
    elif orientation == 3:
        values = values[::-1, ::-1]
    elif orientation >= 5:
        values = values.swapaxes(0, 1)
        if orientation in (6, 7):
            values = values[:, ::-1]
        if orientation in (7, 8):
            values = values[::-1]
    return values


def _notes(file: Any) -> bytes | None:
    exif = file.getexif()
    if 0x0112 in exif:
        del exif[0x0112]
    return exif.tobytes() if len(exif) else None


def check_output(path: str | Path, picture: Picture | None = None) -> None:
    """Finds out before the work whether a picture can be written.

    Raises:
        ValueError: an unknown suffix, a folder that is none or cannot be written into.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITTEN:
        raise ValueError(
            f"{path}: pictures are written as {', '.join(WRITTEN)}; {path.suffix or 'no suffix'} is none of them"
        )
    check_place(path)


@contextmanager
def kept_back() -> Iterator[list[Tensor]]:
    """Pictures that would be written are collected instead, their pixels (channels, height, width) as they came,
    neither cut to [0, 1] nor rounded.
    """
    pixels: list[Tensor] = []
    token = _KEPT.set(pixels)
    try:
        yield pixels
    finally:
        _KEPT.reset(token)


def write(path: str | Path, picture: Picture) -> None:
    """Write a picture, with its depth, alpha, profile and notes where the kind of file holds them; whole or not at all.

    Raises:
        ValueError: an unknown suffix.
        OSError: it cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(
            f"{path}: pictures are written as {', '.join(WRITTEN)}; {path.suffix or 'no suffix'} is none of them"
        )
    if (kept := _KEPT.get()) is not None:
        kept.append(picture.pixels)
        return
    if picture.alpha is not None and suffix in OPAQUE:
        warnings.warn(f"{path}: {suffix} files hold no alpha; it is left out", stacklevel=2)
        picture = replace(picture, alpha=None)
    checked(picture.pixels, "the pixels")
    depth = picture.depth if suffix in DEEP else 8
    held = [*picture.pixels, *([] if picture.alpha is None else [picture.alpha])]
    top = 2**depth - 1
    # Channel by channel, which takes a third of the memory.
    values = np.empty((*picture.pixels.shape[-2:], len(held)), np.uint16 if depth == 16 else np.uint8)
    for number, plane in enumerate(held):
        values[..., number] = plane.clamp(0, 1).mul_(top).round_().numpy()
    with writing(path) as (temporary,):
        if depth == 16:
            _write_deep(temporary, values, picture.profile)
        else:
            options: dict[str, Any] = {"icc_profile": picture.profile, "exif": picture.exif or b""}
            if suffix == ".bmp":
                options = {}
            elif suffix in (".jpg", ".jpeg"):
                options |= {"quality": 95, "subsampling": 0}
            elif suffix == ".webp":
                options["lossless"] = True
            pillow().fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(temporary, **options)


def _write_deep(path: Path, values: np.ndarray, profile: bytes | None) -> None:
    if path.suffix == ".png":
        png16.write(path, values, profile)
        return
    import tifffile

    channels = values.shape[-1]
    kind = "rgb" if channels >= 3 else "minisblack"
    extra = ["unassalpha"] if channels in (2, 4) else None
    tags = [(34675, 7, len(profile), profile, True)] if profile else []
    tifffile.imwrite(
        path, values[..., 0] if channels == 1 else values, photometric=kind, extrasamples=extra, extratags=tags
    )


@torch.no_grad()
def in_tiles(
    run: Callable[[Tensor], Tensor],
    image: Float[Tensor, "channels height width"],
    *,
    margin: int,
    tile: int = 512,
    align: int = 1,
    scale: int = 1,
) -> Float[Tensor, "channels new_height new_width"]:
    """A map of images whose results depend on pixels up to ``margin`` away, applied piece by piece: equal to the map of
    the whole, up to rounding.

    Args:
        run: (channels, h, w) -> (new channels, scale h, scale w), on any size.
        image: what it is applied to.
        margin: pixels that an output depends on, in each direction.
        tile: side of what is worked on at a time, besides the margin.
        align: tiles begin at multiples of it, and margins are multiples: 8 for the blocks of JPEG.
        scale: by how much images are enlarged.
    """
    height, width = image.shape[-2:]
    margin = -(-margin // align) * align
    tile = max(align, tile // align * align)
    if max(height, width) <= tile + 2 * margin:
        return run(image)
    result: Tensor | None = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            first_row, first_column = max(0, top - margin), max(0, left - margin)
            piece = run(
                image[
                    :, first_row : min(height, bottom + margin), first_column : min(width, right + margin)
                ].contiguous()
            )
            if result is None:
                result = image.new_empty(piece.shape[0], scale * height, scale * width)
            inner = piece[:, scale * (top - first_row) :, scale * (left - first_column) :]
            result[:, scale * top : scale * bottom, scale * left : scale * right] = inner[
                :, : scale * (bottom - top), : scale * (right - left)
            ]
    assert result is not None
    return result
