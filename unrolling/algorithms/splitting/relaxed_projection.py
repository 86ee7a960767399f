"""Gradient steps projected onto a set of images, and their relaxation, which converges whatever takes the place of the
projection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, Positive, constrain, scale, tree
from unrolling.core.naming import class_name


class GradientProjection(Iteration):
    """x <- P(x - gamma A^H (A x - y)) for min |A x - y|^2 over a set that P projects onto.

    Goldstein 1964, doi:10.1090/S0002-9904-1964-11178-2; Levitin and Polyak 1966, doi:10.1016/0041-5553(66)90114-5. For
    the projection onto a closed convex set it converges for gamma < 2 / |A|^2. With a network in the place of P it is
    what Gupta, Jin, Nguyen, McCann and Unser 2018, doi:10.1109/TMI.2018.2832656, relax; ``RelaxedProjection`` does.

    Parameters: ``step_size`` gamma, positive; those of ``projector``.

    Args:
        data_term: 0.5 |A x - y|^2.
        projector: P, from images to images of the same shape; a module may have parameters.
        step_size: gamma.

    Raises:
        ValueError: a step size that is not positive and finite.
    """

    step_size: Tensor

    def __init__(self, data_term: DataTerm, projector: Callable[[Tensor], Tensor], *, step_size: float = 1.0) -> None:
        super().__init__()
        if not 0 < step_size < float("inf"):
            raise ValueError(f"step_size must be positive and finite; got {step_size}")
        self.data_term = data_term
        self.prepare = data_term
        self.projector = projector
        held = [*data_term.parameters(), *data_term.buffers()]
        if isinstance(projector, nn.Module):
            held += [*projector.parameters(), *projector.buffers()]
        like = next((t for t in held if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        self.step_size = scalar_parameter(step_size, like)
        constrain(self, "step_size", Positive())

    def start(self, problem: Problem) -> Tensor:
        """The data term's start: A^H y, or its initial estimate."""
        return self.data_term.start(problem)

    def forward(self, state: Tensor, problem: Problem) -> Tensor:
        """One step."""
        return self.projector(state - self.step_size * self.data_term.gradient(state, problem))

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return f"its step size {float(self.step_size):.4g} must stay below 2/|A|^2, or relax it (RelaxedProjection)"


class RelaxedState(NamedTuple):
    """The state of ``RelaxedProjection``."""

    x: Tensor  # (batch, ...)
    distance: Tensor  # (batch,): |z - x| of the step before, in double precision
    relaxation: Tensor  # (batch,): alpha of the step before
    length: Tensor  # (batch,): |x - x'|, x' the iterate before
    steps: int  # taken so far


class RelaxedProjection(Iteration):
    """z[k] = h(x[k]),  x[k+1] = (1 - alpha[k]) x[k] + alpha[k] z[k],  alpha[0] = 1;  alpha[k] = c alpha[k-1] |z[k-1] -
    x[k-1]| / |z[k] - x[k]| where |z[k] - x[k]| > c |z[k-1] - x[k-1]|, else alpha[k-1].

    Gupta, Jin, Nguyen, McCann and Unser 2018, doi:10.1109/TMI.2018.2832656, Algorithm 1: h is a gradient step followed
    by a network in the place of a projection. Whatever h does, |x[k+1] - x[k]| <= c |x[k] - x[k-1]|, so that the
    iterates converge for c < 1, geometrically. That is a property of alpha, not of h: the limit is a fixed point of h
    only where alpha stays away from zero, as it does where h is a contraction with a constant below c. Each sample has
    its own alpha. Where |z - x| = 0 the sample stays.

    The inequality holds for the iterates as they are stored, too: a step that rounding made longer is shortened by what
    rounding may add, and left out where nothing remains of it.

    Parameters: those of ``step``.

    Args:
        step: h, an iteration whose state is one tensor (batch, ...), such as ``GradientProjection``.
        contraction: c, in (0, 1]; with 1 and the exact projection onto a convex set nothing is relaxed, for gamma at
            most 1 / |A|^2.

    Raises:
        ValueError: c outside (0, 1].
        TypeError: the state of ``step`` is no single tensor (on the first step).
    """

    def __init__(self, step: Iteration, *, contraction: float = 0.9) -> None:
        super().__init__()
        if not 0 < contraction <= 1:
            raise ValueError(f"contraction must lie in (0, 1]; got {contraction}")
        self.step = step
        self.prepare = step.prepare
        self.contraction = float(contraction)

    def start(self, problem: Any) -> RelaxedState:
        """h's start."""
        x = self.step.start(problem)
        if not isinstance(x, Tensor):
            raise TypeError(
                f"RelaxedProjection relaxes iterations whose state is one tensor; that of {class_name(self.step)} is "
                f"{type(x).__name__}"
            )
        nothing = x.real.new_zeros(x.shape[0], dtype=torch.float64)
        return RelaxedState(x, nothing, torch.ones_like(nothing), nothing, 0)

    def forward(self, state: RelaxedState, problem: Any) -> RelaxedState:
        """One relaxed step."""
        x = state.x
        move = self.step(x, problem) - x
        distance = _length(move)
        if state.steps == 0:
            x = x + move
            return RelaxedState(x, distance, torch.ones_like(distance), _length(x - state.x), 1)
        bound = self.contraction * state.distance
        factor = torch.where(distance > bound, scale.divide(bound, distance), 1)
        relaxation = state.relaxation * factor
        x, length = self._within(x, relaxation, move, self.contraction * state.length)
        return RelaxedState(x, distance, relaxation, length, state.steps + 1)

    def _within(self, x: Tensor, relaxation: Tensor, move: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
        """x + alpha move as stored, and its length, which is at most the limit."""
        eps = torch.finfo(x.dtype).eps
        limit = limit.detach() * (1 - 8 * eps)
        taken = x + _each(relaxation, x) * move
        length = _length((taken - x).detach())
        # What is stored is off by half a unit in the last place of every entry of x, and so are the steps from there.
        room = (limit - 2 * eps * (_length(x.detach()) + length)).clamp_min(0)
        shorter = torch.where(length > limit, scale.divide(room, length), 1)
        taken = x + _each(shorter * relaxation, x) * move
        length = _length((taken - x).detach())
        stays = length > limit
        return torch.where(_like(stays, x), x, taken), torch.where(stays, 0, length)

    def estimate(self, state: RelaxedState, problem: Any) -> Tensor:
        """h's, at x."""
        return self.step.estimate(state.x, problem)

    def residual(self, new: RelaxedState, old: RelaxedState, problem: Any) -> Tensor:
        """|x[k+1] - x[k]| / |x|, (batch,)."""
        return tree.relative_change(new.x, old.x)

    def fixed_point(self) -> Iteration:
        """h, whose fixed point the limit is where alpha stays away from zero."""
        return self.step

    def check(self, data: Any) -> None:
        self.step.check(data)

    def advice(self) -> str:
        return self.step.advice()


def _length(x: Tensor) -> Tensor:
    """|x| of each sample, (batch,), in double precision; its gradient at zero is zero."""
    return scale.norm(tree.rows(torch.view_as_real(x.resolve_conj()) if x.is_complex() else x).double())


def _like(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.ndim - 1))


def _each(values: Tensor, x: Tensor) -> Tensor:
    """(batch,) numbers that multiply samples."""
    return _like(values.to(x.real.dtype), x)
