"""Conjugate gradients on a data term: regularised least squares, step by step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.scale import divide


class ConjugateState(NamedTuple):
    """The state of ``ConjugateGradient``."""

    x: Tensor  # (batch, height, width)
    left: Tensor  # A^H y - (A^H A + lambda I) x
    direction: Tensor


class ConjugateGradient(Iteration):
    """Conjugate gradients for (A^H A + lambda I) x = A^H y, that is min 0.5 |A x - y|^2 + 0.5 lambda |x|^2, from x = 0:

        a = |r|^2 / <p, (A^H A + lambda I) p>,    x <- x + a p,    r+ = r - a (A^H A + lambda I) p,
        p <- r+ + (|r+|^2 / |r|^2) p,    p = r = A^H y at the start.

    Hestenes and Stiefel 1952, doi:10.6028/jres.049.044. With ``CoilSampling`` it is CG-SENSE (Pruessmann, Weiger,
    Börnert and Boesiger 2001, doi:10.1002/mrm.1241). Stopped early it regularises, also without lambda.

    Parameters: ``weight`` lambda, at least 0.

    Args:
        data_term: 0.5 |A x - y|^2.
        weight: lambda >= 0.

    Raises:
        ValueError: a negative weight.
    """

    weight: Tensor

    def __init__(self, data_term: DataTerm, weight: float | Tensor = 0.0) -> None:
        super().__init__()
        self.data_term = data_term
        self.prepare = data_term
        self.weight = scalar_parameter(check_weight(weight), torch.zeros(()))
        constrain(self, "weight", Positive())

    def start(self, problem: Problem) -> ConjugateState:
        """x = 0."""
        return ConjugateState(torch.zeros_like(problem.back), problem.back, problem.back)

    def forward(self, state: ConjugateState, problem: Problem) -> ConjugateState:
        x, left, direction = state
        image = self._normal(direction, problem)
        square = _inner(left, left)
        # A sample that is solved, its residual all rounding, stays where it is.
        rounding = (torch.finfo(square.dtype).eps / 16) ** 2 * _inner(problem.back, problem.back).detach()
        square = torch.where(square <= rounding, 0, square)
        step = divide(square, _inner(direction, image))
        after = left - step * image
        return ConjugateState(x + step * direction, after, after + divide(_inner(after, after), square) * direction)

    def residual(self, new: ConjugateState, old: ConjugateState, problem: Problem) -> Tensor:
        """|x+ - x| / |x+| of each sample."""
        return super().residual(new.x, old.x, problem)

    def objective(self, state: ConjugateState, problem: Problem) -> Tensor:
        """0.5 |A x - y|^2 + 0.5 lambda |x|^2, (batch,)."""
        return self.data_term.value(state.x, problem) + 0.5 * self.weight * state.x.abs().square().flatten(1).sum(1)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return "conjugate gradients do not diverge but by rounding: a positive weight helps"

    def _normal(self, x: Tensor, problem: Problem) -> Tensor:
        image = self.data_term.adjoint(self.data_term.image(x, problem.data), problem.data)
        return image + self.weight * x


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Re <a, b> of each sample, with dimensions of size 1 that broadcast to it."""
    product = (a.conj() * b).real if a.is_complex() else a * b
    return product.sum(tuple(range(1, a.ndim)), keepdim=True)
