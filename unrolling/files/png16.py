"""PNG files with 16 bits per channel and colour, which Pillow reduces to 8: read and written here (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from unrolling.files.decoding import check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; 3 is a palette


class Header(NamedTuple):
    """What the file says of its image."""

    width: int
    height: int
    depth: int  # bits per channel
    colour: int  # type of colour
    interlaced: bool


def header(path: str | Path) -> Header | None:
    """The header of a PNG file; None for any other file."""
    with Path(path).open("rb") as file:
        start = file.read(33)
    if len(start) < 33 or start[:8] != SIGNATURE or start[12:16] != b"IHDR":
        return None
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", start[16:29])
    return Header(width, height, depth, colour, interlace != 0)


def read(path: str | Path) -> np.ndarray:
    """The pixels of a PNG file of 16 bits, (height, width, channels) uint16: grey, grey and alpha, RGB or RGBA.

    Raises:
        ValueError: not such a file, interlaced, truncated or damaged.
    """
    found = header(path)
    if found is None or found.depth != 16 or found.colour not in CHANNELS:
        raise ValueError(f"{path} is no PNG file with 16 bits per channel")
    if found.interlaced:
        raise ValueError(
            f"{path} is an interlaced PNG file of 16 bits, which is not supported: save it without interlacing"
        )
    if not (found.width and found.height):
        raise ValueError(f"{path} has {found.width} x {found.height} pixels; there is nothing to work on")
    pixel = 2 * CHANNELS[found.colour]
    needed = found.height * (1 + found.width * pixel)
    check_size(path, 2 * needed, Path(path).stat().st_size, f"{found.width} x {found.height} pixels of 16 bits")
    data, more = bytearray(), zlib.decompressobj()
    try:
        for _, body in chunks(path, (b"IDAT",)):
            # No more than there are pixels for, whatever is packed.
            data += more.decompress(body, max(1, needed - len(data)))
            if len(data) >= needed:
                break
    except zlib.error as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from error
    if len(data) < needed:
        raise ValueError(f"{path} is truncated: it holds {len(data)} bytes of pixels, and {needed} are needed")
    rows = np.frombuffer(data, np.uint8, needed).reshape(found.height, 1 + found.width * pixel)
    values = _unfilter(rows[:, 0], rows[:, 1:].reshape(found.height, found.width, pixel))
    return values.reshape(found.height, found.width, -1, 2).view(">u2")[..., 0].astype(np.uint16)


def write(path: str | Path, pixels: np.ndarray, profile: bytes | None = None) -> None:
    """Write (height, width, channels) uint16 with 1 to 4 channels.

    Args:
        path: where to.
        pixels: grey, grey and alpha, RGB or RGBA.
        profile: of its colours (ICC).
    """
    height, width, channels = pixels.shape
    colour = {count: kind for kind, count in CHANNELS.items()}[channels]
    rows = np.ascontiguousarray(pixels, dtype=">u2").view(np.uint8).reshape(height, -1)
    # Each byte less the one of the pixel before: what most encoders find to be best.
    differences = rows.copy()
    differences[:, 2 * channels :] -= rows[:, : -2 * channels]
    filtered = np.concatenate([np.full((height, 1), 1, np.uint8), differences], axis=1)
    with Path(path).open("wb") as file:
        file.write(SIGNATURE)
        _write(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
        if profile:
            _write(file, b"iCCP", b"icc\0\0" + zlib.compress(profile))
        _write(file, b"IDAT", zlib.compress(filtered.tobytes(), 6))
        _write(file, b"IEND", b"")


def _write(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


def chunks(path: str | Path, wanted: Collection[bytes] = ()) -> Iterator[tuple[bytes, bytes]]:
    """The parts of a PNG file in their order, kind and content; the content of those that are wanted, which their
    checksums are compared with.

    Raises:
        ValueError: the file ends before its last part, or a part that is wanted is damaged.
    """
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            place = file.tell()
            if place + length + 4 > size:
                break
            body = file.read(length) if kind in wanted else b""
            if kind in wanted and file.read(4) != struct.pack(">I", zlib.crc32(kind + body)):
                raise ValueError(f"{path} is damaged: a part of it, {kind.decode('latin-1')}, has another checksum")
            yield kind, body
            if kind == b"IEND":
                return
            file.seek(place + length + 4)
    raise ValueError(f"{path} is truncated: its last part is missing")


def _unfilter(kinds: np.ndarray, coded: np.ndarray) -> np.ndarray:
    """The bytes that were filtered row by row, (height, width, bytes per pixel).

    A byte depends on those to the left, above, and left above; all rows are worked on at once, each one pixel behind
    the row above it.
    """
    if kinds.max(initial=0) > 4:
        raise ValueError(f"a row of this PNG file has the filter {kinds.max()}, which does not exist")
    height, width, size = coded.shape
    # Row r, column c is at [r + 1, c + 1]; the borders are zero.
    whole = np.zeros((height + 1, width + 1, size), np.int16)
    kind = kinds.astype(np.int64)[:, None]
    every = np.arange(height)
    for front in range(width + height - 1):
        rows = every[max(0, front - width + 1) : min(height, front + 1)]
        columns = front - rows
        left, above, corner = whole[rows + 1, columns], whole[rows, columns + 1], whole[rows, columns]
        guess = left + above - corner
        far, near, other = np.abs(guess - corner), np.abs(guess - left), np.abs(guess - above)
        paeth = np.where((near <= other) & (near <= far), left, np.where(other <= far, above, corner))
        predicted = np.choose(kind[rows], [np.zeros_like(left), left, above, (left + above) >> 1, paeth])
        whole[rows + 1, columns + 1] = (coded[rows, columns] + predicted) & 255
    return whole[1:, 1:].astype(np.uint8)
