"""What the systems on speech have in common: how they are applied to sound files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10
from pathlib import Path
from typing import Any

from torch import Tensor

from unrolling.core import Unrolled
from unrolling.files import sound as audio
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.tasks.speech.mixtures import Mixtures

LEAST = 1e-3  # of the other source's level, from which on a source counts as nothing
READS = "a sound file (wav of 8 to 32 bits or float, flac, ogg, aiff) of any sampling rate, with one or more channels"


def application(
    writes: tuple[str, ...],
    context: Callable[[Unrolled, Mixtures], int],
    default_suffixes: tuple[str, ...],
    *,
    found: Callable[[audio.Applied], Sequence[Condition]] = lambda applied: (),
    after: Callable[[Tensor], Tensor] = lambda sources: sources,
    least: int = 1,
    interchangeable: bool = False,
) -> Application:
    """For networks from mixtures (batch, samples) to sources (batch, sources, samples).

    Args:
        writes: the sources.
        context: samples to either side that an output of a network depends on.
        default_suffixes: of the files that hold the sources where none are named.
        found: what became of a file -> what that says of the recording, besides its sampling rate.
        after: what is done to the sources that a network found.
        least: how many files must be named.
        interchangeable: whether the sources have no order.
    """

    def run(network: Unrolled, task: Mixtures, source: audio.Sound, outputs: Sequence[Path]) -> Mapping[str, Any]:
        assert task.rate is not None
        processor = audio.Processor(
            lambda mixture: after(network(mixture)), task.rate, task.stft.hop, context(network, task), interchangeable
        )
        applied = audio.apply(processor, source, outputs)
        rate = Condition("sampling rate", applied.rate, "read", "Hz", (task.rate,), _band(applied.rate, task.rate))
        return {**applied._asdict(), "conditions": [*found(applied), rate]}

    return Application(
        READS,
        writes,
        _read,
        run,
        suffixes=audio.SUFFIXES,
        default_suffixes=default_suffixes,
        least=least,
        kept=audio.SUFFIXES if least == 1 else (),
        check=audio.check_output,
    )


def _band(rate: int, own: int) -> str:
    """What becomes of a recording of another sampling rate."""
    if rate <= own:
        return f"nothing lies above {rate / 2000:g} kHz"
    return f"what lies above {own / 2000:g} kHz is shared out as the top of the band below it"


def ratio(name: str, applied: audio.Applied, effect: str) -> list[Condition]:
    """The ratio of the first two sources in dB, as they were found, within +-60 dB; nothing of silence."""
    first, second = applied.levels
    if not first > 0 and not second > 0:
        return []
    least = LEAST * max(first, second)
    value = 20 * log10(max(first, least) / max(second, least))
    return [Condition(name, round(value, 1), "estimated", "dB", effect=effect)]


def _read(path: Path, options: Mapping[str, Any]) -> audio.Sound:
    return audio.opened(path)
