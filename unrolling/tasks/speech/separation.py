"""Two speakers out of their mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sound.misi import MISI, EqualShares
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.speech.mixtures import OPTIONS, TOGETHER, Mixtures
from unrolling.tasks.speech.speech_metrics import (
    best_order,
    improvement_pieces,
    si_sdr,
)


class Separation(Mixtures):
    """Two speakers out of their mixture; which estimate holds which is free.

    Args:
        levels: largest difference of their levels in dB; it is uniform up to that.
        fixed: tensors of a weights file; none is needed.
        mixtures: the arguments of ``Mixtures``; a folder of recordings has at least four speakers.
    """

    name = "separation"
    given = "a recording of two people at once"
    sought = "each of the two"
    options: Mapping[str, Any] = {"levels": 5.0, **OPTIONS}
    tagged = ("levels",)
    notes = (
        "SI-SDR improvement is the mean over both speakers in their better order, utterance by utterance; the interval "
        "resamples utterances.",
    )
    sources = ("speaker 1", "speaker 2")

    def __init__(
        self,
        levels: float = 5.0,
        fixed: Mapping[str, Tensor] | None = None,
        **mixtures: Any,
    ) -> None:
        if not 0 <= levels <= 200:
            raise ValueError(f"levels is {levels}; the largest difference of levels is 0 to 200 dB")
        super().__init__(**mixtures)
        self.levels = levels
        self.summary = (
            f"Two speakers out of their mixture, levels up to {levels:g} dB apart: {self.seconds:g} s at 8 kHz, "
            "speakers that were not trained on."
        )

    def _pair(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, part: str, generator: torch.Generator, difference: float | None = None
    ) -> Tensor:
        name, first = self._speaker(part, generator)
        _, second = self._speaker(part, generator, besides=name)
        drawn = self.levels * (2 * float(torch.rand((), generator=generator)) - 1)
        difference = drawn if difference is None else difference
        return torch.stack([first * 10 ** (difference / 40), second * 10 ** (-difference / 40)])

    def baselines(self, size: int) -> Sequence[Baseline]:
        """MISI with |X| / 2 for both speakers: what is known without a network."""
        return [
            Iterative("MISI", lambda _: MISI(self.stft, magnitudes=EqualShares(self.stft, 2)), (None,), 20, setting="")
        ]

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """-SI-SDR in dB, mean over sources, of the better order."""
        return -si_sdr(best_order(estimate, target), target).mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        target = samples.target
        return improvement_pieces(best_order(estimate, target), target, target.sum(1))

    def scored(self, estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return best_order(estimate, target).flatten(0, 1), target.flatten(0, 1)

    def shifts(self) -> Sequence[Shift]:
        def make(difference: float) -> Samples:
            return self._held("test", TOGETHER, 4_000_003 + self.seed, difference=difference)[0]

        return [
            Shift(
                "difference of levels in dB",
                (0.0, 2.5, 5.0, 10.0, 20.0),
                make,
                None,
                "Speakers whose levels differ by more than in training.",
            )
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "levels": self.levels}
