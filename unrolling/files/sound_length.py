"""Whether sound files are as long as they say; libsndfile reads what there is."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFFFFF)  # sizes that a writer, a stream, did not know
CHUNKS = 10_000  # more than these are no sound file
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
READ = "wav (RIFF, RIFX, RF64 and W64), aiff, flac, ogg, au, caf and mp3"


def check_whole(path: Path) -> None:
    """Refuses a file whose samples end before its headers say, and one of a kind whose length cannot be known.

    Raises:
        ValueError: it does, or it is none of the kinds that are read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(40)
        file.seek(0)
        for begins, check in _KINDS:
            if begins(head):
                check(path, file, size)
                return
    raise ValueError(f"{path} cannot be read as a sound file: it is none of the kinds {READ}")


def _truncated(path: Path, needed: int, there: int) -> ValueError:
    return ValueError(
        f"{path} is truncated: its header speaks of {needed} bytes of samples, and {max(there, 0)} are there"
    )


def _chunks(path: Path, file: BinaryIO, order: str) -> Iterator[tuple[bytes, int]]:
    """Names and lengths of the chunks from here on; the file stands at the content of each."""
    for _ in range(CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = struct.unpack(order + "4sI", head)
        place = file.tell()
        yield name, length
        file.seek(place + length + length % 2)
    raise ValueError(f"{path} is damaged: it has more than {CHUNKS} parts")


def _wav(path: Path, file: BinaryIO, size: int) -> None:
    """RIFF, RIFX and RF64."""
    kind = file.read(12)[:4]
    longer = None
    for name, length in _chunks(path, file, ">" if kind == b"RIFX" else "<"):
        if name == b"ds64" and kind == b"RF64":
            content = file.read(16)
            longer = struct.unpack("<QQ", content)[1] if len(content) == 16 else None
        elif name == b"data":
            needed = longer if longer is not None and length in UNKNOWN else length
            if needed not in UNKNOWN and file.tell() + needed > size:
                raise _truncated(path, needed, size - file.tell())
            return
    raise ValueError(f"{path} is truncated: it is a wav file without samples")


def _w64(path: Path, file: BinaryIO, size: int) -> None:
    file.seek(40)
    for _ in range(CHUNKS):
        head = file.read(24)
        if len(head) < 24:
            break
        name, length = head[:16], struct.unpack("<Q", head[16:])[0]
        if name == W64_DATA:
            if file.tell() + length - 24 > size:
                raise _truncated(path, length - 24, size - file.tell())
            return
        if length < 24:
            break
        file.seek(file.tell() - 24 + (length + 7) // 8 * 8)
    raise ValueError(f"{path} is truncated: it is a W64 file without samples")


def _aiff(path: Path, file: BinaryIO, size: int) -> None:
    file.read(12)
    frames = width = 0
    for name, length in _chunks(path, file, ">"):
        if name == b"COMM":
            content = file.read(8)
            if len(content) == 8:
                channels, frames, bits = struct.unpack(">hIh", content)
                width = channels * -(-bits // 8) if length == 18 else 0  # AIFF-C may be compressed
        elif name == b"SSND":
            held = length - 8
            if file.tell() + length > size:
                raise _truncated(path, held, size - file.tell() - 8)
            if width > 0 and frames * width > held:
                raise _truncated(path, frames * width, held)
            return
    raise ValueError(f"{path} is truncated: it is an aiff file without samples")


def _au(path: Path, file: BinaryIO, size: int) -> None:
    order = ">" if file.read(4) == b".snd" else "<"
    start, length = struct.unpack(order + "II", file.read(8))
    if length not in UNKNOWN and start + length > size:
        raise _truncated(path, length, size - start)


def _caf(path: Path, file: BinaryIO, size: int) -> None:
    file.seek(8)
    for _ in range(CHUNKS):
        head = file.read(12)
        if len(head) < 12:
            break
        name, length = struct.unpack(">4sq", head)
        if name == b"data":
            if length >= 0 and file.tell() + length > size:
                raise _truncated(path, length - 4, size - file.tell() - 4)
            return
        if length < 0:
            break
        file.seek(length, os.SEEK_CUR)
    raise ValueError(f"{path} is truncated: it is a caf file without samples")


def _ogg(path: Path, file: BinaryIO, size: int) -> None:
    """All pages are whole, and the last one says that it is."""
    last = False
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(27)
        if head[:4] != b"OggS":
            if last:
                return  # a tag of another kind behind the end
            raise ValueError(f"{path} is damaged: there is no page of an ogg file at byte {place}")
        lengths = file.read(head[26]) if len(head) == 27 else b""
        if len(head) < 27 or len(lengths) < head[26] or file.tell() + sum(lengths) > size:
            raise ValueError(f"{path} is truncated: it ends within a page")
        place = file.tell() + sum(lengths)
        last = bool(head[5] & 4)
    if not last:
        raise ValueError(f"{path} is truncated: its last page is missing")


def _flac(path: Path, file: BinaryIO, size: int) -> None:
    """Its frames are counted, and compared with its header, when they are read."""


def _mp3(path: Path, file: BinaryIO, size: int) -> None:
    """Its first frame may say how many bytes follow (Xing, Info)."""
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    file.seek(start)
    frame = file.read(1024)
    for mark in (b"Xing", b"Info"):
        place = frame.find(mark)
        if 0 <= place <= len(frame) - 16:
            flags = int.from_bytes(frame[place + 4 : place + 8], "big")
            at = place + (12 if flags & 1 else 8)
            needed = int.from_bytes(frame[at : at + 4], "big")
            if flags & 2 and start + needed > size:
                raise _truncated(path, needed, size - start)


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[Path, BinaryIO, int], None]], ...] = (
    (lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE", _wav),
    (lambda head: head[:16] == W64_RIFF, _w64),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (lambda head: head[:4] == b"fLaC", _flac),
    (lambda head: head[:4] == b"OggS", _ogg),
    (lambda head: head[:4] in (b".snd", b"dns."), _au),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0), _mp3),
)
