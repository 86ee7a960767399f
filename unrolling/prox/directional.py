"""Total variation along one direction, and its prox: what tells streaks from a picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolling.core.arguments import check_range
from unrolling.core.refusals import explain_call
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.thresholds import check_threshold, soft_threshold


@explain_call
class DirectionalTV(nn.Module):
    """prox of t (sum_p |x[p + s] - x[p]| + a |x|_1): uni-directional total variation, x >= 0 if asked for.

    Bouali and Ladjal 2011, doi:10.1109/TGRS.2011.2119399 (total variation of one direction only, against stripes). The
    differences of pairs of pixels keep their signs under any monotone map of the pixels, so that |x|_1 and x >= 0 only
    shrink and clip what total variation alone leaves (Friedman, Hastie, Hoefling and Tibshirani 2007,
    doi:10.1214/07-AOAS131, for |x|_1). Total variation is minimised in its dual, as ``AnalysisProx`` does.

    Args:
        differences: D, pairs of pixels along one direction; ``DirectionalDifferences(step)``.
        sparsity: a >= 0.
        nonnegative: whether x >= 0.
        iterations: of the dual.

    Raises:
        ValueError: a negative sparsity, fewer than one iteration.
    """

    def __init__(
        self, differences: nn.Module, *, sparsity: float = 0.0, nonnegative: bool = False, iterations: int = 20
    ) -> None:
        super().__init__()
        check_range(sparsity, "sparsity", 0.0)
        self.variation = AnalysisProx(differences, 4.0, iterations=iterations, dim=None)  # pyright: ignore
        self.sparsity, self.nonnegative = sparsity, nonnegative

    def forward(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The minimiser.

        Args:
            z: (batch, ..., height, width), real.
            threshold: t >= 0, a number or a tensor that broadcasts to z.

        Raises:
            TypeError: complex z, which has no order, with ``nonnegative``.
        """
        check_threshold(threshold)
        if self.nonnegative and z.is_complex():
            raise TypeError("a non-negative image is real; complex numbers have no order")
        x = self.variation(z, threshold)
        if self.nonnegative:
            return torch.relu(x - self.sparsity * threshold)
        return soft_threshold(x, self.sparsity * threshold) if self.sparsity else x

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """t (sum_p |x[p + s] - x[p]| + a |x|_1) of each sample, (batch,); that x >= 0 is not part of it."""
        return self.variation.penalty(x, threshold) + (self.sparsity * threshold * x.abs()).flatten(1).sum(1)
