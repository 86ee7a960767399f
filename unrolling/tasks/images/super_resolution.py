"""Photographs from fewer pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.operators.resize import BicubicReduction
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.images.baselines import dncnn_on, enlargers
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Measurement, image_measurement


class SuperResolution(Pictures):
    """y = the photograph reduced by antialiased bicubic interpolation and rounded to 8 bits; scores leave a border of
    ``factor`` pixels out.

    Args:
        factor: 2, 3 or 4.
        seed: of the crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops; brought to a multiple of the factor.

    Raises:
        ValueError: another factor, and what ``Pictures`` refuses.
    """

    name = "super_resolution"
    given = "a small photograph"
    sought = "a larger one"
    options: Mapping[str, Any] = {"factor": 3}
    notes = ("A border as wide as the factor is left out; the small images are rounded to 8 bits.",)

    def __init__(
        self,
        factor: int = 3,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 72,
    ) -> None:
        if factor not in (2, 3, 4):
            raise ValueError(f"factor is {factor}; it is 2, 3 or 4")
        self.factor = self.multiple = factor
        self.operator = BicubicReduction(factor)
        self.summary = (
            f"Photographs from 1 / {factor**2} of their pixels (bicubic, antialiased); none of the test "
            "photographs was trained on."
        )
        super().__init__(seed, data, crop // factor * factor)

    @property
    def least(self) -> int:
        return 8 * self.factor

    @classmethod
    def small(cls) -> SuperResolution:
        return cls(crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The factor."""
        return f"x{options['factor']}"

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Classical enlargement, and a DnCNN on the bicubic one."""
        return [*enlargers(self.operator, self.factor), dncnn_on(self.operator.enlarge, size)]

    def measurement(self) -> Measurement:
        return image_measurement(LeastSquares(self.operator))

    def spoil(self, clean: Tensor, generator: torch.Generator) -> Samples:
        small = (self.operator(clean).clamp(0, 1) * 255).round() / 255
        return Samples(small, clean)

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        s = self.factor
        inner = samples._replace(target=samples.target[..., s:-s, s:-s])
        return super().pieces(estimate[..., s:-s, s:-s], inner)

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "factor": self.factor}
