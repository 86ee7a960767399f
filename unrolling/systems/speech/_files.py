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
    default_suffixes: tuple[str, ...],
    *,
    least: int = 1,
    interchangeable: bool = False,
) -> Application:
    """For networks from mixtures (batch, samples) to sources (batch, sources, samples).

    Args:
        writes: the sources.
        context: samples to either side that an output of a network depends on.
        default_suffixes: of the files that hold the sources where none are named.
        least: how many files must be named.
        interchangeable: whether the sources have no order.
    """

    def run(network: Unrolled, task: Mixtures, source: audio.Sound, outputs: Sequence[Path]) -> Mapping[str, Any]:
        assert task.rate is not None
        processor = audio.Processor(network, task.rate, task.stft.hop, context(network, task), interchangeable)
        return audio.apply(processor, source, outputs)._asdict()

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


def _read(path: Path, options: Mapping[str, Any]) -> audio.Sound:
    return audio.opened(path)
