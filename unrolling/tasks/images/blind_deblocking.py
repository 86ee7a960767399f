"""Photographs compressed by JPEG at a quality that varies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.images.diffusion import Compressed
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.images.deblocking import Deblocking
from unrolling.tasks.images.sources import Drawn, few_drawn

QUALITIES = (10, 20, 30, 40)  # at which is scored


class BlindDeblocking(Deblocking):
    """Photographs after JPEG compression at qualities from ``least`` to ``most``, all as likely; held-out
    ones come at 10, 20, 30 and 40.

    Args:
        least: the lowest quality of training, 1 to 95.
        most: the highest.
        seed: of qualities and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops, a multiple of 8.

    Raises:
        ValueError: qualities outside 1 to 95 or not in order, and what ``Deblocking`` refuses.
    """

    name = "blind_deblocking"
    given = "a JPEG file of any quality"
    sought = "the photograph without blocks and ringing"
    options: Mapping[str, Any] = {"least": 8, "most": 50}
    notes = (
        "Images are of 8 bits before and after; the PSNR of each photograph at the qualities 10, 20, 30 and 40 counts "
        "equally.",
    )

    def __init__(
        self,
        least: int = 8,
        most: int = 50,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        if not 1 <= least <= most <= 95:
            raise ValueError(f"least and most are {least} and {most}; qualities lie between 1 and 95, the lower first")
        self.least_quality, self.most_quality = least, most
        super().__init__(QUALITIES[0], seed, data, fixed, crop)
        self.summary = (
            f"Photographs compressed by JPEG at qualities from {least} to {most}, scored at 10, 20, 30 and 40; none of "
            "the test photographs was trained on."
        )

    @classmethod
    def small(cls) -> BlindDeblocking:
        return cls(crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Nothing: one file of weights is for all."""
        return ""

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Crops, each at a quality of its own."""
        clean = self.crops(batch, generator)
        high = self.most_quality + 1
        qualities = torch.randint(self.least_quality, high, (batch,), generator=generator).tolist()
        each = [self.spoil(x.unsqueeze(0), generator, quality) for x, quality in zip(clean, qualities, strict=True)]
        fields = [torch.cat(parts) for parts in zip(*(samples.data for samples in each), strict=True)]
        return Samples(Compressed(*fields), torch.cat([samples.target for samples in each]))

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        return [
            self.spoil(p.unsqueeze(0), torch.Generator(), quality)
            for p in self.photographs[part].values()
            for quality in QUALITIES
        ]

    def shifts(self) -> list[Shift]:
        """Stronger and weaker compression."""

        def made(quality: float) -> Samples:
            return self.spoil(self.timing.target[:2], torch.Generator(), int(quality))

        words = f"Qualities of training went from {self.least_quality} to {self.most_quality}."
        return [Shift("quality of the encoder", (60.0, 40.0, 20.0, 10.0, 5.0), made, None, words)]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "qualities": [self.least_quality, self.most_quality]}
