"""Photographs compressed by JPEG at any quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.images.diffusion import Compressed
from unrolling.algorithms.images.multiscale_restoration import rounding_level
from unrolling.core.arguments import check_range
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.images.deblocking import Deblocking, compress
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn

QUALITIES = (10, 30, 60, 90)  # at which is scored
# Mean squared errors of decoded photographs go about with this power of the rounding level: each quality counts alike.
POWER, ERROR, LEVEL = 0.85, 1.2e-3, 22 / 255


class DeblockingQualities(Deblocking):
    """As ``Deblocking``, at any quality of the encoder: what the file says of its quantisation comes with the data.

    Qualities of training are such that their logarithm is uniform, from least to most, since artefacts change with
    ratios of them: of a uniform quality one in nine would be 15 or less. Scores are means over 10, 30, 60 and 90.

    Args:
        least, most: qualities of training, 1 to 100.
        seed: of the crops and qualities.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops, a multiple of 8.

    Raises:
        ValueError: qualities outside 1 to 100, or in another order, and what ``Deblocking`` refuses.
    """

    name = "deblocking_qualities"
    options: Mapping[str, Any] = {"least": 5, "most": 98}
    sides = (800, 500)  # small ones have more texture to a pixel, as the usual test sets have

    def __init__(
        self,
        least: int = 5,
        most: int = 98,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        check_range(least, "least", 1, 100)
        check_range(most, "most", least, 100)
        self.lowest, self.highest = int(least), int(most)
        super().__init__(QUALITIES[0], seed, data, crop=crop)
        words = ", ".join(map(str, QUALITIES))
        self.summary = (
            f"Photographs compressed by JPEG at qualities of {least} to {most}; scored at {words}; none of the test "
            "photographs was trained on."
        )

    @classmethod
    def small(cls) -> DeblockingQualities:
        return cls(crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """None: one file serves all."""
        return ""

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Crops, each at a quality of its own."""
        clean = (self.crops(batch, generator).clamp(0, 1) * 255).round() / 255
        parts = torch.rand(batch, generator=generator)
        qualities = (self.lowest * (self.highest / self.lowest) ** parts).round().int().tolist()
        each = [compress(picture.unsqueeze(0), quality) for picture, quality in zip(clean, qualities, strict=True)]
        return Samples(Compressed(*(torch.cat(parts) for parts in zip(*each, strict=True))), clean)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        return [
            self.spoil(picture.unsqueeze(0), torch.Generator(), quality)
            for picture in self.photographs[part].values()
            for quality in QUALITIES
        ]

    def loss(self, estimate: Tensor, target: Tensor, data: Compressed) -> Tensor:
        """The mean over pictures of mse / (0.0012 (l / (22 / 255))^0.85), l the rounding level of the file."""
        usual = ERROR * (rounding_level(data.steps) / LEVEL) ** POWER
        return ((estimate - target).square().flatten(1).mean(1) / usual).mean()

    def shifts(self) -> Sequence[Shift]:
        """Stronger and weaker compression."""

        def made(quality: float) -> Samples:
            return self.spoil(self.timing.target[:2], torch.Generator(), int(quality))

        words = f"The network is told the quantisation; it was trained from {self.lowest} to {self.highest}."
        return [Shift("quality of the encoder", (95.0, 80.0, 50.0, 30.0, 10.0, 5.0), made, None, words)]

    def identity(self) -> dict[str, Any]:
        return {**Pictures.identity(self), "least": self.lowest, "most": self.highest}
