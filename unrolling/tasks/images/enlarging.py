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
        factor: 2, 3 or 4 for this one alone; 0 for all three.
        seed: of the crops and factors.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops, brought to a multiple of 12.

    Raises:
        ValueError: another factor, and what ``Pictures`` refuses.
    """

    name = "enlarging"
    given = "a small photograph, and by how much to enlarge it"
    sought = "a larger one"
    options: Mapping[str, Any] = {"factor": 0}
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
        factor: int = 0,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 72,
    ) -> None:
        if factor not in (0, *FACTORS):
            raise ValueError(f"factor is {factor}; pictures are enlarged by 2, 3 or 4, or 0: by all three")
        self.factors = (factor,) if factor else FACTORS
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

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The factor, where it is one alone."""
        return f"x{options['factor']}" if options["factor"] else ""

    @classmethod
    def serves(cls, trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Those of all three factors for each of them."""
        return trained["factor"] in (0, wanted["factor"])

    def spoil(self, clean: Tensor, generator: torch.Generator, factor: int | None = None) -> Samples:
        factor = self.factors[0] if factor is None else factor
        small = (BicubicReduction(factor)(clean).clamp(0, 1) * 255).round() / 255
        return Samples(SmallImage(small, factor), clean)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        factor = self.factors[int(torch.randint(len(self.factors), (), generator=generator))]
        return self.spoil(self.crops(batch, generator), generator, factor)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        return [
            self.spoil(picture.unsqueeze(0), torch.Generator(), factor)
            for picture in self.photographs[part].values()
            for factor in self.factors
        ]

    def loss(self, estimate: Tensor, target: Tensor, data: SmallImage) -> Tensor:
        """mse / (0.0002 (s / 2)^2) for a factor s."""
        return (estimate - target).square().mean() / (ERROR * (data.factor / 2) ** 2)

    def identity(self) -> dict[str, Any]:
        alone = {"factor": self.factors[0]} if len(self.factors) == 1 else {}
        return {**super().identity(), **alone}

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        s = samples.data.factor
        inner = samples._replace(target=samples.target[..., s:-s, s:-s])
        return super().pieces(estimate[..., s:-s, s:-s], inner)


def _bicubic(data: SmallImage) -> Tensor:
    return BicubicReduction(data.factor).enlarge(data.image)
