"""Photographs from fewer pixels, by several factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.images.multiscale_restoration import FACTORS, SmallImage
from unrolling.operators.resize import BicubicReduction
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Baseline, Method
from unrolling.tasks.images.baselines import dncnn_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn

ERROR = 2e-4  # mean squared error at a factor of 2; with its square each factor counts about alike


class EnlargingFactors(Pictures):
    """y = the photograph reduced by 2, 3 or 4 by antialiased bicubic interpolation and rounded to 8 bits; scores leave
    a border of that many pixels out.

    Data are ``SmallImage(image, factor)``. A batch of training has one factor, each as often; scores are means over the
    three.

    Args:
        seed: of the crops and factors.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops, brought to a multiple of 12.

    Raises:
        ValueError: what ``Pictures`` refuses.
    """

    name = "enlarging"
    given = "a small photograph, and by how much to enlarge it"
    sought = "a larger one"
    options: Mapping[str, Any] = {}
    grains = 1  # a batch shares its factor
    multiple = 12
    sides = (800, 500)  # small ones have more texture to a pixel, as the usual test sets have
    notes = ("A border as wide as the factor is left out; the small images are rounded to 8 bits.",)
    summary = (
        "Photographs from 1 / 4, 1 / 9 and 1 / 16 of their pixels (bicubic, antialiased); none of the test photographs "
        "was trained on."
    )

    def __init__(
        self,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 72,
    ) -> None:
        super().__init__(seed, data, max(12, crop // 12 * 12))

    @property
    def least(self) -> int:
        return 48

    @classmethod
    def small(cls) -> EnlargingFactors:
        return cls(crop=48, data=few_drawn())

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Bicubic interpolation, and a DnCNN on it that is not told the factor."""
        return [Method("bicubic interpolation", lambda _: _bicubic, linear=True), dncnn_on(_bicubic, size)]

    def spoil(self, clean: Tensor, generator: torch.Generator, factor: int = 2) -> Samples:
        small = (BicubicReduction(factor)(clean).clamp(0, 1) * 255).round() / 255
        return Samples(SmallImage(small, factor), clean)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        factor = FACTORS[int(torch.randint(len(FACTORS), (), generator=generator))]
        return self.spoil(self.crops(batch, generator), generator, factor)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        return [
            self.spoil(picture.unsqueeze(0), torch.Generator(), factor)
            for picture in self.photographs[part].values()
            for factor in FACTORS
        ]

    def loss(self, estimate: Tensor, target: Tensor, data: SmallImage) -> Tensor:
        """mse / (0.0002 (s / 2)^2) for a factor s."""
        return (estimate - target).square().mean() / (ERROR * (data.factor / 2) ** 2)

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        s = samples.data.factor
        inner = samples._replace(target=samples.target[..., s:-s, s:-s])
        return super().pieces(estimate[..., s:-s, s:-s], inner)


def _bicubic(data: SmallImage) -> Tensor:
    return BicubicReduction(data.factor).enlarge(data.image)
