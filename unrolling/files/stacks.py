"""Stacks of frames in TIFF files, read page by page: a movie of any length takes the memory of a few frames."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from unrolling._extras import extra
from unrolling.files.decoding import check_size, decoding

READS = "a TIFF file with a grey frame on each page (8 to 64 bits, whole numbers or floating point)"
SUFFIXES = (".tif", ".tiff")
WHAT = "a TIFF stack"
PIECE = 1 << 23  # bytes of frames that are worked on at a time
LAGS = ((0, 1), (0, 2), (1, 0), (2, 0))  # rows and columns from one pixel to another


@dataclass(frozen=True)
class Stack:
    """What a TIFF stack says of itself.

    Attributes:
        path: of the file.
        frames: how many.
        height: rows of a frame.
        width: columns of a frame.
        dtype: of the values.
        resolution: pixels per unit along x and y, and the number of the unit, as the tags of the first page have them;
            None where they say nothing.
        contiguous: where the values of all frames begin, for files whose first page alone stands for all of them, as
            ImageJ writes large ones; None for the others.
    """

    path: Path
    frames: int
    height: int
    width: int
    dtype: np.dtype[Any]
    resolution: tuple[float, float, int] | None = None
    contiguous: int | None = None

    def pieces(self) -> Iterator[np.ndarray]:
        """The frames in their order, some at a time: (frames, height, width) float64, all finite.

        Raises:
            ValueError: a page that is of another size, damaged or cut off, or holds NaN. The message names the file and
                the page, counted from 1.
        """
        most = max(1, PIECE // (8 * self.height * self.width))
        held: list[np.ndarray] = []
        with decoding(self.path, WHAT):
            for number, frame in enumerate(self._frames(), 1):
                values = frame.astype(np.float64)
                if not np.isfinite(values).all():
                    row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
                    raise ValueError(
                        f"{self.path}: frame {number} holds {int((~np.isfinite(values)).sum())} values that are NaN or "
                        f"infinite, the first at row {row}, column {column}"
                    )
                held.append(values)
                if len(held) == most:
                    yield np.stack(held)
                    held = []
        if held:
            yield np.stack(held)

    def _frames(self) -> Iterator[np.ndarray]:
        if self.contiguous is not None:
            size = self.height * self.width * self.dtype.itemsize
            with self.path.open("rb") as file:
                file.seek(self.contiguous)
                for number in range(self.frames):
                    content = file.read(size)
                    if len(content) < size:
                        raise ValueError(f"{self.path} is truncated: it ends within frame {number + 1}")
                    yield np.frombuffer(content, self.dtype).reshape(self.height, self.width)
            return
        with _opened(self.path) as file:
            file.pages.cache = False
            for number in range(self.frames):
                page = file.pages[number]
                _check_page(self.path, page, number, (self.height, self.width), self.path.stat().st_size)
                if page.dtype is None or page.dtype.newbyteorder("=") != self.dtype.newbyteorder("="):
                    raise ValueError(f"{self.path}: frame {number + 1} holds {page.dtype}, the first one {self.dtype}")
                yield page.asarray()


class Moments(NamedTuple):
    """What a movie was on average, and how it fluctuated."""

    stack: Stack
    mean: np.ndarray  # (height, width)
    variance: np.ndarray  # (height, width), over the number of frames
    # (4, height, width): the covariance of a pixel and of the one that lies ``LAGS`` away; 0 where that lies outside
    neighbours: np.ndarray


def read_stack(path: str | Path) -> Stack:
    """Find out what a TIFF stack holds; its frames are not read yet.

    Raises:
        ValueError: no such file, not a TIFF file, cut off or damaged, less than two frames, pages that are no grey
            images of numbers, or more in it than a file of its size holds. The message names the file.
        ImportError: tifffile is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} {'is no ordinary file' if path.exists() else 'does not exist'}; the input is {READS}")
    with decoding(path, WHAT):
        pages = _directories(path)
        with _opened(path) as file:
            first = file.pages[0]
            size = path.stat().st_size
            _check_page(path, first, 0, None, size)
            height, width = first.shape
            if first.dtype is None or first.dtype.kind not in "uif":
                raise ValueError(
                    f"{path} holds values of type {first.dtype}; frames are whole numbers or floating point"
                )
            channels, images = _imagej(file)
            if 1 < channels < images:  # all of them channels is what other programs call a stack without axes
                raise ValueError(f"{path} has {channels} channels; save the one that blinks as a stack of its own")
            begin = None
            if pages == 1 and images > 1:
                begin = int(first.dataoffsets[0])
                if first.compression != 1 or begin + images * first.nbytes > size:
                    raise ValueError(
                        f"{path} is truncated: it speaks of {images} frames, which end at byte "
                        f"{begin + images * first.nbytes}, and it has {size}"
                    )
                pages = images
            elif images > pages:
                raise ValueError(f"{path} is truncated: it speaks of {images} frames, and {pages} are there")
            dtype = first.dtype.newbyteorder(file.byteorder)
            resolution = _resolution(first)
    if pages < 2:
        raise ValueError(f"{path} holds one frame; a stack has two and more, as what fluctuates is seen from two on")
    return Stack(path, pages, height, width, dtype, resolution, begin)


def moments(stack: Stack, *, window: int | None = None) -> Moments:
    """Mean and variances over time, in one pass and with the memory of a few frames. Sums over pieces are joined after
    Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115.

    An image that is taken from all frames, such as their median, does not change a variance, so that it need not be
    known.

    Args:
        stack: which is read now.
        window: frames after which a mean begins anew, so that what changes more slowly (bleaching, drift of the focus)
            is not taken for fluctuation; all by default. The mean that is given is that of all frames.

    Raises:
        ValueError: a window below 2; as ``Stack.pieces``.
    """
    if window is not None and window < 2:
        raise ValueError(f"window is {window}; fluctuation is seen from two frames on")
    sums, total = _Sums(stack.height, stack.width), np.zeros((stack.height, stack.width))
    done = _Sums(stack.height, stack.width)
    for piece in stack.pieces():
        total += piece.sum(0)
        while len(piece):
            room = len(piece) if window is None else window - sums.count
            sums.add(piece[:room])
            piece = piece[room:]
            if window is not None and sums.count == window:
                done.squares += sums.squares
                sums = _Sums(stack.height, stack.width)
    squares = (done.squares + sums.squares) / stack.frames
    return Moments(stack, total / stack.frames, squares[0], squares[1:])


class _Sums:
    """Frames so far: how many, their mean, the sums of squared distances from it and of products with neighbours'."""

    def __init__(self, height: int, width: int) -> None:
        self.count = 0
        self.mean = np.zeros((height, width))
        self.squares = np.zeros((1 + len(LAGS), height, width))

    def add(self, piece: np.ndarray) -> None:
        """Some frames more, (frames, height, width)."""
        mean = piece.mean(0)
        centred = piece - mean
        off = mean - self.mean
        weight = self.count * len(piece) / (self.count + len(piece))
        self.squares[0] += np.einsum("tij,tij->ij", centred, centred) + weight * off**2
        for number, (down, right) in enumerate(LAGS, 1):
            near, far = centred[:, : -down or None, : -right or None], centred[:, down:, right:]
            jump = off[: -down or None, : -right or None] * off[down:, right:]
            if near.size:
                place = self.squares[number][: -down or None, : -right or None]
                place += np.einsum("tij,tij->ij", near, far) + weight * jump
        self.count += len(piece)
        self.mean = self.mean + off * (len(piece) / self.count)


def spread_of(found: Moments) -> float | None:
    """The standard deviation, in pixels, of a Gaussian point spread function behind independently blinking emitters,
    whatever their places: covariances of pixels one and two apart, which noise does not reach, have sums in the ratio
    exp(-3 / (4 s^2)). None where nothing fluctuates, or not like that.
    """
    one, two = found.neighbours[[0, 2]].sum(), found.neighbours[[1, 3]].sum()
    rows, columns = found.variance.shape
    if min(rows, columns) < 3 or not (one > 0 and two > 0):
        return None
    # of as many pairs each
    ratio = (two / ((columns - 2) * rows + (rows - 2) * columns)) / (
        one / ((columns - 1) * rows + (rows - 1) * columns)
    )
    return math.sqrt(-3 / (4 * math.log(ratio))) if 0 < ratio < 1 else None


def write_image(path: Path, image: np.ndarray, resolution: tuple[float, float, int] | None = None) -> None:
    """A grey TIFF file of single precision.

    Args:
        path: where; an empty file of ``writing``.
        image: (height, width).
        resolution: as ``Stack`` has it.
    """
    with extra("a TIFF file"):
        import tifffile
    options: dict[str, Any] = {}
    if resolution is not None:
        options = {"resolution": resolution[:2], "resolutionunit": resolution[2]}
    tifffile.imwrite(path, image.astype(np.float32), photometric="minisblack", **options)


def _opened(path: Path) -> Any:
    with extra(WHAT):
        import tifffile
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it raises what it has to say
    return tifffile.TiffFile(path)


def _check_page(path: Path, page: Any, number: int, shape: tuple[int, int] | None, size: int) -> None:
    """Refuses a page that is no grey image, of another size than the first one, or not in the file."""
    found = tuple(int(side) for side in page.shape)
    sides = " x ".join(map(str, found)) or "nothing"
    if len(found) != 2 or 0 in found:
        raise ValueError(f"{path}: page {number + 1} holds {sides}; a frame is grey, (height, width)")
    if shape is not None and found != shape:
        raise ValueError(
            f"{path}: frame {number + 1} has {sides} pixels, and the first one {shape[0]} x {shape[1]}; the frames "
            "of a stack are of one size"
        )
    check_size(path, 8 * math.prod(found), size, f"frames of {sides}")
    starts, counts = page.dataoffsets, page.databytecounts
    if not starts or len(starts) != len(counts):
        raise ValueError(f"{path} is damaged: page {number + 1} does not say where its pixels are")
    for start, count in zip(starts, counts, strict=True):
        if start + count > size or not (start and count):
            raise ValueError(
                f"{path} is truncated: the pixels of page {number + 1} go to byte {start + count}, and it has {size}"
            )
    if page.compression == 1 and sum(counts) < page.nbytes and not page.is_tiled:
        raise ValueError(f"{path} is damaged: page {number + 1} has {sum(counts)} bytes for {page.nbytes} of pixels")


def _directories(path: Path) -> int:
    """The number of pages, by their chain of directories, whose end a file that was cut off does not hold."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
        version = struct.unpack(f"{order}H", start[2:4])[0] if order and len(start) == 8 else None
        if version not in (42, 43):
            raise ValueError(f"{path} is no TIFF file; the input is {READS}")
        big = version == 43
        count, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
        place = _number(path, file, 8, order + offset) if big else struct.unpack(f"{order}I", start[4:])[0]
        seen: set[int] = set()
        while place:
            if place in seen:
                raise ValueError(f"{path} is damaged: its pages follow each other in a circle")
            seen.add(place)
            if place >= size:
                raise ValueError(f"{path} is truncated: page {len(seen)} begins at byte {place}, and it has {size}")
            entries = _number(path, file, place, order + count)
            place = _number(path, file, place + struct.calcsize(count) + entries * entry, order + offset)
    if not seen:
        raise ValueError(f"{path} holds no page")
    return len(seen)


def _number(path: Path, file: BinaryIO, place: int, form: str) -> int:
    size = struct.calcsize(form)
    if place > path.stat().st_size - size:
        raise ValueError(f"{path} is truncated: it ends within the directory of a page")
    file.seek(place)
    return struct.unpack(form, file.read(size))[0]


def _imagej(file: Any) -> tuple[int, int]:
    """Channels and images by ImageJ's own description; one of each where there is none."""
    held = file.imagej_metadata or {} if file.is_imagej else {}
    found = [held.get(name, 1) for name in ("channels", "images")]
    return tuple(n if isinstance(n, int) and n > 0 else 1 for n in found)  # pyright: ignore[reportReturnType]


def _resolution(page: Any) -> tuple[float, float, int] | None:
    held = [page.tags.get(code) for code in (282, 283, 296)]
    try:
        across, down = (float(tag.value[0]) / float(tag.value[1]) for tag in held[:2])
        unit = int(held[2].value) if held[2] is not None else 2
    except (AttributeError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    known = all(math.isfinite(each) and each > 0 for each in (across, down)) and unit in (1, 2, 3)
    return (across, down, unit) if known else None
