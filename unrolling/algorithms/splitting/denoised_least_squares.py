"""Least squares that alternate with a denoiser: the iteration of MoDL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_range
from unrolling.operators.normal_equations import conjugate_gradients, solve_positive


class DenoisedLeastSquares(Iteration):
    """x+ = (A^H A + lambda I)^-1 (A^H y + lambda D(x)): the minimiser of |A x - y|^2 + lambda |x - D(x_before)|^2, from
    x = A^H y.

    Aggarwal, Mani and Jacob 2019 (MoDL), doi:10.1109/TMI.2018.2865356. With D the identity this is Tikhonov's
    regularisation iterated, which tends to the least-squares solution: the proximal point algorithm (Rockafellar 1976,
    doi:10.1137/0314056). The equation is solved by at most ``steps`` conjugate gradients, which start at D(x).

    Parameters: ``weight`` lambda, positive; those of ``denoiser``.

    Args:
        data_term: 0.5 |A x - y|^2.
        denoiser: D, images to images; a module may have parameters. None is the identity.
        weight: lambda > 0.
        steps: of conjugate gradients, at most.
        tolerance: relative residual at which they stop.
        gradient: ``implicit``, by one more such equation in the backward pass, exact where both are solved; or
            ``unrolled``, through the steps, which are stored.

    Raises:
        ValueError: a weight that is not positive, fewer than one step, an unknown gradient.
    """

    weight: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        denoiser: Callable[[Tensor], Tensor] | None = None,
        weight: float | Tensor = 0.05,
        *,
        steps: int = 10,
        tolerance: float = 1e-5,
        gradient: Literal["implicit", "unrolled"] = "implicit",
    ) -> None:
        super().__init__()
        check_count(steps, "steps")
        check_range(tolerance, "tolerance", 0.0)
        if gradient not in ("implicit", "unrolled"):
            raise ValueError(f"gradient is {gradient!r}; it is 'implicit' or 'unrolled'")
        value = check_weight(weight)
        if not bool((value > 0).all()):
            raise ValueError(f"weight must be positive; got {weight}")
        self.data_term = data_term
        self.prepare = data_term
        self.denoiser = denoiser
        self.weight = scalar_parameter(value, torch.zeros(()))
        constrain(self, "weight", Positive())
        self.steps, self.tolerance, self.through = steps, tolerance, gradient

    def start(self, problem: Problem) -> Tensor:
        """A^H y."""
        return problem.back

    def forward(self, state: Tensor, problem: Problem) -> Tensor:
        aim = state if self.denoiser is None else self.denoiser(state)
        # (A^H A + lambda I) (x - D) = A^H (y - A D)
        left = problem.back - self._gram(aim, problem)

        def apply(x: Tensor) -> Tensor:
            return self._gram(x, problem) + self.weight * x

        if self.through == "unrolled":
            # to the last step: what stopped early would differ between the samples of a batch
            return aim + conjugate_gradients(apply, left, tolerance=0.0, max_iterations=self.steps)
        return aim + solve_positive(apply, left, tolerance=self.tolerance, max_iterations=self.steps)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return "a larger weight or more steps of conjugate gradients"

    def _gram(self, x: Tensor, problem: Problem) -> Tensor:
        return self.data_term.adjoint(self.data_term.image(x, problem.data), problem.data)
