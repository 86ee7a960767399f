"""A learned correction in every step, and convergence whatever was learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import scale, tree
from unrolling.core.arguments import check_range
from unrolling.core.iteration import Iteration
from unrolling.core.naming import class_name
from unrolling.core.refusals import kind_of


class Corrected(NamedTuple):
    """The state of ``Convergent``."""

    state: Any  # of the iteration
    reach: Tensor  # (batch,), () without a batch: the length of all corrections together; 0 before the first step
    step: Tensor  # likewise, int64: k


class Convergent(Iteration):
    """s[k+1] = T(s[k]) + e[k],  e[k] = min(1, b[k] / |d[k]|) d[k],  b[k] = (1 - q) q^k r |T(s[0]) - s[0]|, where T is a
    step of the iteration and d[k] = c(T(s[k]), s[k], problem) a learned correction.

    The lengths b[k] add up to r times that of the first classical step, so that the e[k] are summable whatever c is:
    any weights, tied or not, any depth. It is the learned correction term of Shlezinger et al. 2025,
    arXiv:2512.03768, in a form that keeps the guarantee of T.

    **Convergence.** T is a map of a sample's state, a vector of finite dimension, and the same in all steps.

    1. T a contraction, |T s - T t| <= L |s - t| with L < 1 in some norm: s[k] converges to the one fixed point of T,
       which is the parent's limit. For |s[k+1] - s*| <= L |s[k] - s*| + |e[k]|, hence |s[k] - s*| <= L^k |s[0] - s*| +
       sum_j L^(k-1-j) |e[j]|, which goes to zero as max(L, q)^k (times k where L = q).
    2. T continuous, with a fixed point, and |T s - z|^2 <= |s - z|^2 - v |T s - s|^2 for some v > 0, every s, every
       fixed point z, in a norm of an inner product: s[k] converges to a fixed point of T. Averaged maps are such (with
       v = 1/a - 1): gradient descent with step < 2 / L, projections, proximal gradient descent on convex objectives
       (ISTA), Douglas-Rachford. In three steps. (i) |s[k+1] - z| <= |T s[k] - z| + |e[k]| <= |s[k] - z| + |e[k]|, so
       that |s[k] - z| + sum_{j >= k} |e[j]| falls: |s[k] - z| converges, and is bounded, by m say. (ii) Squared,
       |s[k+1] - z|^2 <= |s[k] - z|^2 - v |T s[k] - s[k]|^2 + |e[k]| (2 m + |e[k]|); added up over k,
       sum |T s[k] - s[k]|^2 is finite, so that T s[k] - s[k] -> 0. (iii) A bounded sequence has a cluster point; by
       (ii) and continuity it is a fixed point of T; by (i) with it as z the whole sequence goes there.
       (Quasi-Fejer monotonicity: Combettes 2001, doi:10.1016/S1570-579X(01)80010-0.)

    (Corrections end where q^k falls below the precision of the numbers: after 71 steps in single precision with q =
    0.8. From there on the steps are those of T.)

    Where T has one fixed point, the limit is the parent's. Where it has several, it is one of them (of a convex
    objective: a minimiser, with the parent's value), and which one may depend on the weights.

    The condition may hold in other coordinates: with T(s) = f(w') for a w' = g(T(s)), f, g and T Lipschitz, g(f(w)) = w
    and g T f as in 2., s[k] = f(w[k]) + O(|e[k-1]|) for w[k] = g(s[k]), so that w[k+1] = g T f(w[k]) + O(|e[k-1]| +
    |e[k]|): summable again, and s[k] -> f(lim w[k]). So for ADMM with w = z + u (u the scaled dual, z = prox(w)).
    Fields that a step writes and never reads follow.

    Nothing is promised where T itself does not do as in 1. or 2.: steps too long, objectives that are not convex,
    methods with momentum (correct the plain one, ``fixed_point()``), schedules, message passing, and networks in which
    parameters of T are learned layer by layer. Numbers that are not finite are left out: where d[k] overflows or is NaN
    a sample takes the classical step; where its data are, so is its state.

    Parameters: those of ``iteration`` and of ``correction``. The promise is about what is learned in ``correction``:
    unroll(Convergent(step, correction), depth, untied=("correction",)).

    Args:
        iteration: T.
        correction: (T(s), s, problem) -> what is added, of the shapes of s: a tensor (of a state with fields for the
            first of them), or one for each field with None where nothing is added. A module is learned; zero at the
            start (a last layer of zeros) makes the untrained network its parent, to the bit.
        reach: r >= 0, the most that all corrections together may move the state, over the length of the first step.
        decay: q in (0, 1), what remains of it after each step. Convergence is not faster than q^k.

    Raises:
        ValueError: a reach below zero or infinite, a decay outside (0, 1); on a step, a correction of another shape.
        TypeError: on a step, a correction that is no tensor where one is wanted.
    """

    def __init__(
        self,
        iteration: Iteration,
        correction: Callable[[Any, Any, Any], Any],
        *,
        reach: float = 1.0,
        decay: float = 0.8,
    ) -> None:
        super().__init__()
        check_range(reach, "reach", 0, float("inf"), below=True)
        check_range(decay, "decay", 0, 1, above=True, below=True)
        self.iteration, self.correction = iteration, correction
        self.prepare = iteration.prepare
        self.reach, self.decay = float(reach), float(decay)
        self.batched = iteration.batched
        self.algorithm = iteration.algorithm or class_name(iteration)
        self.unused_at_start = tuple(f"iteration.{name}" for name in iteration.unused_at_start)

    def start(self, problem: Any) -> Corrected:
        """That of the iteration."""
        state = self.iteration.start(problem)
        like = next(t for t in tree.tensors(state) if tree.is_number(t))
        shape = (self.iteration.estimate(state, problem).shape[0],) if self.batched else ()
        reach = like.real.new_zeros(shape)
        return Corrected(state, reach, torch.zeros_like(reach, dtype=torch.int64))

    def forward(self, state: Corrected, problem: Any) -> Corrected:
        """One step, and what is added to it."""
        before, reach, step = state
        stepped = self.iteration(before, problem)
        added = _additions(self.correction(stepped, before, problem), stepped, "the correction")
        chosen = [number for number, each in enumerate(added) if each is not None]
        if not chosen:
            return Corrected(stepped, reach, step + 1)
        new, old = tree.tensors(stepped), tree.tensors(before)
        first = self.reach * self._length([new[number] - old[number] for number in chosen])
        reach = torch.where(step == 0, first.to(reach), reach)
        bound = (1 - self.decay) * self._left(reach, step)
        length = self._length([added[number] for number in chosen])
        factor = scale.divide(bound, torch.maximum(length, bound))
        usable = torch.isfinite(length) & torch.isfinite(factor)
        parts = iter(added)

        def move(tensor: Tensor) -> Tensor:
            part = next(parts)
            if part is None:
                return tensor
            shape = (-1, *[1] * (tensor.ndim - 1)) if self.batched else ()
            return tensor + torch.where(usable.reshape(shape), factor.to(tensor.real.dtype).reshape(shape) * part, 0)

        return Corrected(tree.apply(move, stepped), reach, step + 1)

    def _left(self, reach: Tensor, step: Tensor) -> Tensor:
        """q^k times the reach: the length of all corrections from step k on; zero where rounding would have it so."""
        last = math.log(torch.finfo(reach.dtype).eps) / math.log(self.decay)
        return torch.where(step < last, torch.full_like(reach, self.decay) ** step, 0) * reach

    def _length(self, parts: list[Any]) -> Tensor:
        """Euclidean, of all fields together: (batch,), or () without a batch."""
        real = [torch.view_as_real(part.resolve_conj()) if part.is_complex() else part for part in parts]
        rows = [tree.rows(part) if self.batched else part.reshape(1, -1) for part in real]
        length = scale.norm(torch.cat(rows, 1) if len(rows) > 1 else rows[0])
        return length if self.batched else length.squeeze(0)

    def estimate(self, state: Corrected, problem: Any) -> Tensor:
        """That of the iteration."""
        return self.iteration.estimate(state.state, problem)

    def supervised(self, state: Corrected, problem: Any) -> Any:
        """That of the iteration."""
        return self.iteration.supervised(state.state, problem)

    def residual(self, new: Corrected, old: Corrected, problem: Any) -> Tensor:
        """The larger of that of the iteration and of what all corrections to come may move, over |s|: corrections may
        hold a state still, and are none the less not over.
        """
        change = self.iteration.residual(new.state, old.state, problem)
        room = torch.where(new.step == old.step, 0, self._left(new.reach, new.step))
        return torch.maximum(change, scale.divide(room, self._size(new.state, room), float("inf")).to(change))

    def _size(self, state: Any, room: Tensor) -> Tensor:
        """|s|, of the fields that samples have for themselves; where nothing is to come it does not matter."""
        fields = [t for t in tree.tensors(state) if tree.is_number(t)]
        if self.batched:
            fields = [t for t in fields if t.ndim > 0 and t.shape[0] == room.shape[0]]
        return torch.where(room == 0, 1, self._length(fields))

    @property
    def objective(self) -> Callable[[Corrected, Any], Tensor]:
        """That of the iteration.

        Raises:
            AttributeError: it has none.
        """
        if not hasattr(self.iteration, "objective"):
            raise AttributeError(f"{class_name(self.iteration)} has no objective, and so {class_name(self)} has none")
        return self._objective

    def _objective(self, state: Corrected, problem: Any) -> Tensor:
        return self.iteration.objective(state.state, problem)  # pyright: ignore[reportCallIssue]

    def fixed_point(self) -> Iteration:
        """The iteration."""
        return self.iteration

    def check(self, data: Any) -> None:
        self.iteration.check(data)

    def advice(self) -> str:
        return self.iteration.advice()


def _additions(added: Any, state: Any, name: str) -> list[Tensor | None]:
    """What is added to each tensor of a state, in their order.

    Raises:
        ValueError: another shape, or another number of fields.
        TypeError: no tensor.
    """
    if added is None or not tree.tensors(state):
        return [None] * len(tree.tensors(state))
    if isinstance(state, Tensor):
        if not isinstance(added, Tensor) or not tree.is_number(state):
            raise TypeError(f"{name} is {kind_of(added)}; it is a tensor like the state, {kind_of(state)}")
        if added.shape != state.shape:
            raise ValueError(f"{name} has shape {tuple(added.shape)}, and what it corrects {tuple(state.shape)}")
        return [added]
    if isinstance(added, Tensor):
        added = (added, *[None] * (len(state) - 1))
    if not isinstance(added, (tuple, list)):
        raise TypeError(f"{name} is {kind_of(added)}; it is a tensor, or one (or None) for each field of the state")
    if len(added) != len(state):
        raise ValueError(f"{name} has {len(added)} fields, and the state {len(state)}; None stands for no correction")
    fields = getattr(state, "_fields", range(len(state)))
    found: list[Tensor | None] = []
    for field, part, held in zip(fields, added, state, strict=True):
        found += _additions(part, held, f"{name}'s {field}" if isinstance(field, str) else f"{name}[{field}]")
    return found
