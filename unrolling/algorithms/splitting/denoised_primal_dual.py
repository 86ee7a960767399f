"""The primal-dual hybrid gradient method with a denoiser for the prox of the image: learned proximal operators."""

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

SAFE = 0.99  # of the largest product of steps that is known to converge


class DenoisedPrimalDualState(NamedTuple):
    """The state of ``DenoisedPrimalDual``."""

    x: Tensor  # (batch, ...)
    ahead: Tensor  # the extrapolated x
    dual: Tensor  # of the shape of A x


class DenoisedPrimalDual(Iteration):
    """p <- (p + sigma (A x' - y)) / (1 + sigma / alpha),  x+ <- prox_{tau lambda g}(x - tau A^H p),  x' <- x+ + theta
    (x+ - x), for min (alpha / 2) |A x - y|^2 + lambda g(x).

    Chambolle and Pock 2011, doi:10.1007/s10851-010-0251-1, Algorithm 1 with the data among the dual terms, for data
    that bring their own kernel or mask (``PDHG`` is that of one operator for all). It converges for theta = 1 and
    tau sigma |A|^2 < 1. With a denoiser of one level in the place of the prox it is the method of Meinhardt, Moeller,
    Hazirbas and Cremers 2017, doi:10.1109/ICCV.2017.198: only A and alpha change with the task. Nothing is promised for
    a denoiser that is no prox.

    Parameters: ``fidelity`` alpha, ``primal_step`` tau, ``dual_step`` sigma, positive; ``threshold`` tau lambda,
    positive; those of ``prox``.

    Args:
        data_term: 0.5 |A x - y|^2, whose A and A^H are applied; nothing is solved.
        prox: (z, threshold) -> the prox of g; a module may have parameters.
        weight: lambda >= 0.
        fidelity: alpha.
        primal_step: tau.
        dual_step: sigma; by default 0.99 / tau, for |A| = 1 as kernels that sum to one, masks and mosaics have.
        extrapolation: theta, in [0, 1].

    Raises:
        ValueError: steps or a fidelity that are not positive, an extrapolation outside [0, 1], a negative weight.
    """

    fidelity: Tensor
    primal_step: Tensor
    dual_step: Tensor
    threshold: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        prox: Callable[..., Tensor],
        weight: float | Tensor = 0.0,
        *,
        fidelity: float = 1.0,
        primal_step: float = 1.0,
        dual_step: float | None = None,
        extrapolation: float = 1.0,
    ) -> None:
        super().__init__()
        check_range(primal_step, "primal_step", 0.0, float("inf"), above=True, below=True)
        dual_step = SAFE / primal_step if dual_step is None else dual_step
        check_range(dual_step, "dual_step", 0.0, float("inf"), above=True, below=True)
        check_range(fidelity, "fidelity", 0.0, float("inf"), above=True, below=True)
        check_range(extrapolation, "extrapolation", 0, 1)
        self.data_term, self.prox, self.extrapolation = data_term, prox, float(extrapolation)
        self.prepare = data_term
        tensors = [*data_term.parameters(), *data_term.buffers()]
        like = next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        values: dict[str, Any] = {"fidelity": fidelity, "primal_step": primal_step, "dual_step": dual_step}
        values["threshold"] = check_weight(weight) * primal_step
        for name, value in values.items():
            setattr(self, name, scalar_parameter(value, like))
            constrain(self, name, Positive())

    def start(self, problem: Problem) -> DenoisedPrimalDualState:
        """x the data term's start, p = 0."""
        x = self.data_term.start(problem)
        return DenoisedPrimalDualState(x, x, torch.zeros_like(self.data_term.measured(problem.data)))

    def forward(self, state: DenoisedPrimalDualState, problem: Problem) -> DenoisedPrimalDualState:
        """One step."""
        tau, sigma, data = self.primal_step, self.dual_step, problem.data
        difference = self.data_term.image(state.ahead, data) - self.data_term.measured(data)
        dual = (state.dual + sigma * difference) / (1 + sigma / self.fidelity)
        x = self.prox(state.x - tau * self.data_term.adjoint(dual, data), self.threshold)
        return DenoisedPrimalDualState(x, x + self.extrapolation * (x - state.x), dual)

    @property
    def objective(self) -> Callable[[DenoisedPrimalDualState, Problem], Tensor]:
        """(alpha / 2) |A x - y|^2 + lambda g(x), (batch,), of a state and a problem; |.|_1 for a prox that does not
        know its ``penalty``.

        Raises:
            AttributeError: a denoiser in the place of a prox, whose penalty nobody knows.
        """
        return objective_of(self, self._objective, self.prox)

    def _objective(self, state: DenoisedPrimalDualState, problem: Problem) -> Tensor:
        value = self.fidelity * self.data_term.value(state.x, problem)
        return value + penalty_of(self.prox, state.x, self.threshold / self.primal_step)

    def residual(self, new: DenoisedPrimalDualState, old: DenoisedPrimalDualState, problem: Problem) -> Tensor:
        """Of x and the dual, the larger."""
        return torch.maximum(tree.relative_change(new.x, old.x), tree.relative_change(new.dual, old.dual))

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return (
            f"primal_step {float(self.primal_step):.4g} times dual_step {float(self.dual_step):.4g} must stay below "
            "1/|A|^2; a denoiser that makes differences longer may still diverge"
        )
