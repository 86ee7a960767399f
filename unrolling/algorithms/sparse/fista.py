"""FISTA: any proximal-gradient step, accelerated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.sparse.ista import ISTA, GramISTA
from unrolling.algorithms.sparse.strided import StridedISTA
from unrolling.algorithms.sparse.synthesis import SynthesisISTA
from unrolling.algorithms.sparse.varying import VaryingISTA
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.algorithms.splitting.robust_pca import RobustPCA
from unrolling.core import Iteration
from unrolling.core.naming import class_name


class FISTAState(NamedTuple):
    """The state of FISTA."""

    x: Any  # the iterate, a state of the step that is accelerated
    z: Any  # the extrapolated point, where the next step is taken
    momentum: float  # t
    steps: int  # taken so far


class Continuation(NamedTuple):
    """Weight continuation: step k uses lambda max(ratio rate^k, 1). The honest baseline: far fewer iterations than a
    fixed weight needs.
    """

    ratio: float  # first weight over the final one, at least 1
    rate: float  # in (0, 1)


def nesterov(t: float) -> float:
    """t <- (1 + sqrt(1 + 4 t^2)) / 2."""
    return (1 + (1 + 4 * t * t) ** 0.5) / 2


class FISTA(Iteration):
    """x+ = h(z), t+ = (1 + sqrt(1 + 4 t^2)) / 2, z+ = x+ + ((t - 1) / t+) (x+ - x), h a step of ISTA.

    Beck and Teboulle 2009, doi:10.1137/080716542, (4.1)-(4.3). The map of (x, z) is no contraction: implicit gradients
    use ``fixed_point``, which is h.

    Parameters: those of ``ista``.

    Args:
        ista: the step to accelerate, an ``ISTA``, a ``GramISTA``, a ``SynthesisISTA``, a ``VaryingISTA``, a
            ``ProximalGradient``, a ``StridedISTA`` or a ``RobustPCA`` (the fields of its state are affine in its
            unknowns, so that each may be extrapolated).
        momentum: t -> t+; a constant 1 switches the acceleration off.
        continuation: start with a larger weight and lower it (Hale, Yin and Zhang 2008, doi:10.1137/070698920).

    Raises:
        ValueError: a continuation with ratio < 1 or a rate outside (0, 1).
    """

    def __init__(
        self,
        ista: ISTA | GramISTA | StridedISTA | SynthesisISTA | VaryingISTA | ProximalGradient | RobustPCA,
        *,
        momentum: Callable[[float], float] = nesterov,
        continuation: Continuation | tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.ista = ista
        self.prepare = ista.prepare
        self.momentum = momentum
        self.continuation = None if continuation is None else Continuation(*continuation)
        if self.continuation and not (self.continuation.ratio >= 1 and 0 < self.continuation.rate < 1):
            raise ValueError(f"a continuation needs ratio >= 1 and a rate between 0 and 1; got {self.continuation}")

    def start(self, problem: Any) -> FISTAState:
        """x = z = h's start, t = 1."""
        x = self.ista.start(problem)
        return FISTAState(x, x, 1.0, 0)

    def forward(self, state: FISTAState, problem: Any) -> FISTAState:
        """One accelerated step."""
        x = self.ista(state.z, problem, self._scale(state))
        following = self.momentum(state.momentum)
        coefficient = (state.momentum - 1) / following
        z = _extrapolate(x, state.x, coefficient)
        return FISTAState(x, z, following, state.steps + 1)

    def estimate(self, state: FISTAState, problem: Any) -> Tensor:
        """That of ``ista`` at x."""
        return self.ista.estimate(state.x, problem)

    def _scale(self, state: FISTAState) -> float:
        if self.continuation is None:
            return 1.0
        return max(self.continuation.ratio * self.continuation.rate**state.steps, 1.0)

    def residual(self, new: FISTAState, old: FISTAState, problem: Any) -> Tensor:
        """The larger of those of ``ista`` at x and at z, as x alone pauses where the momentum turns; infinite until the
        continuation has reached the final weight.
        """
        change = torch.maximum(self.ista.residual(new.x, old.x, problem), self.ista.residual(new.z, old.z, problem))
        return change if self._scale(new) == 1.0 else torch.full_like(change, torch.inf)

    @property
    def objective(self) -> Callable[[FISTAState, Any], Tensor]:
        """That of ``ista`` at x.

        Raises:
            AttributeError: ``ista`` has none.
        """
        if not hasattr(self.ista, "objective"):
            raise AttributeError(f"{class_name(self.ista)} has no objective, and so FISTA has none")
        return self._objective

    def _objective(self, state: FISTAState, problem: Any) -> Tensor:
        return self.ista.objective(state.x, problem)  # pyright: ignore[reportCallIssue]

    def fixed_point(self) -> Iteration:
        """h: it has the same fixed point, and no memory."""
        return self.ista

    def check(self, data: Any) -> None:
        self.ista.check(data)

    def advice(self) -> str:
        return self.ista.advice()


def _extrapolate(new: Any, old: Any, coefficient: float) -> Any:
    """new + coefficient (new - old), field by field."""
    if isinstance(new, Tensor):
        return new + coefficient * (new - old)
    return type(new)(*(_extrapolate(n, o, coefficient) for n, o in zip(new, old, strict=True)))
