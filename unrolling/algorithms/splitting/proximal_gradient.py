"""Proximal gradient descent on images: any data term, any prox; accelerated by ``FISTA``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.sparse.ista import penalty_of
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.algorithms.splitting.objectives import objective_of
from unrolling.core import Iteration, Positive, constrain


class ProximalGradient(Iteration):
    """x <- prox_{mu lambda g}(x - mu A^H (A x - y)) for min 0.5 |A x - y|^2 + lambda g(x).

    Combettes and Wajs 2005, doi:10.1137/050626090. ``FISTA(ProximalGradient(...))`` accelerates it; with the prox of
    total variation (``AnalysisProx``) that is the algorithm of Beck and Teboulle 2009, doi:10.1109/TIP.2009.2028250.
    (``ISTA`` is the same for codes of a fixed shape.)

    Parameters: ``step_size`` mu and ``threshold`` mu lambda, positive; those of ``prox``.

    Args:
        data_term: 0.5 |A x - y|^2.
        prox: (z, threshold) -> the prox of g; a module may have parameters.
        weight: lambda >= 0.
        step_size: mu; convergence needs mu < 2 / |A|^2, and FISTA mu <= 1 / |A|^2. 1 is right for masked Fourier
            transforms and kernels that sum to one.

    Raises:
        ValueError: a step size that is not positive, a negative weight.
    """

    step_size: Tensor
    threshold: Tensor

    def __init__(
        self, data_term: DataTerm, prox: Callable[..., Tensor], weight: float | Tensor, *, step_size: float = 1.0
    ) -> None:
        super().__init__()
        if not step_size > 0:
            raise ValueError(f"step_size must be positive; got {step_size}")
        self.data_term = data_term
        self.prepare = data_term
        self.prox = prox
        tensors = [*data_term.parameters(), *data_term.buffers()]
        like = next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        self.step_size = scalar_parameter(step_size, like)
        self.threshold = scalar_parameter(check_weight(weight) * step_size, like)
        constrain(self, "step_size", Positive())
        constrain(self, "threshold", Positive())

    def start(self, problem: Problem) -> Tensor:
        """The data term's start: A^H y, or the blurred image."""
        return self.data_term.start(problem)

    def forward(self, state: Tensor, problem: Problem, scale: float = 1.0) -> Tensor:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        threshold = self.threshold if scale == 1.0 else scale * self.threshold
        return self.prox(state - self.step_size * self.data_term.gradient(state, problem), threshold)

    @property
    def objective(self) -> Callable[[Tensor, Problem], Tensor]:
        """0.5 |A x - y|^2 + lambda g(x), (batch,), of a state and a problem; |.|_1 for a prox that does not know
        its ``penalty``.

        Raises:
            AttributeError: a denoiser in the place of a prox, whose penalty nobody knows.
        """
        return objective_of(self, self._objective, self.prox)

    def _objective(self, state: Tensor, problem: Problem) -> Tensor:
        weight = self.threshold / self.step_size
        return self.data_term.value(state, problem) + penalty_of(self.prox, state, weight)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return f"its step size {float(self.step_size):.4g} must stay below 2/|A|^2"
