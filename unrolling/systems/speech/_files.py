"""What the systems on speech have in common: how they are applied to sound files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolling.core import Unrolled
from unrolling.files import sound as audio
from unrolling.systems.base import Application
from unrolling.tasks.speech.mixtures import Mixtures

READS = "a sound file (wav of 8 to 32 bits or float, flac, ogg, aiff) of any sampling rate, with one or more channels"


def application(
    writes: tuple[str, ...],
    context: Callable[[Unrolled, Mixtures], int],
    *,
    least: int = 1,
    interchangeable: bool = False,
) -> Application:
    """For networks from mixtures (batch, samples) to sources (batch, sources, samples).

    Args:
        writes: the sources.
        context: samples to either side that an output of a network depends on.
        least: how many files must be named.
        interchangeable: whether the sources have no order.
    """

    def run(network: Unrolled, task: Mixtures, source: Path, outputs: Sequence[Path]) -> Mapping[str, Any]:
        assert task.rate is not None
        processor = audio.Processor(network, task.rate, task.stft.hop, context(network, task), interchangeable)
        return audio.apply(processor, source, outputs)._asdict()

    return Application(READS, writes, run, least)
