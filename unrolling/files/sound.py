"""Sound files: read, write, bring to another sampling rate, and work through long ones block by block. Needs the extra
``audio`` (soundfile and scipy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, gcd, lcm
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unrolling._extras import extra
from unrolling.files.decoding import check_size
from unrolling.files.sound_bands import REACH, interpolated, shares
from unrolling.files.sound_input import ENDLESS, Sound, finite, inspect, opened, reading
from unrolling.files.sound_input import SoundFormat as SoundFormat
from unrolling.files.sound_output import Output, match_channels
from unrolling.files.sound_output import check_output as check_output
from unrolling.files.sound_output import soundfile as soundfile

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".aiff", ".aif")
PIECE = 1 << 23  # samples of all channels that are processed at a time, at most
ODD = 100_000  # largest factor of the ratio of two sampling rates: the filter between them has ten times as many taps


class Recording(NamedTuple):
    """A recording."""

    samples: Tensor  # (channels, samples), float32; full scale is 1
    rate: int  # Hz


def read(path: str | Path, rate: int | None = None) -> Recording:
    """A whole sound file: wav of 8, 16, 24, 32 bits or float, flac, ogg, aiff.

    Args:
        path: the file.
        rate: in Hz, to which it is brought; its own by default.

    Raises:
        FileNotFoundError, ValueError: as for ``inspect``; NaN or infinite samples.
    """
    path = Path(path)
    form = inspect(path)
    if form.samples >= ENDLESS:
        form = opened(path).form
    check_size(path, 4 * form.samples * form.channels, path.stat().st_size, f"{form.samples} samples")
    with reading(path, form) as reader:
        samples = finite(reader.piece(0, form.samples), path, 0)
    return Recording(samples if rate is None else resample(samples, form.rate, rate), rate or form.rate)


def write(path: str | Path, samples: Float[Tensor, "channels samples"], rate: int, subtype: str | None = None) -> None:
    """Write a sound file of the kind that its suffix names; what exceeds full scale is clipped where the format needs
    it.

    Raises:
        ValueError: a suffix or sample format that libsndfile does not know, or samples that are no numbers.
    """
    path = Path(path)
    with ExitStack() as stack:
        file = Output(path, rate, samples.shape[0], subtype, stack)
        file.add(finite(samples, path, 0))
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
    if max(rate, to) // step > ODD:
        raise ValueError(f"from {rate} to {to} Hz there is no way: their ratio is {rate // step} to {to // step}")
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


class Applied(NamedTuple):
    """What became of a file."""

    seconds: float  # of sound
    rate: int
    channels: int
    blocks: int
    clipped: float  # part of the input's samples at full scale
    overshoot: float  # part of the output's samples beyond full scale
    levels: tuple[float, ...]  # root mean square of each source, of all channels together; full scale is 1


@torch.no_grad()
def apply(
    processor: Processor, source: Sound | str | Path, outputs: Sequence[str | Path], *, block: float = 30.0
) -> Applied:
    """Process a sound file of any length, rate and number of channels into one file per source, of the same rate,
    channels and sample format. What lies above the processor's own band is shared out among the sources
    (``sound_bands.shares``).

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
    inner_context += REACH if form.rate > processor.rate else 0
    margin = ceil(inner_context * form.rate / processor.rate) + reach(form.rate, processor.rate)
    longest = min(block * form.rate, PIECE / form.channels)
    margin, size = ceil(margin / unit) * unit, max(1, round(longest / unit)) * unit
    match: list[np.ndarray] = []
    over, energies = 0, 0.0
    with ExitStack() as stack:
        files = [Output(Path(path), form.rate, form.channels, form.subtype, stack) for path in outputs]
        reader = stack.enter_context(reading(sound.path, form))
        starts = range(0, form.samples, size)
        for start in starts:
            stop, first = min(start + size, form.samples), max(0, start - margin)
            piece = reader.piece(first, min(stop + margin, form.samples))
            found = _whole_band(processor, piece * gain, form.rate)[..., start - first : stop - first]
            found = found / gain.unsqueeze(1)
            energies = energies + found.double().square().sum((0, 2))
            if processor.interchangeable and form.channels > 1:
                match.append(_products(found))
            for number, file in enumerate(files):
                over += int((found[:, number].abs() > 1).sum())
                file.add(found[:, number])
        if match:
            match_channels(files, np.sum(match, axis=0))
        for file in files:
            file.finish()
    count = form.samples * form.channels
    return Applied(
        form.samples / form.rate,
        form.rate,
        form.channels,
        len(starts),
        clipped,
        over / (count * len(files)),
        tuple((torch.as_tensor(energies) / count).sqrt().tolist()),
    )


def _whole_band(processor: Processor, piece: Tensor, rate: int) -> Tensor:
    """(channels, samples) -> (channels, sources, samples), both at a file's rate."""
    inner = resample(piece, rate, processor.rate)
    separated = processor.run(inner)
    found = resample(separated, processor.rate, rate)[..., : piece.shape[1]]
    if rate <= processor.rate:
        return found
    above = piece - resample(inner, processor.rate, rate)[:, : piece.shape[1]]
    return found + interpolated(shares(separated), processor.rate / rate, piece.shape[1]) * above.unsqueeze(1)


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
