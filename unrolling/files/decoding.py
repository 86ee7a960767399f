"""Where decoders are called: whatever they raise becomes a ``ValueError`` that names the file, and what they may take
of the memory is known before.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# What is larger when it is decoded, and so many times larger than the file, is no picture and no measurement:
# photographs take a tenth to a hundredth of their pixels' size.
LARGE, RATIO = 1 << 28, 250
PIECE = 1 << 20  # bytes that are decoded at a time
HEADER = 10_000  # bytes of a .npy file's header, as NumPy's own limit


@contextmanager
def decoding(path: str | Path, what: str, hint: str = "") -> Iterator[None]:
    """Errors of a decoder as ``ValueError``: "PATH cannot be read as WHAT: the decoder's words; HINT".

    Raises:
        ValueError: for every error but a missing package.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, (ValueError, FileNotFoundError)) and text.startswith(str(path)):
            raise
        if isinstance(error, MemoryError):
            text = "there is not enough memory for what it says it holds"
        elif isinstance(error, OSError) and error.strerror:
            text = error.strerror
        elif isinstance(error, (KeyError, IndexError, AssertionError, AttributeError, TypeError)) or not text:
            text = f"it is damaged ({type(error).__name__}{f': {text}' if text else ''})"
        raise ValueError(f"{path} cannot be read as {what}: {text}" + (f"; {hint}" if hint else "")) from error


def check_size(path: str | Path, decoded: int, held: int, what: str) -> None:
    """Refuses what a file could only hold to fill the memory.

    Args:
        path: of the file, for the message.
        decoded: bytes that it becomes in memory.
        held: bytes that it takes in the file.
        what: it is: "8000 x 9000 pixels".

    Raises:
        ValueError: too much.
    """
    if decoded > LARGE and decoded > RATIO * max(held, 1):
        times = decoded // max(held, 1)
        raise ValueError(
            f"{path} says that it holds {what}, which take {decoded / 2**20:.0f} MiB of memory, {times} times what "
            "they take in the file; it is not decoded, as it may have been made to fill the memory"
        )


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a ``.npz`` file by name; that of a ``.npy`` file is y. Each is read when it is asked for.

    Args:
        path: the file.

    Raises:
        ValueError: no such file, or one of another kind; for an array that is asked for, one that is truncated or
            damaged, holds objects, or says that it is larger than it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._decoding(), path.open("rb") as file:
            self.zipped = file.read(6) != np.lib.format.MAGIC_PREFIX
            self.members: dict[str, zipfile.ZipInfo] = {}
            if self.zipped:
                file.seek(0)
                with zipfile.ZipFile(file) as content:
                    self.members = {info.filename.removesuffix(".npy"): info for info in content.infolist()}
        self.names = tuple(self.members) if self.zipped else ("y",)

    @property
    def only(self) -> np.ndarray:
        """The array of a file that holds one.

        Raises:
            ValueError: it holds several, or none.
        """
        if len(self.names) != 1:
            raise ValueError(f"{self.path} holds {', '.join(self.names) or 'nothing'}, and one array is needed")
        return self[self.names[0]]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        with self._decoding(), self.path.open("rb") as file:
            if not self.zipped:
                return _array(self.path, name, file, self.path.stat().st_size, self.path.stat().st_size)
            info = self.members[name]
            with zipfile.ZipFile(file) as content, content.open(info) as member:
                return _array(self.path, name, member, info.file_size, info.compress_size)  # pyright: ignore

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def _decoding(self) -> Any:
        return decoding(self.path, "a .npy or .npz file of arrays")


def _array(path: Path, name: str, file: BinaryIO, size: int, held: int) -> np.ndarray:
    """An array in the format of NumPy, of a file of ``size`` bytes that takes ``held`` bytes on the disk."""
    version = np.lib.format.read_magic(file)
    form = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = form(file, max_header_size=HEADER)
    if dtype.hasobject:
        raise ValueError(f"{path}: {name} holds objects of Python, and not numbers")
    count = 1
    for side in shape:
        count *= int(side)
    need, there = count * dtype.itemsize, size - file.tell()
    if need > there:
        raise ValueError(f"{path} is truncated: its header speaks of {need} bytes of {name}, and {there} are there")
    check_size(path, need, held, f"{name} of shape {shape}")
    values = np.empty(count, dtype)
    place, into = 0, values.reshape(-1).view(np.uint8)
    while place < need:
        content = file.read(min(PIECE, need - place))
        if not content:
            raise ValueError(f"{path} is truncated: its header speaks of {need} bytes of {name}, and {place} are there")
        into[place : place + len(content)] = np.frombuffer(content, np.uint8)
        place += len(content)
    if there == need:
        file.read(1)  # the end of a member, where its checksum is compared
    return values.reshape(shape, order="F" if fortran else "C")
