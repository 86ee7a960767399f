"""Plug-and-play with a potential: descent on that of a denoiser, and an exact step on the data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_range
from unrolling.prox.plug_and_play import GradientStep


class PotentialDescent(Iteration):
    """x <- prox_{mu f}(x - mu lambda (x - D(x))) for min f(x) + lambda g(x), f = 0.5 |A x - y|^2, D = I - grad g.

    Hurault, Leclaire and Papadakis 2022, arXiv:2110.03220: proximal gradient descent with the parts of data and prior
    exchanged. Where grad g is L-Lipschitz the objective falls in every step for mu lambda L < 1, whatever f is; with
    mu lambda = 1 it denoises and then solves for the data.

    Parameters: ``step_size`` mu and ``weight`` lambda, positive; those of ``denoiser``.

    Args:
        data_term: f, one that can solve (A^H A + rho I)^-1.
        denoiser: D with its potential g.
        weight: lambda >= 0.
        step_size: mu.

    Raises:
        TypeError: a denoiser without ``potential`` and ``gradient``.
        ValueError: a step size that is not positive, a negative weight.
    """

    step_size: Tensor
    weight: Tensor

    def __init__(
        self, data_term: DataTerm, denoiser: GradientStep, weight: float | Tensor, *, step_size: float = 1.0
    ) -> None:
        super().__init__()
        check_range(step_size, "step_size", 0.0, float("inf"), above=True, below=True)
        for name in ("potential", "gradient"):
            if not hasattr(denoiser, name):
                raise TypeError(
                    f"denoiser is {type(denoiser).__name__}, which has no {name}; GradientStep(network) has one"
                )
        self.data_term, self.denoiser = data_term, denoiser
        self.prepare = data_term
        tensors = [*data_term.parameters(), *data_term.buffers()]
        like = next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        self.step_size = scalar_parameter(step_size, like)
        self.weight = scalar_parameter(check_weight(weight), like)
        constrain(self, "step_size", Positive())
        constrain(self, "weight", Positive())

    def start(self, problem: Problem) -> Tensor:
        """The data term's start: A^H y, or the blurred image."""
        return self.data_term.start(problem)

    def forward(self, state: Tensor, problem: Problem) -> Tensor:
        """One step."""
        mu = self.step_size
        moved = state - mu * self.weight * self.denoiser.gradient(state)
        return self.data_term.solve(problem.back + moved / mu, 1 / mu, problem)

    def objective(self, state: Tensor, problem: Problem) -> Tensor:
        """0.5 |A x - y|^2 + lambda g(x), (batch,)."""
        return self.data_term.value(state, problem) + self.weight * self.denoiser.potential(state)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return f"its step size {float(self.step_size):.4g} times its weight must stay below 1 / L, L that of grad g"
