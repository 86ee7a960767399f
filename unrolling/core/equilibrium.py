"""An iteration run to its fixed point as a network of infinite depth."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core.drawing import Drawn
from unrolling.core.execution import transformed
from unrolling.core.gradients import GradientRule, Implicit
from unrolling.core.iteration import Iteration
from unrolling.core.naming import resolve
from unrolling.core.sharing import learnable_copy
from unrolling.core.solve import Solution, solve


class Equilibrium(Drawn, nn.Module):
    """The fixed point of an iteration, differentiable in its learned parameters and in the data.

    Args:
        iteration: the parent; it is not changed.
        learned: names of parameters or sub-modules that are learned.
        gradient: ``Implicit()`` by default; ``OneStep()`` and ``Truncated(last)`` are cheaper and biased.
        tolerance: as for ``solve``; the gradient is exact only at a converged state.
        max_iterations: as for ``solve``; a warning says when it was not enough.

    Raises:
        ValueError: an unknown name.
        TypeError: a gradient rule that needs a finite depth.
    """

    def __init__(
        self,
        iteration: Iteration,
        *,
        learned: str | Iterable[str] = (),
        gradient: GradientRule | None = None,
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
    ) -> None:
        super().__init__()
        self.learned_names = resolve(iteration, learned, "learned")
        self.layer = learnable_copy(iteration, self.learned_names)
        self.gradient = Implicit() if gradient is None else gradient
        if type(self.gradient).attach is GradientRule.attach:
            raise TypeError(
                f"{self.gradient!r} needs a finite number of layers; for a fixed point use Implicit(), "
                "OneStep() or Truncated(last)"
            )
        self.tolerance, self.max_iterations = tolerance, max_iterations

    def solve(self, data: Any) -> Solution:
        """The fixed point, without gradient."""
        return solve(self.layer, data, tolerance=self.tolerance, max_iterations=self.max_iterations)

    def forward(self, data: Any) -> Tensor:
        """The estimate at the fixed point.

        Raises:
            RuntimeError: under a transform of ``torch.func`` or forward-mode differentiation.
        """
        if transformed():
            raise RuntimeError(
                "a fixed point is found by looking at numbers, and its gradient worked out backwards, so that "
                "torch.func and forward-mode differentiation cannot go through; unroll the iteration, "
                "unroll(iteration, depth)"
            )
        solution = self.solve(data)
        if not bool(solution.converged.all()):
            missed = int((~solution.converged).sum())
            warnings.warn(
                f"{missed} of {solution.converged.numel()} samples did not converge to {self.tolerance:g} in "
                f"{self.max_iterations} iterations (worst residual {float(solution.residual.max()):.2g}); gradients "
                "assume that they did",
                RuntimeWarning,
                stacklevel=2,
            )
        if not torch.is_grad_enabled():
            return solution.estimate
        problem = self.layer.prepare(data)
        return self.layer.estimate(self.gradient.attach(self.layer, problem, solution.state), problem)
