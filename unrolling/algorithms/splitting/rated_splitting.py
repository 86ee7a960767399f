"""Splittings whose penalty and weight follow how much was measured: one network for many rates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.splitting.admm import Prox, Splitting
from unrolling.algorithms.splitting.block_projections import RATES
from unrolling.algorithms.splitting.data_terms import Problem
from unrolling.core.refusals import explain
from unrolling.operators.linear import LinearOperator


class Rated(NamedTuple):
    """A splitting at the rate of a problem."""

    transform: LinearOperator
    back: LinearOperator
    penalty: Tensor
    rate: Tensor
    weight: Tensor
    prox: Prox

    def shrink(self, u: Tensor) -> Tensor:
        """prox of (lambda / rho) g."""
        return self.prox(u, self.weight / self.penalty)


@explain
class RatedSplitting(Splitting):
    """A splitting whose penalty and weight follow the rate of the measurements: rho exp(b . f) and lambda exp(c . f) in
    the place of rho and lambda, f the weights of five rates (``rate_weights``), ``Problem.features``. With b = c = 0,
    as at the start, it is ``Splitting``. A denoiser as prox (``DenoiserProx``) is told the level (lambda exp(c . f) /
    (rho exp(b . f)))^(1/2).

    All samples of a batch have one rate.

    Parameters: those of ``Splitting``; ``penalty_slope`` b and ``weight_slope`` c, (5,).

    Args:
        transform, prox, weight, penalty, rate, synthesis: as for ``Splitting``.

    Raises:
        ValueError: as ``Splitting``; when run, a problem without these features.
    """

    added = ("penalty_slope", "weight_slope")

    def __init__(
        self,
        transform: LinearOperator,
        prox: Prox,
        weight: float | Tensor,
        *,
        penalty: float | Tensor = 1.0,
        rate: float | Tensor = 1.0,
        synthesis: LinearOperator | None = None,
    ) -> None:
        super().__init__(transform, prox, weight, penalty=penalty, rate=rate, synthesis=synthesis)
        zeros = self.penalty.detach().new_zeros(len(RATES))
        self.penalty_slope, self.weight_slope = (nn.Parameter(zeros.clone()) for _ in range(2))

    def at(self, problem: Problem) -> Rated:
        """The splitting at the rate of a problem."""
        found = problem.features
        if found is None or found.shape[-1] != len(RATES):
            told = "none" if found is None else f"{found.shape[-1]}"
            raise ValueError(
                f"the splitting depends on {len(RATES)} features of the data, and the data term gives {told}; "
                "BlockProjections gives them"
            )
        assert self.weight is not None
        # sums of products, which are not rounded under autocast
        b, c = (torch.exp((found[0] * slope).sum()) for slope in (self.penalty_slope, self.weight_slope))
        return Rated(self.transform, self.back, self.penalty * b, self.rate, self.weight * c, self.prox)
