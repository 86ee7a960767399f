"""The primal-dual hybrid gradient method of Chambolle and Pock: total variation without inner iterations."""

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
from unrolling.operators.linear import LinearOperator


class PrimalDualState(NamedTuple):
    """The state of ``ChambollePock``."""

    x: Tensor  # (batch, height, width)
    ahead: Tensor  # the extrapolated x
    dual: Tensor  # of the shape of D x


class ChambollePock(Iteration):
    """p <- prox_{sigma (lambda g)*}(p + sigma D x'),  x+ <- (A^H A + I / tau)^-1 (A^H y + (x - tau D^H p) / tau),  x'
    <- x+ + theta (x+ - x).

    For min 0.5 |A x - y|^2 + lambda g(D x): Chambolle and Pock 2011, doi:10.1007/s10851-010-0251-1, Algorithm 1; with D
    the gradient and g the sum of its lengths, total variation. The dual prox comes from that of g by Moreau's identity.
    It converges for sigma tau |D|^2 < 1 and theta = 1.

    Parameters: ``weight`` lambda, ``primal_step`` tau, ``dual_step`` sigma, positive; those of ``transform`` and
    ``prox``.

    Args:
        data_term: 0.5 |A x - y|^2, one that can solve (A^H A + rho I)^-1.
        transform: D.
        prox: (z, threshold) -> the prox of g.
        weight: lambda >= 0.
        primal_step: tau.
        dual_step: sigma; by default 0.99 / (8 tau), for gradients of images.
        extrapolation: theta, in [0, 1].

    Raises:
        ValueError: steps that are not positive, an extrapolation outside [0, 1], a negative weight.
    """

    weight: Tensor
    primal_step: Tensor
    dual_step: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        transform: LinearOperator,
        prox: Callable[..., Tensor],
        weight: float | Tensor,
        *,
        primal_step: float = 1.0,
        dual_step: float | None = None,
        extrapolation: float = 1.0,
    ) -> None:
        super().__init__()
        dual_step = 0.99 / (8 * primal_step) if dual_step is None and primal_step > 0 else dual_step
        if not (primal_step > 0 and dual_step is not None and dual_step > 0):
            raise ValueError(f"primal_step and dual_step must be positive; got {primal_step} and {dual_step}")
        if not 0 <= extrapolation <= 1:
            raise ValueError(f"extrapolation must lie in [0, 1]; got {extrapolation}")
        self.data_term = data_term
        self.prepare = data_term
        self.transform, self.prox, self.extrapolation = transform, prox, extrapolation
        tensors = [*data_term.parameters(), *data_term.buffers(), *transform.parameters(), *transform.buffers()]
        like = next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        self.weight = scalar_parameter(check_weight(weight), like)
        self.primal_step, self.dual_step = scalar_parameter(primal_step, like), scalar_parameter(dual_step, like)
        for name in ("weight", "primal_step", "dual_step"):
            constrain(self, name, Positive())

    def start(self, problem: Problem) -> PrimalDualState:
        """x the data term's start, p = 0."""
        x = self.data_term.start(problem)
        return PrimalDualState(x, x, torch.zeros_like(self.transform(x)))

    def forward(self, state: PrimalDualState, problem: Problem) -> PrimalDualState:
        tau, sigma = self.primal_step, self.dual_step
        dual = state.dual + sigma * self.transform(state.ahead)
        dual = dual - sigma * self.prox(dual / sigma, self.weight / sigma)
        x = self.data_term.solve(problem.back + state.x / tau - self.transform.adjoint(dual), 1 / tau, problem)
        return PrimalDualState(x, x + self.extrapolation * (x - state.x), dual)

    @property
    def objective(self) -> Callable[[PrimalDualState, Problem], Tensor]:
        """0.5 |A x - y|^2 + lambda g(D x), (batch,), of a state and a problem.

        Raises:
            AttributeError: a denoiser in the place of a prox, whose penalty nobody knows.
        """
        return objective_of(self, self._objective, self.prox)

    def _objective(self, state: PrimalDualState, problem: Problem) -> Tensor:
        image = self.transform(state.x)
        return self.data_term.value(state.x, problem) + penalty_of(self.prox, image, self.weight)

    def residual(self, new: PrimalDualState, old: PrimalDualState, problem: Problem) -> Tensor:
        """Of x and the dual."""
        return torch.maximum(tree.relative_change(new.x, old.x), tree.relative_change(new.dual, old.dual))

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return (
            f"primal_step {float(self.primal_step):.4g} times dual_step {float(self.dual_step):.4g} must stay "
            "below 1/|D|^2"
        )
