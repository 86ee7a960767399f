"""Sound files, decoded piece by piece; what they say of themselves is compared with what they hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import decoding
from unrolling.files.sound_length import check_whole
from unrolling.files.sound_output import soundfile

CHUNK = 1 << 20  # samples of all channels that are looked at at a time
CLIPPED = 1e-3  # part of the samples at full scale from which on a recording is called clipped
RATES = (100, 768_000)  # Hz
WHAT, HINT = "a sound file", "wav, flac, ogg and aiff are read"
ENDLESS = 1 << 60  # samples that a file without a length claims


class SoundFormat(NamedTuple):
    """What a file says of itself."""

    rate: int  # Hz
    channels: int
    samples: int  # per channel
    subtype: str  # of libsndfile: PCM_U8, PCM_16, PCM_24, PCM_32, FLOAT, DOUBLE, ...


@dataclass(frozen=True)
class Sound:
    """A sound file that can be worked through, looked through once.

    Attributes:
        path: of the file.
        form: what it says of itself.
        gain: that brings each channel to a root mean square of one, (channels, 1).
        clipped: part of the samples at full scale.
    """

    path: Path
    form: SoundFormat
    gain: Tensor
    clipped: float


def inspect(path: str | Path) -> SoundFormat:
    """Rate, channels, length and sample format of a sound file, without its samples.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no sound file, one without samples, one that ends before its header says, or a sampling rate that no
            recording has.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    with decoding(path, WHAT, HINT):
        soundfile()
        check_whole(path)
        with path.open("rb") as file:
            info = soundfile().info(file)
    if info.frames < 1:
        raise ValueError(f"{path} holds no samples")
    if not RATES[0] <= info.samplerate <= RATES[1]:
        raise ValueError(
            f"{path} has a sampling rate of {info.samplerate} Hz; {RATES[0]} to {RATES[1]} can be worked on"
        )
    return SoundFormat(info.samplerate, info.channels, info.frames, info.subtype)


class Reader:
    """The samples of a file, piece by piece."""

    def __init__(self, path: Path, file: Any, samples: int) -> None:
        self.path, self.file, self.samples = path, file, samples

    def piece(self, first: int, stop: int) -> Tensor:
        """Samples ``first`` to ``stop`` of each channel, (channels, stop - first), float32.

        Raises:
            ValueError: they are not all there.
        """
        with decoding(self.path, WHAT, HINT):
            if self.file.tell() != first:
                self.file.seek(first)
            values = self.file.read(stop - first, dtype="float32", always_2d=True)
        if len(values) < stop - first:
            raise short(self.path, self.samples, first + len(values))
        return torch.from_numpy(np.ascontiguousarray(values.T))


def short(path: Path, said: int, found: int) -> ValueError:
    """The error of a file that ends too early."""
    return ValueError(
        f"{path} is truncated or damaged: by its header it holds {said} samples, and {found} can be decoded"
    )


@contextmanager
def reading(path: Path, form: SoundFormat) -> Iterator[Reader]:
    """A file's samples.

    Raises:
        ValueError: it cannot be decoded.
    """
    with path.open("rb") as file:
        with decoding(path, WHAT, HINT):
            opened = soundfile().SoundFile(file)
        with opened:
            yield Reader(path, opened, form.samples)


def opened(path: str | Path) -> Sound:
    """A sound file, looked through.

    Raises:
        FileNotFoundError, ValueError: as for ``inspect``; fewer samples than it says; NaN or infinite ones.
    """
    path, form = Path(path), inspect(path)
    energy, at_limit, count = torch.zeros(form.channels, dtype=torch.float64), 0, 0
    step = max(1, CHUNK // form.channels)
    with reading(path, form) as reader:
        while count < form.samples:
            with decoding(path, WHAT, HINT):
                values = reader.file.read(min(step, form.samples - count), dtype="float32", always_2d=True)
            if not len(values):
                break
            piece = finite(torch.from_numpy(values.T), path, count)
            energy = energy + piece.double().square().sum(1)
            at_limit += int((piece.abs() >= 1 - 2**-15).sum())
            count += piece.shape[1]
    if count < form.samples < ENDLESS or count == 0:
        raise short(path, form.samples, count)
    form = form._replace(samples=count)
    clipped = at_limit / (count * form.channels)
    if clipped > CLIPPED:
        warnings.warn(
            f"{path}: {clipped:.1%} of the samples are at full scale; the recording is clipped, and the "
            "result will be distorted",
            stacklevel=3,
        )
    root = (energy / count).sqrt()
    gain = torch.where(root == 0, 1, 1 / torch.where(root == 0, 1, root)).float().unsqueeze(1)
    return Sound(path, form, gain, clipped)


def finite(samples: Tensor, path: str | Path, first: int) -> Tensor:
    """The samples, of which ``first`` is the number of the first one.

    Raises:
        ValueError: NaN or infinite ones.
    """
    bad = ~torch.isfinite(samples)
    if bool(bad.any()):
        channel, where = (int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{path} holds {int(bad.sum())} samples that are NaN or infinite, the first at sample "
            f"{first + where} of channel {channel}"
        )
    return samples
