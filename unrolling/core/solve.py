"""Run an iteration until it converges: the classical algorithm."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from unrolling.core import tree
from unrolling.core.arguments import admit
from unrolling.core.batch import Batch, Joined
from unrolling.core.iteration import Iteration, check_finite
from unrolling.core.naming import class_name
from unrolling.core.refusals import explained


class Status(IntEnum):
    """How a sample ended."""

    CONVERGED = 0
    LIMIT = 1  # max_iterations were not enough
    STOPPED = 2  # the callback ended the run
    DIVERGED = 3  # its state left the finite numbers


class Solution(NamedTuple):
    """What ``solve`` found, one entry per sample; without dimension where the iteration knows no batch."""

    estimate: Tensor  # (batch, ...): the answer; NaN where a sample diverged
    state: Any  # the final state, or the last finite one; its plain numbers are those of the last step taken
    iterations: Tensor  # (batch,) int64: steps taken
    status: Tensor  # (batch,) int64: values of ``Status``
    residual: Tensor  # (batch,): that of the last step

    @property
    def converged(self) -> Tensor:
        """(batch,) bool."""
        return self.status == Status.CONVERGED


class Progress(NamedTuple):
    """What a callback sees after each step."""

    iteration: int  # from 1
    state: Any  # of the samples still in the batch
    samples: Tensor  # (running,) int64: which ones they are
    residual: Tensor  # (running,)


class DivergenceError(ArithmeticError):
    """An iteration left the finite numbers."""


# Finished samples leave the batch once they are this fraction of it: one copy then pays for itself within a few steps.
_COMPACT = 0.125


@torch.no_grad()
@explained
def solve(
    iteration: Iteration,
    data: Any,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
    callback: Callable[[Progress], bool | None] | None = None,
    state: Any = None,
    on_divergence: Literal["raise", "mark"] = "raise",
    chunk: int | None = None,
) -> Solution:
    """Iterate ``state <- h(state)`` until ``iteration.residual`` is at most ``tolerance``, sample by sample.

    A sample that has converged (or diverged) is frozen: its answer is kept and it is no longer looked at. Where that is
    possible it is taken out of the batch, so that the hard ones do not hold up the easy ones.

    Args:
        iteration: the algorithm.
        data: (batch, ...) tensor, or a NamedTuple of such; what the iteration's ``batched`` says where there is none.
        tolerance: residual (by default the relative change of the field of the state that changed most) at which a
            sample has converged; 0 never stops early.
        max_iterations: steps after which to give up; ``status`` tells which samples did not make it.
        callback: called after each step; a true return value stops the run (with ``chunk``: that of this piece).
        state: where to start instead of ``iteration.start``.
        on_divergence: ``raise`` an error, or ``mark`` the samples that diverge and give the others their answers.
        chunk: work on about so many samples at a time, at the memory of these and of the answers.

    Raises:
        ValueError: data with NaN or infinity, a state whose shape changes, a tensor that is neither per sample nor
            shared, by its name and before any step.
        TypeError: no tensor, a bare tensor of integers, another precision than that of the iteration's numbers.
        DivergenceError: the state became infinite or NaN; the message says when, which sample, how large it was, and
            what would be safe.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it must be at least 0")
    if max_iterations < 1:
        raise ValueError(f"max_iterations is {max_iterations}; it must be at least 1")
    if on_divergence not in ("raise", "mark"):
        raise ValueError(f"on_divergence is {on_divergence!r}; it is 'raise' or 'mark'")
    admit(iteration, data)
    check_finite(data)
    if chunk is not None and not iteration.batched:
        raise ValueError(f"chunk is {chunk}, and {class_name(iteration)} has no batch that could be divided")
    run = _Run(iteration, tolerance, max_iterations, callback, on_divergence)
    with parametrize.cached():  # constraints are worked out once, and their values known for what they are
        if not iteration.batched:
            return run.single(data, state)
        batch = Batch(data, iteration)
        if state is not None:
            batch.check(state, "state")
        if chunk is None or batch.size <= chunk:
            return run.all(data, state, batch)
        return run.pieces(data, state, batch, chunk)


class _Run:
    """One call of ``solve``."""

    def __init__(
        self,
        iteration: Iteration,
        tolerance: float,
        max_iterations: int,
        callback: Callable[[Progress], bool | None] | None,
        on_divergence: str,
    ) -> None:
        self.iteration, self.tolerance, self.max_iterations = iteration, tolerance, max_iterations
        self.callback, self.mark = callback, on_divergence == "mark"
        # Whose residual is NaN as soon as any field of the state is; others are looked at besides.
        self.telling = type(iteration).residual is Iteration.residual
        self.same = False  # whether the estimate is the state itself

    def pieces(self, data: Any, state: Any, batch: Batch, most: int) -> Solution:
        whole, done = Joined(batch.size), 0
        states = [None] * (-(-batch.size // max(most, 2))) if state is None else batch.pieces(state, most)
        for part, begin in zip(batch.pieces(data, most), states, strict=True):
            own = Batch(part, self.iteration)
            found = self.all(part, begin, own, done)
            # Where the estimate is the state one copy will do.
            whole.add(found._replace(estimate=None) if self.same else found, own)
            done += own.size
        found = whole.whole
        return found._replace(estimate=_without_lost(found.state, found.status)) if self.same else found

    def single(self, data: Any, state: Any) -> Solution:
        """Without a batch: one state, every number without dimension."""
        iteration = self.iteration
        problem = iteration.prepare(data)
        state = iteration.start(problem) if state is None else state
        residual, status, step = torch.tensor(torch.inf), Status.LIMIT, 0
        for step in range(1, self.max_iterations + 1):
            new = iteration(state, problem)
            _check_shapes(new, state)
            residual = torch.as_tensor(iteration.residual(new, state, problem))
            if residual.ndim:
                raise ValueError(
                    f"{class_name(iteration)} has no batch, so that its residual is one number; got shape "
                    f"{tuple(residual.shape)}"
                )
            if bool(residual.isnan()) or not _all_finite(new):
                if not self.mark:
                    raise DivergenceError(self._message(step, state, None))
                status = Status.DIVERGED
                break
            state = new
            if self.callback is not None:
                if self.callback(Progress(step, state, torch.arange(1), residual.reshape(1))):
                    status = Status.STOPPED
                parametrize._cache.clear()  # it may have moved a parameter
            if self.tolerance > 0 and bool(residual <= self.tolerance):
                status = Status.CONVERGED
            if status is not Status.LIMIT:
                break
        estimate = iteration.estimate(state, problem)
        if status is Status.DIVERGED and tree.is_number(estimate):
            estimate = torch.full_like(estimate, torch.nan)
        return Solution(estimate, state, torch.tensor(step), torch.tensor(int(status)), residual)

    def all(self, data: Any, state: Any, batch: Batch, offset: int = 0) -> Solution:
        """All samples of a batch at once; ``offset`` numbers the first one for the callback and for messages."""
        iteration, size = self.iteration, batch.size
        whole = problem = iteration.prepare(data)
        batch.check(problem, "problem")
        state = iteration.start(problem) if state is None else state
        batch.check(state, "state")
        tensors = tree.tensors(state)
        own = [batch.per_sample(t) for t in tensors]  # the others are shared by all samples
        if not any(own):
            raise ValueError(f"the state of {class_name(iteration)} holds no tensor of {size} samples, (batch, ...)")
        first = next((t for t in tensors if tree.is_number(t)), torch.zeros(()))
        samples = torch.arange(size, device=first.device)
        iterations = torch.zeros_like(samples)
        residuals = torch.full((size,), torch.inf, dtype=first.real.dtype, device=first.device)
        status = torch.full_like(samples, Status.LIMIT)
        if size == 0:
            return Solution(iteration.estimate(state, problem), state, iterations, status, residuals)
        running = torch.ones_like(samples, dtype=torch.bool)  # of those in `samples`
        result, stopped = tree.apply(torch.empty_like, state), False

        for step in range(1, self.max_iterations + 1):
            new = iteration(state, problem)
            _check_shapes(new, state)
            residual = iteration.residual(new, state, problem)
            if residual.shape != samples.shape:
                raise ValueError(
                    f"a residual is one number per sample, ({len(samples)},); that of {class_name(iteration)} has "
                    f"shape {tuple(residual.shape)}"
                )
            lost = running & residual.isnan()
            if not self.telling:
                lost = lost | (running & ~_finite(new, own, len(samples)))
            if bool(lost.any()):
                if not self.mark:
                    number = int(samples[lost][0]) + offset
                    raise DivergenceError(self._message(step, batch.select(state, lost, len(samples)), number))
                result = _store(result, state, samples, lost, own)  # as it last was
                status[samples[lost]] = Status.DIVERGED
            iterations[samples[running]] = step
            residuals[samples[running]] = residual[running].to(residuals)
            running = running & ~lost
            state = new
            if self.callback is not None:
                stopped = bool(self.callback(Progress(step, state, samples + offset, residual)))
                parametrize._cache.clear()  # it may have moved a parameter
            done = running & (residual <= self.tolerance) if self.tolerance > 0 else torch.zeros_like(running)
            if bool(done.any()):
                result = _store(result, state, samples, done, own)
                status[samples[done]] = Status.CONVERGED
                running = running & ~done
            left = int(running.sum())
            if stopped or left == 0:
                break
            if batch.compact and len(samples) - left >= max(1, _COMPACT * len(samples)):
                problem = batch.select(problem, running, len(samples))
                state = batch.select(state, running, len(samples))
                samples = samples[running]
                running = torch.ones_like(samples, dtype=torch.bool)

        result = _store(result, state, samples, running, own)
        if stopped:
            status[samples[running]] = Status.STOPPED
        estimate = iteration.estimate(result, whole)
        self.same = estimate is result
        return Solution(_without_lost(estimate, status), result, iterations, status, residuals)

    def _message(self, step: int, state: Any, sample: int | None) -> str:
        sizes = [
            float(t.detach().abs().double().amax()) for t in tree.tensors(state) if tree.is_number(t) and t.numel()
        ]
        where = "" if sample is None else f" of sample {sample}"
        return (
            f"{class_name(self.iteration)} diverged: the state{where} is no longer finite after iteration {step}, its "
            f"largest entry before that was {max(sizes, default=0.0):.3g}; {self.iteration.advice()}"
        )


def _without_lost(estimate: Tensor, status: Tensor) -> Tensor:
    """NaN in the place of samples that diverged."""
    failed = status == Status.DIVERGED
    if not (tree.is_number(estimate) and bool(failed.any())):
        return estimate
    return estimate.masked_fill(failed.view(-1, *[1] * (estimate.ndim - 1)), torch.nan)


def _check_shapes(new: Any, old: Any) -> None:
    for (name, after), before in zip(tree.named_tensors(new, "state"), tree.tensors(old), strict=True):
        if after.shape != before.shape:
            raise ValueError(
                f"solve needs a state whose shape stays; {name} went from {tuple(before.shape)} to "
                f"{tuple(after.shape)} (unroll it with Backprop instead)"
            )


def _finite(state: Any, own: list[bool], size: int) -> Tensor:
    """(size,): whether all fields of a sample are finite."""
    fields = [t for t, mine in zip(tree.tensors(state), own, strict=True) if mine and tree.is_number(t)]
    parts = [torch.isfinite(tree.rows(t)).all(1) for t in fields]
    return torch.stack(parts).all(0) if parts else torch.ones(size, dtype=torch.bool)


def _all_finite(state: Any) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tree.tensors(state) if tree.is_number(t))


def _store(result: Any, state: Any, samples: Tensor, mask: Tensor, own: list[bool]) -> Any:
    """Write the masked samples of ``state`` into ``result``; plain numbers and what samples share are those of
    ``state``.
    """
    slots = iter(zip(tree.tensors(result), own, strict=True))

    def write(tensor: Tensor) -> Tensor:
        slot, mine = next(slots)
        if not mine:
            return tensor
        slot[samples[mask]] = tensor[mask]
        return slot

    return tree.apply(write, state)
