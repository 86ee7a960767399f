"""Run an iteration until it converges: the classical algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import tree
from unrolling.core.iteration import Iteration, check_finite


class Solution(NamedTuple):
    """What ``solve`` found, one entry per sample."""

    estimate: Tensor  # (batch, ...): the answer
    state: Any  # the final state; its plain numbers are those of the last step taken
    iterations: Tensor  # (batch,) int64: steps taken
    converged: Tensor  # (batch,) bool
    residual: Tensor  # (batch,): relative change of the state in the last step


class Progress(NamedTuple):
    """What a callback sees after each step."""

    iteration: int  # from 1
    state: Any  # of the samples still running
    samples: Tensor  # (running,) int64: which ones they are
    residual: Tensor  # (running,)


class DivergenceError(ArithmeticError):
    """An iteration left the finite numbers."""


# Finished samples leave the batch once they are this fraction of it: one copy then pays for itself within a few steps.
_COMPACT = 0.125


@torch.no_grad()
def solve(
    iteration: Iteration,
    data: Any,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
    callback: Callable[[Progress], bool | None] | None = None,
    state: Any = None,
) -> Solution:
    """Iterate ``state <- h(state)`` until ``|h(state) - state| <= tolerance |h(state)|``, sample by sample.

    Samples that have converged are taken out of the batch, so that the hard ones do not hold up the easy ones.

    Args:
        iteration: the algorithm.
        data: (batch, ...) tensor, or a NamedTuple of such.
        tolerance: relative change of the state (all its tensors together, Euclidean norm) below which a sample has
            converged; 0 never stops early.
        max_iterations: steps after which to give up; ``converged`` tells which samples did not make it.
        callback: called after each step; a true return value stops everything.
        state: where to start instead of ``iteration.start``.

    Raises:
        ValueError: data with NaN or infinity, a state whose shape changes, a tensor that is neither batch first nor
            shared.
        TypeError: integer data.
        DivergenceError: the state became infinite or NaN; the message says when, how large it was, and what would be
            safe.
    """
    if tolerance < 0:
        raise ValueError(f"tolerance is {tolerance}; it must be at least 0")
    if max_iterations < 1:
        raise ValueError(f"max_iterations is {max_iterations}; it must be at least 1")
    iteration.check(data)
    check_finite(data)
    problem = iteration.prepare(data)
    if state is None:
        state = iteration.start(problem)
    batch = tree.batch_size(state, "state")
    first = tree.tensors(state)[0]
    samples = torch.arange(batch, device=first.device)
    iterations = torch.zeros(batch, dtype=torch.int64, device=first.device)
    residuals = torch.full((batch,), torch.inf, dtype=first.real.dtype, device=first.device)
    converged = torch.zeros_like(samples, dtype=torch.bool)
    running = torch.ones_like(samples, dtype=torch.bool)  # of those in `samples`
    # the others are shared by all samples
    per_sample = [t.ndim > 0 and t.shape[0] == batch for t in tree.tensors(state)]
    result = tree.apply(torch.empty_like, state)
    size = torch.zeros(())

    for step in range(1, max_iterations + 1):
        new = iteration(state, problem)
        residual, new_size = _relative_change(new, state, per_sample)
        if not torch.isfinite(residual).all():
            worst = float(size.max()) if size.numel() else 0.0
            name = type(iteration).__name__.removeprefix("Parametrized")
            raise DivergenceError(
                f"{name} diverged: the state is no longer finite after iteration {step}, its largest norm before that "
                f"was {worst:.3g}; {iteration.advice()}"
            )
        state, size = new, new_size
        iterations[samples[running]] = step
        residuals[samples[running]] = residual[running]
        may_stop = tolerance > 0 and iteration.stationary(state)
        done = running & (residual <= tolerance) if may_stop else torch.zeros_like(running)
        stop = callback is not None and callback(Progress(step, state, samples, residual))
        if done.any():
            result = _store(result, state, samples, done, per_sample)
            converged[samples[done]] = True
            running = running & ~done
        left = int(running.sum())
        if stop or left == 0:
            break
        if len(samples) - left >= max(1, _COMPACT * len(samples)):
            problem = tree.select(problem, running, len(samples), "problem")
            state = tree.select(state, running, len(samples), "state")
            size = size[running]
            samples = samples[running]
            running = torch.ones_like(samples, dtype=torch.bool)

    result = _store(result, state, samples, running, per_sample)
    return Solution(iteration.estimate(result), result, iterations, converged, residuals)


def _relative_change(new: Any, old: Any, per_sample: list[bool]) -> tuple[Tensor, Tensor]:
    """Per sample: |new - old| / |new| over all tensors of the state that samples do not share, and |new|."""
    change, size = [], []
    for (name, after), before, own in zip(tree.named_tensors(new, "state"), tree.tensors(old), per_sample, strict=True):
        if after.shape != before.shape:
            raise ValueError(
                f"solve needs a state whose shape stays; {name} went from {tuple(before.shape)} to "
                f"{tuple(after.shape)} (unroll it with Backprop instead)"
            )
        if not own or not (after.is_floating_point() or after.is_complex()):
            continue
        change.append(torch.linalg.vector_norm(tree.rows(after - before), dim=1))
        size.append(torch.linalg.vector_norm(tree.rows(after), dim=1))
    change, size = (x[0] if len(x) == 1 else torch.linalg.vector_norm(torch.stack(x), dim=0) for x in (change, size))
    return change / size.clamp_min(torch.finfo(size.dtype).tiny), size


def _store(result: Any, state: Any, samples: Tensor, mask: Tensor, per_sample: list[bool]) -> Any:
    """Write the masked samples of ``state`` into ``result``; plain numbers and shared tensors are those of
    ``state``.
    """
    slots = iter(zip(tree.tensors(result), per_sample, strict=True))

    def write(tensor: Tensor) -> Tensor:
        slot, own = next(slots)
        if not own:
            return tensor
        slot[samples[mask]] = tensor[mask]
        return slot

    return tree.apply(write, state)
