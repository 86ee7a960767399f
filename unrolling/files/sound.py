"""Sound files: read, write, bring to another sampling rate, and work through long ones block by block. Needs the extra
``audio`` (soundfile and scipy).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, gcd, lcm
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unrolling._extras import extra
from unrolling.files.gate import checked
from unrolling.files.sound_length import check_whole
from unrolling.files.whole import check_place, writing

CHUNK = 1 << 20  # samples per channel that are looked at at a time
CLIPPED = 1e-3  # part of the samples at full scale from which on a recording is called clipped


SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".aiff", ".aif")


class Recording(NamedTuple):
    """A recording."""

    samples: Tensor  # (channels, samples), float32; full scale is 1
    rate: int  # Hz


class SoundFormat(NamedTuple):
    """What a file says of itself."""

    rate: int  # Hz
    channels: int
    samples: int  # per channel
    subtype: str  # of libsndfile: PCM_U8, PCM_16, PCM_24, PCM_32, FLOAT, DOUBLE, ...


def soundfile() -> Any:
    """The package.

    Raises:
        ImportError: it is missing, and how to get it.
    """
    with extra("reading and writing sound files"):
        import soundfile
    return soundfile


def inspect(path: str | Path) -> SoundFormat:
    """Rate, channels, length and sample format of a sound file, without its samples.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no sound file, one without samples, or a wav file that ends before its header says.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    sf = soundfile()
    check_whole(path)
    try:
        info = sf.info(str(path))
    except sf.LibsndfileError as error:
        raise ValueError(f"{path} cannot be read as a sound file (wav, flac, ogg, aiff): {error}") from error
    if info.frames < 1:
        raise ValueError(f"{path} holds no samples")
    return SoundFormat(info.samplerate, info.channels, info.frames, info.subtype)


def read(path: str | Path, rate: int | None = None) -> Recording:
    """A whole sound file: wav of 8, 16, 24, 32 bits or float, flac, ogg, aiff.

    Args:
        path: the file.
        rate: in Hz, to which it is brought; its own by default.

    Raises:
        FileNotFoundError, ValueError: as for ``inspect``; NaN or infinite samples.
    """
    form = inspect(path)
    values, _ = soundfile().read(str(path), dtype="float32", always_2d=True)
    samples = _finite(torch.from_numpy(np.ascontiguousarray(values.T)), path, 0)
    return Recording(samples if rate is None else resample(samples, form.rate, rate), rate or form.rate)


def write(path: str | Path, samples: Float[Tensor, "channels samples"], rate: int, subtype: str | None = None) -> None:
    """Write a sound file of the kind that its suffix names; what exceeds full scale is clipped where the format needs
    it.

    Raises:
        ValueError: a suffix or sample format that libsndfile does not know, or samples that are no numbers.
    """
    path = Path(path)
    with ExitStack() as stack:
        file = _Output(path, rate, samples.shape[0], subtype, stack)
        file.add(_finite(samples, path, 0))
        file.finish()


def resample(samples: Float[Tensor, "... samples"], rate: int, to: int) -> Float[Tensor, "... resampled"]:
    """Another sampling rate: polyphase filtering with a Kaiser-windowed sinc, zero outside; ceil(samples to / rate)
    samples.

    Args:
        samples: along the last dimension.
        rate: theirs, in Hz.
        to: the wanted one, in Hz.
    """
    if rate < 1 or to < 1:
        raise ValueError(f"sampling rates are positive; got {rate} and {to} Hz")
    if rate == to:
        return samples
    with extra("another sampling rate", "audio"):
        from scipy.signal import resample_poly
    step = gcd(rate, to)
    return torch.from_numpy(
        np.ascontiguousarray(resample_poly(samples.double().numpy(), to // step, rate // step, axis=-1))
    ).to(samples.dtype)


def reach(rate: int, to: int) -> int:
    """Samples, at ``rate``, to either side that one resampled value depends on: scipy's filter has 10 zero crossings on
    each side.
    """
    step = gcd(rate, to)
    return 0 if rate == to else ceil(10 * max(rate // step, to // step) / (to // step)) + 1


@dataclass(frozen=True)
class Processor:
    """A map from recordings to sources that can be applied piece by piece.

    Attributes:
        run: (channels, samples) at ``rate`` and unit root mean square -> (channels, sources, samples).
        rate: Hz that it works at.
        hop: samples by which its input may be shifted with nothing else changing.
        context: samples to either side that an output depends on.
        interchangeable: whether its sources have no order, so that channels have to be matched.
    """

    run: Callable[[Tensor], Tensor]
    rate: int
    hop: int
    context: int
    interchangeable: bool = False


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


def opened(path: str | Path) -> Sound:
    """A sound file, looked through.

    Raises:
        FileNotFoundError, ValueError: as for ``read``.
    """
    form = inspect(path)
    return Sound(Path(path), form, *_level(Path(path)))


class Applied(NamedTuple):
    """What became of a file."""

    seconds: float  # of sound
    rate: int
    channels: int
    blocks: int
    clipped: float  # part of the input's samples at full scale
    overshoot: float  # part of the output's samples beyond full scale


@torch.no_grad()
def apply(
    processor: Processor, source: Sound | str | Path, outputs: Sequence[str | Path], *, block: float = 30.0
) -> Applied:
    """Process a sound file of any length, rate and number of channels into one file per source, of the same rate,
    channels and sample format.

    The file goes through in blocks with as much context as an output depends on, so that memory does not grow with its
    length and the result is that of the whole file at once, up to rounding. Channels are processed on their own. All
    outputs appear at the end, or none.

    Args:
        processor: what to apply; its sources beyond the number of outputs are left out.
        source: the file.
        outputs: files to write; the suffix says which kind.
        block: seconds that are processed at a time, besides the context.

    Raises:
        FileNotFoundError, ValueError: as for ``read`` and ``write``; an output that is the input or that two sources
            share.
    """
    sound = source if isinstance(source, Sound) else opened(source)
    form, gain, clipped = sound.form, sound.gain, sound.clipped
    _check_outputs(sound.path, [Path(path) for path in outputs])
    if not block > 0:
        raise ValueError(f"block is {block}; blocks last longer than 0 seconds")
    step = gcd(form.rate, processor.rate)
    # Input samples that are a whole number of model samples, and of its hops.
    unit = form.rate // step * (lcm(processor.hop, processor.rate // step) // (processor.rate // step))
    inner_context = processor.context + reach(processor.rate, form.rate)
    margin = ceil(inner_context * form.rate / processor.rate) + reach(form.rate, processor.rate)
    margin, size = ceil(margin / unit) * unit, max(1, round(block * form.rate / unit)) * unit
    match: list[np.ndarray] = []
    over = 0
    with ExitStack() as stack:
        files = [_Output(Path(path), form.rate, form.channels, form.subtype, stack) for path in outputs]
        reader = stack.enter_context(soundfile().SoundFile(str(sound.path)))
        starts = range(0, form.samples, size)
        for start in starts:
            stop, first = min(start + size, form.samples), max(0, start - margin)
            reader.seek(first)
            piece = torch.from_numpy(
                np.ascontiguousarray(
                    reader.read(min(stop + margin, form.samples) - first, dtype="float32", always_2d=True).T
                )
            )
            inner = resample(piece * gain, form.rate, processor.rate)
            found = resample(processor.run(inner), processor.rate, form.rate)[
                ..., start - first : stop - first
            ] / gain.unsqueeze(1)
            if processor.interchangeable and form.channels > 1:
                match.append(_products(found))
            for number, file in enumerate(files):
                over += int((found[:, number].abs() > 1).sum())
                file.add(found[:, number])
        if match:
            _match_channels(files, np.sum(match, axis=0))
        for file in files:
            file.finish()
    count = form.samples * form.channels
    return Applied(
        form.samples / form.rate, form.rate, form.channels, len(starts), clipped, over / (count * len(files))
    )


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


class _Output:
    """A sound file in the making: a temporary file beside it, renamed when all is written."""

    def __init__(self, path: Path, rate: int, channels: int, subtype: str | None, stack: ExitStack) -> None:
        sf = soundfile()
        kind = _kind(path)
        if subtype is None or not sf.check_format(kind, subtype):
            subtype = sf.default_subtype(kind)
        self.path = path
        (self.temporary,) = stack.enter_context(writing(path))
        try:
            self.file = stack.enter_context(
                sf.SoundFile(str(self.temporary), "w", rate, channels, subtype, format=kind)
            )
        except sf.LibsndfileError as error:
            raise ValueError(f"{path} cannot be written: {error}") from error

    def add(self, samples: Tensor) -> None:
        """(channels, samples) more."""
        self.file.write(checked(samples, "the samples").T.numpy())

    def finish(self) -> None:
        """Close it."""
        self.file.close()


def _level(path: Path) -> tuple[Tensor, float]:
    """The gain that brings each channel to a root mean square of one, (channels, 1), and the part of the samples at
    full scale; refuses NaN and infinity.
    """
    energy, at_limit, count = torch.zeros(1), 0, 0
    with soundfile().SoundFile(str(path)) as reader:
        while len(values := reader.read(CHUNK, dtype="float32", always_2d=True)):
            piece = _finite(torch.from_numpy(values.T), path, count)
            energy = energy + piece.double().square().sum(1)
            at_limit += int((piece.abs() >= 1 - 2**-15).sum())
            count += piece.shape[1]
    clipped = at_limit / (count * len(energy))
    if clipped > CLIPPED:
        warnings.warn(
            f"{path}: {clipped:.1%} of the samples are at full scale; the recording is clipped, and the "
            "result will be distorted",
            stacklevel=3,
        )
    root = (energy / count).sqrt()
    return torch.where(root == 0, 1, 1 / torch.where(root == 0, 1, root)).float().unsqueeze(1), clipped


def _finite(samples: Tensor, path: str | Path, first: int) -> Tensor:
    bad = ~torch.isfinite(samples)
    if bool(bad.any()):
        channel, where = (int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{path} holds {int(bad.sum())} samples that are NaN or infinite, the first at sample "
            f"{first + where} of channel {channel}"
        )
    return samples


def _check_outputs(source: Path, outputs: Sequence[Path]) -> None:
    if not outputs:
        raise ValueError("no output is named; say where to write, -o OUTPUT")
    whole = [path.resolve() for path in outputs]
    if source.resolve() in whole:
        raise ValueError(f"{source} is the input; the output needs another name")
    if len(set(whole)) < len(whole):
        raise ValueError(f"two outputs have the same name: {', '.join(map(str, outputs))}")
    for path in outputs:
        if not path.parent.is_dir():
            raise ValueError(f"{path} cannot be written: {path.parent} is not a folder")


def _products(found: Tensor) -> np.ndarray:
    """Inner products of the sources of each channel with those of the first one, (channels, sources, sources)."""
    return torch.einsum("csn,tn->cst", found.double(), found[0].double()).abs().numpy()


def _match_channels(files: Sequence[_Output], products: np.ndarray) -> None:
    """Puts the same source into one file in all channels, where a channel has them in another order than the first."""
    with extra("telling voices apart", "audio"):
        from scipy.optimize import linear_sum_assignment

    sources = products.shape[1]
    # order[c, t]: which source of channel c belongs to file t
    order = np.stack([linear_sum_assignment(-each.T)[1] for each in products])
    if len(files) != sources or (order == np.arange(sources)).all():
        return
    sf = soundfile()
    for file in files:
        file.file.close()
    old = [file.temporary.with_name(file.temporary.name + ".old") for file in files]
    try:
        for file, before in zip(files, old, strict=True):
            os.replace(file.temporary, before)
        with ExitStack() as stack:
            readers = [stack.enter_context(sf.SoundFile(str(path))) for path in old]
            for file in files:
                like = readers[0]
                file.file = stack.enter_context(
                    sf.SoundFile(
                        str(file.temporary), "w", like.samplerate, like.channels, like.subtype, format=like.format
                    )
                )
            while len((pieces := [reader.read(CHUNK, dtype="float64", always_2d=True) for reader in readers])[0]):
                for number, file in enumerate(files):
                    file.file.write(np.stack([pieces[order[c, number]][:, c] for c in range(len(order))], axis=1))
    finally:
        for before in old:
            before.unlink(missing_ok=True)
