"""Photographs from fewer pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.operators.resize import BicubicReduction
from unrolling.tasks.base import Samples
from unrolling.tasks.images.pictures import Pictures


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

    def __init__(
        self,
        factor: int = 3,
        seed: int = 0,
        data: str | Path | None = None,
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

    def spoil(self, clean: Tensor, generator: torch.Generator) -> Samples:
        small = (self.operator(clean).clamp(0, 1) * 255).round() / 255
        return Samples(small, clean)

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        s = self.factor
        inner = samples._replace(target=samples.target[..., s:-s, s:-s])
        return super().pieces(estimate[..., s:-s, s:-s], inner)

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "factor": self.factor}
