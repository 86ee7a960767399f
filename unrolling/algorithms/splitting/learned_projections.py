"""Measurements of blocks that are learned together with the iteration that recovers the image from them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.splitting.block_projections import (
    BLOCK,
    BlockProjections,
    BlockSamples,
    measure_blocks,
    rate_weights,
    spread_blocks,
)
from unrolling.algorithms.splitting.data_terms import Problem
from unrolling.core.arguments import check_count, check_numbers
from unrolling.core.refusals import explain_call


@explain_call
class LearnedProjections(BlockProjections):
    """y = W b of every block b of b x b pixels, W learned; data are the images, which it measures itself.

    Iterations are given the samples as by a matrix with orthonormal rows, Phi = L^-1 W with W W^T = L L^T, which a
    computer makes of those that were measured. A ``binary`` W has the signs of what is learned, -1 and 1 over b, as
    mirrors that are flipped have it; gradients pass through the sign as if it were not there (Bengio, Leonard and
    Courville 2013, arXiv:1308.3432). Learned matrices of blocks: Shi, Jiang, Zhang and Zhao 2017 (CSNet),
    doi:10.1109/ICME.2017.8019428; binary ones, Zhang, Zhao and Gao 2020 (OPINE-Net), doi:10.1109/JSTSP.2020.2977507.

    Parameters: ``matrix``, (m, b b). At the start it holds the first principal components of pixels with the covariance
    1 + exp(-d / 40), the best measurements for linear estimates.

    Args:
        m: measurements of a block.
        block: b, the side of blocks.
        binary: whether only the signs count.

    Raises:
        ValueError: no measurement, or more than pixels; when run, images that are not of whole blocks.
    """

    matrix: nn.Parameter

    def __init__(self, m: int, block: int = BLOCK, *, binary: bool = False) -> None:
        super().__init__(block)
        check_count(m, "m", 1, block**2)
        self.binary = binary
        components = torch.linalg.eigh(self.covariance.double())[1].flip(1)[:, :m].mT
        # Of each vector as of its negative nothing is known: the largest entry is made positive.
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))
        self.matrix = nn.Parameter((components * largest.sign()).to(self.covariance.dtype).contiguous())

    def measured_with(self) -> Float[Tensor, "m pixels"]:
        """W, as a camera has it."""
        if not self.binary:
            return self.matrix
        signs = torch.where(self.matrix < 0, -1.0, 1.0).to(self.matrix.dtype)
        return ((signs - self.matrix).detach() + self.matrix) / self.block

    def rows(self) -> Float[Tensor, "one m pixels"]:
        """Phi, with orthonormal rows, (1, m, b b)."""
        w = self.measured_with()
        lower = torch.linalg.cholesky(w @ w.mT)
        return torch.linalg.solve_triangular(lower, w, upper=False).unsqueeze(0)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, data: Float[Tensor, "batch height width"]
    ) -> Problem:
        """The samples of images with orthonormal rows, and what the rate means for steps and thresholds."""
        if not torch.is_autocast_enabled(data.device.type):
            return self._problem(data)
        with torch.autocast(data.device.type, enabled=False):
            return self._problem(data)

    def _problem(self, data: Tensor) -> Problem:
        matrix = self.rows()
        samples = measure_blocks(data, matrix)
        weights = samples.new_tensor([rate_weights(matrix.shape[-2] / self.block**2)])
        return Problem(spread_blocks(samples, matrix), None, BlockSamples(samples, matrix), weights)

    def check(self, data: Tensor) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        check_numbers(data, "data", "LearnedProjections", real=True)
        if data.ndim != 3 or any(side % self.block or side == 0 for side in data.shape[-2:]):
            raise ValueError(
                f"data are images (batch, height, width) with sides that are multiples of {self.block}; got "
                f"{tuple(data.shape)}"
            )
