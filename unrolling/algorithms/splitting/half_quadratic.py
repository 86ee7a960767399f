"""Half-quadratic splitting: a penalty on D x, with the split variable drawn ever closer to D x."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.sparse.ista import penalty_of
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.algorithms.splitting.objectives import objective_of
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_count, check_range
from unrolling.operators.normal_equations import solve_positive
from unrolling.operators.spectral import Circulant, Identity, has_spectrum


class HQSState(NamedTuple):
    """The state of ``HalfQuadraticSplitting``."""

    x: Tensor  # (batch, height, width)
    steps: int  # taken so far


class HalfQuadraticSplitting(Iteration):
    """z <- prox_{(lambda / beta) g}(D x),  x <- (A^H A + beta D^H D)^-1 (A^H y + beta D^H z),  beta <- min(growth beta,
    largest).

    Alternating minimisation of 0.5 |A x - y|^2 + lambda g(z) + (beta / 2) |D x - z|^2, which comes to min 0.5 |A x -
    y|^2 + lambda g(D x) as beta grows (Geman and Yang 1995, doi:10.1109/83.392335; Wang, Yang, Yin and Zhang 2008,
    doi:10.1137/080724265).

    Parameters: ``weight`` lambda, ``penalty`` the first beta, positive; those of ``transform`` and ``prox``.

    Args:
        data_term: 0.5 |A x - y|^2.
        transform: D, a linear operator.
        prox: (z, threshold) -> the prox of g.
        weight: lambda >= 0.
        penalty: the first beta, > 0.
        growth: of beta from step to step, at least 1; 1 keeps it.
        largest: of beta, relative to the first one.
        inner: tolerance and largest number of iterations of conjugate gradients, where the equation for x has no closed
            form.

    Raises:
        ValueError: a penalty that is not positive, a growth below 1, a negative weight.
    """

    weight: Tensor
    penalty: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        transform: Circulant,
        prox: Callable[..., Tensor],
        weight: float | Tensor,
        *,
        penalty: float = 1.0,
        growth: float = 2**0.5,
        largest: float = 2.0**8,
        inner: tuple[float, int] = (1e-6, 50),
    ) -> None:
        super().__init__()
        check_range(inner[0], "inner's tolerance", 0.0)
        check_count(inner[1], "inner's iterations")
        if not (penalty > 0 and growth >= 1 and largest >= 1):
            raise ValueError(
                f"penalty must be positive, growth and largest at least 1; got {penalty}, {growth} and {largest}"
            )
        self.data_term = data_term
        self.prepare = data_term
        self.transform, self.prox = transform, prox
        like = next(
            (t for t in [*transform.parameters(), *transform.buffers()] if t.is_floating_point()), torch.zeros(())
        )
        self.weight = scalar_parameter(check_weight(weight), like)
        self.penalty = scalar_parameter(penalty, like)
        constrain(self, "weight", Positive())
        constrain(self, "penalty", Positive())
        self.growth, self.largest, self.inner = growth, largest, inner

    def start(self, problem: Problem) -> HQSState:
        """The data term's start: A^H y, or the blurred image."""
        return HQSState(self.data_term.start(problem), 0)

    def forward(self, state: HQSState, problem: Problem) -> HQSState:
        beta = self._scale(state.steps) * self.penalty
        z = self.prox(self.transform(state.x), self.weight / beta)
        right = problem.back + beta * self.transform.adjoint(z)
        return HQSState(self._solve(right, beta, problem), state.steps + 1)

    @property
    def objective(self) -> Callable[[HQSState, Problem], Tensor]:
        """0.5 |A x - y|^2 + lambda g(D x), (batch,), of a state and a problem.

        Raises:
            AttributeError: a denoiser in the place of a prox, whose penalty nobody knows.
        """
        return objective_of(self, self._objective, self.prox)

    def _objective(self, state: HQSState, problem: Problem) -> Tensor:
        image = self.transform(state.x)
        return self.data_term.value(state.x, problem) + penalty_of(self.prox, image, self.weight)

    def residual(self, new: HQSState, old: HQSState, problem: Problem) -> Tensor:
        """Of x; infinite until beta has stopped growing."""
        change = tree.relative_change(new.x, old.x)
        done = self._scale(new.steps) == self._scale(new.steps + 1)
        return change if done else torch.full_like(change, torch.inf)

    def check(self, data: object) -> None:
        super().check(data)
        self.data_term.check(data)

    def _scale(self, steps: int) -> float:
        return min(self.growth**steps, self.largest)

    def _solve(self, right: Tensor, beta: Tensor, problem: Problem) -> Tensor:
        if isinstance(self.transform, Identity):
            return self.data_term.solve(right, beta, problem)
        if problem.spectrum is not None and has_spectrum(self.transform):
            return self.data_term.solve(
                right, self.transform.weighted_spectrum(beta, *right.shape[-2:]).to(right.real), problem
            )

        def apply(x: Tensor) -> Tensor:
            return self.data_term.gradient(x, problem) + problem.back + beta * self.transform.adjoint(self.transform(x))

        tolerance, iterations = self.inner
        return solve_positive(apply, right, tolerance=tolerance, max_iterations=iterations)
