"""Photographs from measurements of their blocks that a network may choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.block_projections import BLOCK, measure_blocks, spread_blocks
from unrolling.algorithms.splitting.learned_projections import LearnedProjections
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.operators import FiniteDifferences
from unrolling.prox.analysis import AnalysisProx
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images.blocks import least_squares, orthonormal_rows
from unrolling.tasks.images.compressive_rates import CompressiveRates
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Measurement


class CompressiveLearned(CompressiveRates):
    """y = W b for every block b of 33 x 33 pixels, W (m, 1089) to be chosen, too: data are the photographs, of which a
    method may use no more than m numbers of each block.

    Args:
        ratio: m / 1089.
        seed: of crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops; brought to a multiple of the block.
        block: side of the blocks.

    Raises:
        ValueError: a ratio that leaves no measurement or more than pixels, and what ``Pictures`` refuses.
    """

    name = "compressive_learned"
    given = "a camera that measures mixtures of the pixels of a block, and may be told which"
    sought = "the photograph"
    options: Mapping[str, Any] = {"ratio": 0.25}
    notes = (
        "Estimates are clipped to [0, 1]; every photograph counts equally.",
        "The principal components of the training photographs are the best measurements for linear estimates.",
    )
    units: Mapping[str, str] = {
        "data": "1, luma from 0 (black) to 1 (white), of whole blocks",
        "estimate": "1, luma from 0 (black) to 1 (white)",
    }
    grains = 8

    def __init__(
        self,
        ratio: float = 0.25,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 99,
        *,
        block: int = BLOCK,
    ) -> None:
        self.ratio = ratio
        self.m = len(orthonormal_rows(ratio, block, seed))
        super().__init__(ratio, ratio, seed, data, fixed, crop, block=block)
        self.summary = (
            f"Photographs from {self.m} numbers of each block of {block} x {block} pixels, {ratio:.0%}, which a method "
            "measures as it likes."
        )

    def measurement(self) -> Measurement:
        raise ValueError(
            f"the data of the task {self.name} are the photographs themselves, of which the network chooses what it "
            "measures: there is no training without them"
        )

    @classmethod
    def small(cls) -> CompressiveLearned:
        return cls(block=8, crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The ratio."""
        return f"ratio{options['ratio']:g}"

    def spoil(self, clean: Tensor, generator: torch.Generator, matrix: Tensor | None = None) -> Samples:
        """The photographs are data and target."""
        return Samples(clean, clean)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        """Every picture of a part."""
        return [Samples(p.unsqueeze(0), p.unsqueeze(0)) for p in self.photographs[part].values()]

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As for ``CompressiveRates``, at the one rate."""
        return self.weighed((self.m / self.block**2) ** 0.5, estimate, target)

    def example(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return next(iter(self.photographs["test"].values()))[: 3 * self.block, : 3 * self.block].unsqueeze(0)

    def principal(self, data: Tensor) -> Tensor:
        """The projection of every block onto the first principal components of those of the training photographs."""
        if "principal" not in self._kept:
            vectors = torch.linalg.eigh(self.moment)[1].flip(1)[:, : self.m]
            self._kept["principal"] = vectors.mT.float().unsqueeze(0).contiguous()
        matrix = self._kept["principal"]
        return spread_blocks(measure_blocks(data, matrix), matrix)

    def random(self, data: Tensor) -> Tensor:
        """The linear estimate of least squared error of every block from random measurements."""
        if "random" not in self._kept:
            matrix = orthonormal_rows(self.ratio, self.block, self.seed)
            self._kept |= {"random": matrix.unsqueeze(0), "estimate": least_squares(matrix, self.moment).T.unsqueeze(0)}
        return spread_blocks(measure_blocks(data, self._kept["random"]), self._kept["estimate"].contiguous())

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Linear estimates from the principal components and from random measurements, and total variation from the
        components of a formula, where the networks start.
        """

        def variation(weight: float) -> ProximalGradient:
            prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=5)
            return ProximalGradient(LearnedProjections(self.m, self.block), prox, weight)

        return [
            Iterative("total variation, proximal gradient", variation, (0.001, 0.003, 0.01), 60, tuning=30),
            Method("principal components", lambda _: self.principal, linear=True),
            Method("random measurements, linear estimate", lambda _: self.random),
        ]

    def linear(self, data: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.principal(data)

    def shifts(self) -> Sequence[Any]:
        """None: what is measured is the network's own affair."""
        return ()

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        return {key: value for key, value in own.items() if key not in ("least", "most")} | {"ratio": self.ratio}
