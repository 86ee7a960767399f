"""Douglas and Rachford's splitting of a data term and a penalty, which ADMM is in other coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.sparse.ista import penalty_of
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.algorithms.splitting.objectives import objective_of
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_range


class DouglasRachfordState(NamedTuple):
    """The state of ``DouglasRachford``."""

    x: Tensor  # (batch, height, width): what the prox made
    z: Tensor  # what the step works on


class DouglasRachford(Iteration):
    """v = prox_{mu f}(z),  x <- prox_{mu lambda g}(2 v - z),  z <- z + rho (x - v), for min f(x) + lambda g(x), f =
    0.5 |A x - y|^2.

    Lions and Mercier 1979, doi:10.1137/0716071; Eckstein and Bertsekas 1992, doi:10.1007/BF01581204. It converges for
    every mu > 0 and 0 < rho < 2 where g is convex. ``ADMM`` with D the identity and penalty 1 / mu is the same
    iteration: with x[0] = v and alpha[0] = v - z its z are these x. With a denoiser in the place of the prox it is
    PnP-DRS, Ryu, Liu, Wang, Chen, Wang and Yin 2019, arXiv:1905.05406, which converges where f is strongly convex and
    mu is not too small (``plug_and_play_conditions``).

    Parameters: ``step_size`` mu and ``threshold`` mu lambda, positive; those of ``prox``.

    Args:
        data_term: f, one that can solve (A^H A + rho I)^-1.
        prox: (z, threshold) -> the prox of g; a module may have parameters.
        weight: lambda >= 0.
        step_size: mu.
        relaxation: rho, in (0, 2).

    Raises:
        ValueError: a step size that is not positive, a relaxation outside (0, 2), a negative weight.
    """

    step_size: Tensor
    threshold: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        prox: Callable[..., Tensor],
        weight: float | Tensor,
        *,
        step_size: float = 1.0,
        relaxation: float = 1.0,
    ) -> None:
        super().__init__()
        check_range(step_size, "step_size", 0.0, float("inf"), above=True, below=True)
        check_range(relaxation, "relaxation", 0.0, 2.0, above=True, below=True)
        self.data_term, self.prox, self.relaxation = data_term, prox, float(relaxation)
        self.prepare = data_term
        tensors = [*data_term.parameters(), *data_term.buffers()]
        like = next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        self.step_size = scalar_parameter(step_size, like)
        self.threshold = scalar_parameter(check_weight(weight) * step_size, like)
        constrain(self, "step_size", Positive())
        constrain(self, "threshold", Positive())

    def start(self, problem: Problem) -> DouglasRachfordState:
        """x and z the data term's start: A^H y, or the blurred image."""
        x = self.data_term.start(problem)
        return DouglasRachfordState(x, x)

    def forward(self, state: DouglasRachfordState, problem: Problem) -> DouglasRachfordState:
        """One step."""
        mu = self.step_size
        v = self.data_term.solve(problem.back + state.z / mu, 1 / mu, problem)
        x = self.prox(2 * v - state.z, self.threshold)
        moved = x - v
        return DouglasRachfordState(x, state.z + (moved if self.relaxation == 1 else self.relaxation * moved))

    @property
    def objective(self) -> Callable[[DouglasRachfordState, Problem], Tensor]:
        """0.5 |A x - y|^2 + lambda g(x), (batch,), of a state and a problem; |.|_1 for a prox that does not know its
        ``penalty``.

        Raises:
            AttributeError: a denoiser, whose penalty nobody knows.
        """
        return objective_of(self, self._objective, self.prox)

    def _objective(self, state: DouglasRachfordState, problem: Problem) -> Tensor:
        weight = self.threshold / self.step_size
        return self.data_term.value(state.x, problem) + penalty_of(self.prox, state.x, weight)

    def residual(self, new: DouglasRachfordState, old: DouglasRachfordState, problem: Problem) -> Tensor:
        """Of z; x follows it."""
        return tree.relative_change(new.z, old.z)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return "with a denoiser in the place of the prox use a larger step_size (plug_and_play_conditions says which)"
