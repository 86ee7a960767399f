"""Sound files in the making."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from unrolling._extras import extra
from unrolling.files.gate import checked
from unrolling.files.whole import check_place, writing

# Frames that an encoder is given at once: that of Vorbis keeps what it is given on its stack.
FRAMES = 4096


def soundfile() -> Any:
    """The package.

    Raises:
        ImportError: it is missing, and how to get it.
    """
    with extra("reading and writing sound files"):
        import soundfile
    return soundfile


def check_output(path: Path) -> None:
    """Finds out before the work whether a sound can be written.

    Raises:
        ValueError: an unknown suffix, a folder that is none or cannot be written into.
        ImportError: soundfile is missing.
    """
    _kind(path)
    check_place(path)


def _kind(path: Path) -> str:
    """The format of libsndfile by a file's suffix."""
    kind = path.suffix.lstrip(".").upper()
    kind = {"AIF": "AIFF", "OGA": "OGG"}.get(kind, kind)
    if kind not in soundfile().available_formats():
        raise ValueError(
            f"{path}: sounds are written as .wav, .flac, .ogg or .aiff; {path.suffix or 'no suffix'} is none of them"
        )
    return kind


class _Disk:
    """A file for libsndfile, which does not say that a disk is full: errors are kept until they can be raised."""

    def __init__(self, path: Path) -> None:
        self.file: Any = path.open("r+b", buffering=1 << 16)
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        """How many bytes were taken."""
        if self.error is None:
            try:
                return self.file.write(content)
            except OSError as error:
                self.error = error
        return 0

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self.file.seek(place, whence)
        except OSError as error:  # it writes what is in the buffer
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)

    def close(self) -> None:
        try:
            self.file.close()
        except OSError as error:
            self.error = self.error or error

    def check(self) -> None:
        """Raises what went wrong."""
        if self.error is not None:
            raise self.error


class Output:
    """A sound file in the making: a temporary file beside it, which gets its name when the stack is left whole.

    Args:
        path: its name; the suffix says which kind.
        rate: in Hz.
        channels: how many.
        subtype: sample format of libsndfile, where the kind has it; else the kind's default.
        stack: that closes it.

    Raises:
        ValueError: a suffix, rate or number of channels that libsndfile does not write.
    """

    def __init__(self, path: Path, rate: int, channels: int, subtype: str | None, stack: ExitStack) -> None:
        kind = _kind(path)
        if subtype is None or not soundfile().check_format(kind, subtype):
            subtype = soundfile().default_subtype(kind)
        self.path, self.stack = path, stack
        self.form = (rate, channels, subtype, kind)
        (self.temporary,) = stack.enter_context(writing(path))
        self.begin()

    def begin(self) -> None:
        """Begin with nothing."""
        rate, channels, subtype, kind = self.form
        with self.temporary.open("r+b") as file:
            file.truncate()
        self.disk = _Disk(self.temporary)
        self.stack.callback(self.disk.close)
        try:
            self.file = soundfile().SoundFile(self.disk, "w", rate, channels, subtype, format=kind)
        except soundfile().LibsndfileError as error:
            self.disk.check()
            raise ValueError(
                f"{self.path} cannot be written with {channels} channels at {rate} Hz as {kind}, {subtype}: "
                f"{error.error_string}"
            ) from error
        self.stack.callback(self._abandon)

    def add(self, samples: Tensor) -> None:
        """(channels, samples) more."""
        self.frames(checked(samples, "the samples").T.numpy())

    def frames(self, values: np.ndarray) -> None:
        """(samples, channels) more."""
        for first in range(0, len(values), FRAMES):
            try:
                self.file.write(np.ascontiguousarray(values[first : first + FRAMES]))
            except (AssertionError, soundfile().LibsndfileError):
                self.disk.check()
                raise
            self.disk.check()

    def finish(self) -> None:
        """Close it.

        Raises:
            OSError: it was not written in full.
        """
        try:
            self.file.close()
        except soundfile().LibsndfileError:
            self.disk.check()
            raise
        self.disk.close()
        self.disk.check()

    def _abandon(self) -> None:
        """Close it, whatever happened to it."""
        with suppress(RuntimeError, AssertionError):
            self.file.close()


def match_channels(files: Sequence[Output], products: np.ndarray) -> None:
    """Puts the same source into one file in all channels, where a channel has them in another order than the first.

    Args:
        files: finished or not, one per source.
        products: inner products of the sources of each channel with those of the first, (channels, sources, sources).
    """
    with extra("telling voices apart", "audio"):
        from scipy.optimize import linear_sum_assignment

    sources = products.shape[1]
    # order[c, t]: which source of channel c belongs to file t
    order = np.stack([linear_sum_assignment(-each.T)[1] for each in products])
    if len(files) != sources or (order == np.arange(sources)).all():
        return
    with ExitStack() as stack:
        readers = []
        for file in files:
            file.finish()
            before = stack.enter_context(file.temporary.open("rb"))
            file.temporary.unlink()  # what is open stays until it is closed
            os.close(os.open(file.temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            readers.append(stack.enter_context(soundfile().SoundFile(before)))
        for file in files:
            file.begin()
        while len((pieces := [reader.read(1 << 18, dtype="float64", always_2d=True) for reader in readers])[0]):
            for number, file in enumerate(files):
                file.frames(np.stack([pieces[order[c, number]][:, c] for c in range(len(order))], axis=1))
