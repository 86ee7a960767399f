"""Photographs from random projections of their blocks, the setting of the literature on compressive imaging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.operators import FiniteDifferences
from unrolling.operators.patches import BlockSensing, projections
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.images.blocks import least_squares, orthonormal_rows
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Measurement, image_measurement


class Compressive(Pictures):
    """y = Phi b for every block b of 33 x 33 pixels, Phi (m, 1089) with orthonormal rows from Gaussian ones; data
    (batch, rows, columns, m).

    Zhang and Ghanem 2018 (ISTA-Net), doi:10.1109/CVPR.2018.00196; its numbers of measurements are m = 10, 43, 109, 272,
    327, 436, 545 for 1 to 50 %. The sides of pictures are brought to multiples of the block by cropping.

    Args:
        ratio: m / 1089.
        block: side of the blocks.
        seed: of Phi and of the crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file: ``matrix`` and ``initial``, used instead of drawing Phi and fitting the linear
            estimate.
        crop: side of the training crops; brought to a multiple of the block.

    Raises:
        ValueError: a ratio that leaves no measurement or more than pixels, and what ``Pictures`` refuses.
    """

    name = "compressive"
    given = "random projections of the blocks of a photograph"
    sought = "the photograph"
    options: Mapping[str, Any] = {"ratio": 0.25, "block": 33}
    notes = ("Estimates are clipped to [0, 1]; every photograph counts equally.",)
    units: Mapping[str, str] = {"data": "1, products with luma", "estimate": "1, luma from 0 (black) to 1 (white)"}

    def __init__(
        self,
        ratio: float = 0.25,
        block: int = 33,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 99,
    ) -> None:
        self.ratio, self.block, self.multiple = ratio, block, block
        self._initial = None if fixed is None else fixed["initial"]
        self.sensing = BlockSensing(orthonormal_rows(ratio, block, seed) if fixed is None else fixed["matrix"])
        m = len(self.sensing.matrix)
        self.summary = (
            f"Photographs from {m / block**2:.0%} of their measurements: each block of {block} x {block} "
            f"pixels through the same {m} projections."
        )
        super().__init__(seed, data, max(block, crop // block * block))

    @property
    def initial(self) -> Tensor:
        """Q (b b, m): the linear estimate Q y of a block, of least squared error over the blocks of the training
        pictures at every fourth pixel.
        """
        if self._initial is None:
            moment = torch.zeros(self.block**2, self.block**2, dtype=torch.float64)
            for picture in self.photographs["train"].values():
                rows = picture.unfold(0, self.block, 4).unfold(1, self.block, 4).reshape(-1, self.block**2)
                rows = rows[
                    torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))[:4000]
                ].double()
                moment += rows.T @ rows / len(rows)
            self._initial = least_squares(self.sensing.matrix, moment)
        return self._initial

    def linear(self, data: Tensor) -> Tensor:
        """The picture of the linear estimates of all blocks."""
        return BlockSensing(self.initial.T.contiguous()).adjoint(data)

    @classmethod
    def small(cls) -> Compressive:
        return cls(block=8, crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The ratio, and another block than usual."""
        return f"ratio{options['ratio']:g}" + ("" if options["block"] == 33 else f"-block{options['block']}")

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The linear estimate, total variation from there, and a U-Net on it."""
        initial = BlockSensing(self.initial.T.contiguous()).H

        def variation(weight: float) -> ADMM:
            splitting = Splitting(FiniteDifferences(), IsotropicShrink(), weight, penalty=10 * weight)
            return ADMM(LeastSquares(self.sensing, initial=initial), [splitting], start="data", inner=(1e-4, 15))

        return [
            Iterative("total variation, ADMM", variation, (0.003, 0.01, 0.03), 200, tuning=60),
            Method("linear estimate", lambda _: self.linear, linear=True),
            unet_on(self.linear, size, levels=3),
        ]

    def measurement(self) -> Measurement:
        return image_measurement(LeastSquares(self.sensing))

    def spoil(self, clean: Tensor, generator: torch.Generator) -> Samples:
        return Samples(self.sensing(clean), clean)

    def fixed_tensors(self) -> dict[str, Tensor]:
        return {"matrix": self.sensing.matrix, "initial": self.initial}

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        pixels = identity["block"] ** 2
        return {"matrix": projections(round(identity["ratio"] * pixels), pixels, identity["seed"])}

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "ratio": self.ratio, "block": self.block}
