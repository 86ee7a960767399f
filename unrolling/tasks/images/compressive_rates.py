"""Photographs from random projections of their blocks, at any rate from 1 to 50 %, the matrix known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.block_projections import (
    BLOCK,
    BlockProjections,
    BlockSamples,
    measure_blocks,
    spread_blocks,
)
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.core.arguments import check_range
from unrolling.operators import FiniteDifferences
from unrolling.operators.patches import projections
from unrolling.operators.wavelets import Wavelet
from unrolling.prox.analysis import AnalysisProx
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.images.blocks import least_squares
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import PICTURES, Measurement, RowsMeasurement

SCORED = (0.1, 0.25, 0.5)
POOL = 4  # orthogonal matrices, from whose rows those of training are drawn
PATCHES = 4000  # of each picture, of which the linear estimate is made
MATRIX_SEED = 5_000_003  # of the matrices that are scored with
# PSNR of good reconstructions, BASE + SLOPE sqrt(rate) dB: each rate counts about alike in training.
BASE, SLOPE = 15.0, 34.0
LEAST = 1e-6  # added to squared errors under the root


class CompressiveRates(Pictures):
    """y = Phi b for every block b of 33 x 33 pixels, Phi (m, 1089) with random orthonormal rows; data are
    ``BlockSamples(samples, matrix)``.

    Zhang and Ghanem 2018 (ISTA-Net), doi:10.1109/CVPR.2018.00196, whose numbers of measurements are m = 10, 43, 109,
    272, 327, 436, 545 for 1 to 50 %. In training each batch has a rate of its own, its root uniform between those of
    the least and the most, and a matrix of its own. Scores are means over 10, 25 and 50 %, with matrices that were not
    trained with. The sides of pictures are brought to multiples of the block by cropping.

    Args:
        least: the smallest rate of training.
        most: the largest.
        seed: of matrices and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops; brought to a multiple of the block.
        block: side of the blocks.

    Raises:
        ValueError: rates that leave no measurement or more than pixels, and what ``Pictures`` refuses.
    """

    name = "compressive_rates"
    given = "random projections of the blocks of a photograph, and the matrix that made them"
    sought = "the photograph"
    options: Mapping[str, Any] = {"least": 0.01, "most": 0.5}
    notes = (
        "Estimates are clipped to [0, 1]; every photograph counts equally at 10, 25 and 50 % of the measurements.",
        "The matrices of the scores were not trained with; the linear estimate is the best one on the training "
        "photographs for each of them.",
    )
    units: Mapping[str, str] = {
        "samples": "1, products with luma",
        "matrix": "1, orthonormal rows",
        "estimate": "1, luma from 0 (black) to 1 (white)",
    }
    grains = 1  # all samples of a batch have one matrix

    def __init__(
        self,
        least: float = 0.01,
        most: float = 0.5,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 99,
        *,
        block: int = BLOCK,
    ) -> None:
        check_range(least, "least", 0.5 / block**2, 1.0)
        check_range(most, "most", least, 1.0)
        self.rates, self.block, self.multiple = (least, most), block, block
        self._matrices: dict[tuple[float, int], Tensor] = {}
        self._estimates: dict[tuple[int, float], Tensor] = {}
        self._kept: dict[str, Tensor] = {}
        self.summary = (
            f"Photographs from {least:.0%} to {most:.0%} of their measurements: each block of {block} x {block} pixels "
            "through the same random projections, which are told; scored at 10, 25 and 50 % with matrices that were "
            "not trained with."
        )
        super().__init__(seed, data, max(block, crop // block * block))

    @classmethod
    def small(cls) -> CompressiveRates:
        return cls(block=8, crop=24, data=few_drawn())

    def matrix(self, rate: float, number: int = 0) -> Tensor:
        """(1, m, b b): the matrix that is scored with at a rate; further ones by number."""
        key = (rate, number)
        if key not in self._matrices:
            m = max(1, round(rate * self.block**2))
            seed = MATRIX_SEED + 7919 * self.seed + 101 * number + round(1e4 * rate)
            self._matrices[key] = projections(m, self.block**2, seed).unsqueeze(0)
        return self._matrices[key]

    @cached_property
    def _pool(self) -> Tensor:
        """(POOL, b b, b b): orthogonal matrices."""
        generator = torch.Generator().manual_seed(self.seed)
        size = self.block**2
        return torch.linalg.qr(torch.randn(POOL, size, size, generator=generator))[0]

    def drawn_matrix(self, generator: torch.Generator) -> Tensor:
        """(1, m, b b): random rows of a random orthogonal matrix, pixels in random order and with random signs."""
        low, high = (rate**0.5 for rate in self.rates)
        root = low + (high - low) * float(torch.rand((), generator=generator))
        pixels = self.block**2
        m = max(1, round(root**2 * pixels))
        which = int(torch.randint(POOL, (), generator=generator))
        rows, order = (torch.randperm(pixels, generator=generator) for _ in range(2))
        signs = 2.0 * torch.randint(2, (pixels,), generator=generator) - 1
        return (self._pool[which][rows[:m]][:, order] * signs).unsqueeze(0).contiguous()

    def measurement(self) -> Measurement:
        return RowsMeasurement(BlockProjections(self.block), transformations=PICTURES)

    def spoil(self, clean: Tensor, generator: torch.Generator, matrix: Tensor | None = None) -> Samples:
        matrix = self.drawn_matrix(generator) if matrix is None else matrix
        return Samples(BlockSamples(measure_blocks(clean, matrix), matrix), clean)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        """Every picture of a part at each of the rates that are scored."""
        nobody = torch.Generator()
        return [
            self.spoil(p.unsqueeze(0), nobody, self.matrix(rate))
            for p in self.photographs[part].values()
            for rate in SCORED
        ]

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        clean = super().timing.target
        return self.spoil(clean, torch.Generator(), self.matrix(0.25))

    def example(self) -> BlockSamples:
        clean = next(iter(self.photographs["test"].values()))[: 3 * self.block, : 3 * self.block]
        return self.spoil(clean.unsqueeze(0), torch.Generator(), self.matrix(0.25)).data

    def loss(self, estimate: Tensor, target: Tensor, data: BlockSamples) -> Tensor:
        """The mean over pictures of the root of the mean squared error, over what a good reconstruction has at the
        rate, 10^-(0.75 + 1.7 sqrt(m / b^2)). Crops with much texture have a hundred times the squared error of others.
        """
        return self.weighed((data.matrix.shape[1] / data.matrix.shape[2]) ** 0.5, estimate, target)

    def weighed(self, root: float, estimate: Tensor, target: Tensor) -> Tensor:
        """The loss at a rate, whose root is given."""
        error = (estimate - target).square().flatten(1).mean(1)
        return 10 ** ((BASE + SLOPE * root) / 20) * (error + LEAST).sqrt().mean()

    @cached_property
    def moment(self) -> Tensor:
        """(b b, b b) float64: second moments of blocks of the training photographs."""
        pixels = self.block**2
        moment = torch.zeros(pixels, pixels, dtype=torch.float64)
        generator = torch.Generator().manual_seed(self.seed)
        for picture in self.photographs["train"].values():
            blocks = picture.unfold(0, self.block, 4).unfold(1, self.block, 4)
            count = blocks.shape[0] * blocks.shape[1]
            taken = torch.randperm(count, generator=generator)[:PATCHES]
            rows = blocks[taken // blocks.shape[1], taken % blocks.shape[1]].reshape(-1, pixels).double()
            moment += rows.T @ rows / len(rows)
        return moment

    def linear(self, data: BlockSamples) -> Tensor:
        """The estimate Q y of every block of least squared error over the training photographs."""
        matrix = data.matrix
        key = (matrix.shape[1], float(matrix[0, 0, 0]))
        if key not in self._estimates:
            self._estimates[key] = least_squares(matrix[0], self.moment).T.unsqueeze(0).contiguous()
        return spread_blocks(data.samples, self._estimates[key])

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Total variation and wavelets, the linear estimate, and a U-Net on it."""

        def variation(weight: float) -> ProximalGradient:
            prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=5)
            return ProximalGradient(BlockProjections(self.block), prox, weight)

        def wavelets(weight: float) -> FISTA:
            prox = AnalysisProx(PaddedWavelet(), 1.0, iterations=5, dim=None)
            return FISTA(ProximalGradient(BlockProjections(self.block), prox, weight))

        return [
            Iterative("total variation, FISTA", lambda w: FISTA(variation(w)), (0.003, 0.01, 0.03), 100, tuning=30),
            Iterative("total variation, proximal gradient", variation, (0.01,), 100),
            Iterative("wavelets, FISTA", wavelets, (0.003, 0.01, 0.03), 100, tuning=30),
            Method("linear estimate", lambda _: self.linear, linear=True),
            unet_on(self.linear, size, levels=3),
        ]

    def shifts(self) -> Sequence[Shift]:
        """Rates, and noise on the measurements."""
        crops = self.timing.target[:2]
        generator = torch.Generator().manual_seed(4_000_003 + self.seed)
        matrix = self.matrix(0.25)
        noise = torch.randn(*measure_blocks(crops, matrix).shape, generator=generator)

        def at(rate: float) -> Samples:
            return self.spoil(crops, generator, self.matrix(rate))

        def noisy(level: float) -> Samples:
            clean = self.spoil(crops, generator, matrix)
            return Samples(BlockSamples(clean.data.samples + level * noise, matrix), crops)

        low, high = self.rates
        return [
            Shift(
                "measurements per pixel",
                (0.01, 0.04, 0.1, 0.25, 0.5, 0.75),
                at,
                None,
                f"One network, trained from {low:.0%} to {high:.0%}.",
            ),
            Shift(
                "noise on the measurements, standard deviation",
                (0.0, 0.01, 0.02, 0.05, 0.1),
                noisy,
                0.0,
                "White noise is added to every measurement, at 25 %.",
            ),
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "least": self.rates[0], "most": self.rates[1], "block": self.block}


class PaddedWavelet:
    """The wavelet coefficients of pictures whose sides were brought to multiples of 16 by zeros: W P, P^T W^T W P = I.

    Args:
        levels: of the transform, at most 4.
    """

    def __init__(self, levels: int = 4) -> None:
        self.wavelet = Wavelet(levels)
        self.sides = (0, 0)

    def __call__(self, x: Tensor) -> Tensor:
        self.sides = x.shape[-2], x.shape[-1]
        height, width = self.sides
        return self.wavelet(torch.nn.functional.pad(x, (0, -width % 16, 0, -height % 16)))

    def adjoint(self, y: Tensor) -> Tensor:
        """The picture of coefficients, cut to the sides of the picture before."""
        height, width = self.sides
        return self.wavelet.adjoint(y)[..., :height, :width]
