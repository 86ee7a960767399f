"""Conformance checks of what a run is told and tells: residuals, objectives, fixed points, streams, empty batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolling.core import Iteration, solve, tree, unroll
from unrolling.core.batch import Batch
from unrolling.core.gradients import matching_state
from unrolling.testing._common import Watch, double, first, part, size
from unrolling.testing.compare import close, rounding, same_bits
from unrolling.testing.parameters import groups


def check_residual(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """A residual is one number per sample, at least 0 (infinite while h itself still changes), 0 where nothing moved,
    NaN where the state is, of no scale, and the same whatever other samples there are.
    """
    problem, old, new = _two_states(iteration, data, depth)
    if not _same_shapes(old, new):
        return  # solve refuses such an iteration
    residual = iteration.residual(new, old, problem)
    _one_number_each(residual, iteration, data, "residual")
    assert not bool(residual.isnan().any()), f"the residual of finite states is {residual.tolist()}"
    assert bool((residual >= 0).all()), f"a residual is at least 0; got {residual.tolist()}"
    still = iteration.residual(new, new, problem)
    assert bool(((still == 0) | still.isinf()).all()), (
        f"where nothing moved the residual is 0, or infinite while h still changes; got {still.tolist()}"
    )
    lost = iteration.residual(_poisoned(iteration, data, new), old, problem)
    assert not bool((lost.reshape(-1)[0] < torch.inf).any()), (
        f"where the state is NaN the residual is NaN (or infinite, while h still changes); got {lost.tolist()}: a "
        "maximum or a comparison that skips NaN?"
    )
    same_bits(lost.reshape(-1)[1:], residual.reshape(-1)[1:], "the residual of samples beside one that is NaN")
    for factor in (2.0**-20, 2.0**20):
        after, before = (
            tree.apply(lambda t, f=factor: t * f if tree.is_number(t) else t, state) for state in (new, old)
        )
        _near(
            iteration.residual(after, before, problem),
            residual,
            f"the residual of states {factor:.3g} times as large",
            tolerance=rounding(residual),
        )
    if iteration.batched:
        for sample in range(min(size(iteration, data), 3)):
            alone = part(iteration, data, sample)
            single, before, after = _two_states(iteration, alone, depth)
            one = iteration.residual(after, before, single)
            if bool((one - residual[sample]).abs().max() <= rounding(residual, 100)):
                continue  # a relative change: what rounding makes of states that no longer move
            _near(
                one,
                residual[sample : sample + 1],
                f"the residual of sample {sample} alone",
                tolerance=rounding(residual, 1e6),
            )


def check_objective(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """An objective, where there is one, is one finite number per sample, the same whatever other samples there are, and
    differentiable in the state. (Not that it falls: accelerated and constrained methods may pass through lower values.)
    """
    objective = getattr(iteration, "objective", None)
    if objective is None:
        return
    problem, _, state = _two_states(iteration, data, depth)
    watch = Watch(state, "state")
    value = objective(state, problem)
    watch.unchanged("objective")
    _one_number_each(value, iteration, data, "objective")
    assert bool(torch.isfinite(value).all()), f"the objective of a finite state is {value.tolist()}"
    same_bits(objective(state, problem), value, "the second objective of the same state")
    for sample in range(min(size(iteration, data), 3) if iteration.batched else 0):
        single, _, own = _two_states(iteration, part(iteration, data, sample), depth)
        close(
            objective(own, single),
            value[sample : sample + 1],
            f"the objective of sample {sample} alone",
            tolerance=rounding(value),
        )
    leaves = tree.apply(lambda t: t.detach().clone().requires_grad_(tree.is_number(t)), state)
    inputs = [t for t in tree.tensors(leaves) if t.requires_grad]
    slope = objective(leaves, problem).sum()
    assert slope.requires_grad, "the objective cannot be differentiated in the state; is it detached?"
    for gradient in torch.autograd.grad(slope, inputs, allow_unused=True):
        assert gradient is None or bool(torch.isfinite(gradient).all()), (
            "a derivative of the objective in the state is NaN or infinite"
        )


def check_fixed_point(iteration: Iteration, data: Any, *, tolerance: float = 1e-3, depth: int = 4) -> None:
    """The iteration that ``fixed_point`` gives stands still where this one does; in float64, samples that converge."""
    plain = iteration.fixed_point()
    assert isinstance(plain, Iteration), f"fixed_point gives an Iteration; got {type(plain).__name__}"
    if plain is iteration:
        return
    data = tree.apply(double, data)
    own = unroll(iteration, 1)._apply(double).layers[0]
    assert isinstance(own, Iteration)
    solution = solve(own, data, tolerance=1e-6 * tolerance, max_iterations=3000)
    problem = own.prepare(data)
    plain, point = matching_state(own, problem, solution.state)
    moved = plain(point, problem)
    for (name, after), before in zip(tree.named_tensors(moved, "state"), tree.tensors(point), strict=True):
        if not tree.is_number(after) or (own.batched and after.shape[:1] != solution.residual.shape):
            continue
        change = tree.relative_change(after, before) if own.batched else tree.relative_change(after[None], before[None])
        bound = 1000 * solution.residual.clamp_min(1e-12)
        assert bool((change <= bound.reshape(-1)).all()), (
            f"{name} is at rest (residual {float(solution.residual.max()):.2g}) and moves by {float(change.max()):.2g} "
            "in a step of what fixed_point gives: they do not share their fixed point"
        )


def check_stream(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """A run in pieces, each beginning with the state that the one before gave back, is one run to the bit, by layers
    and by ``solve``, and writes into no state that it is given.
    """
    for tied, untied in groups(iteration)[:3]:
        net = unroll(iteration, depth, tied=tied, untied=untied)
        how = f"tied={list(tied)}, untied={list(untied)}"
        wanted, last = net(data, return_state=True)
        for cut in range(1, depth):
            _, between = net(data, layers=slice(0, cut), return_state=True)
            watch = Watch(between, "the state between two pieces")
            estimate, state = net(data, between, layers=slice(cut, depth), return_state=True)
            watch.unchanged("the second piece")
            same_bits(estimate, wanted, f"the estimate of a run in pieces of {cut} and {depth - cut} layers ({how})")
            same_bits(state, last, f"the state of a run in pieces of {cut} and {depth - cut} layers ({how})")
    _, old, new = _two_states(iteration, data, depth)
    if depth > 1 and _same_shapes(old, new):
        whole = solve(iteration, data, tolerance=0, max_iterations=depth)
        begun = solve(iteration, data, tolerance=0, max_iterations=1)
        ended = solve(iteration, data, tolerance=0, max_iterations=depth - 1, state=begun.state)
        same_bits(ended.state, whole.state, "the state of solve in two pieces")


def check_empty_batch(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """No samples give no answers, of the right shape and dtype, through network and ``solve``, with gradients of 0."""
    if not iteration.batched:
        return
    nothing, one = part(iteration, data), first(iteration, data, 1)
    net = unroll(iteration, depth, tied=groups(iteration)[-1][0], untied=groups(iteration)[-1][1])
    wanted, like = net(one, return_state=True)
    for chunk in (None, 2):
        estimate, state = net(nothing, return_state=True, chunk=chunk)
        _empty(estimate, wanted, "the estimate of an empty batch")
        for (name, got), reference in zip(tree.named_tensors(state, "state"), tree.tensors(like), strict=True):
            if reference.ndim and got.shape != reference.shape:
                _empty(got, reference, f"{name} of an empty batch")
    if estimate.requires_grad:
        estimate.abs().sum().backward()
        bad = [name for name, p in net.named_learned() if p.grad is not None and bool(p.grad.any())]
        assert not bad, f"an empty batch gives {', '.join(bad)} a gradient that is not 0"
    _, old, new = _two_states(iteration, one, 1)
    if _same_shapes(old, new):
        solution = solve(iteration, nothing, max_iterations=depth)
        _empty(solution.estimate, wanted, "the solution of an empty batch")
        for name in ("iterations", "status", "residual"):
            shape = tuple(getattr(solution, name).shape)
            assert shape == (0,), f"solve gives {name} of shape {shape} for an empty batch; expected (0,)"


def _empty(got: Tensor, like: Tensor, what: str) -> None:
    assert got.shape == (0, *like.shape[1:]), f"{what} has shape {tuple(got.shape)}; expected {(0, *like.shape[1:])}"
    assert got.dtype == like.dtype, f"{what} has dtype {got.dtype}; expected {like.dtype}"


@torch.no_grad()
def _two_states(iteration: Iteration, data: Any, depth: int) -> tuple[Any, Any, Any]:
    """The problem, and the last two states of a few steps."""
    problem = iteration.prepare(data)
    old = new = iteration.start(problem)
    for _ in range(depth):
        old, new = new, iteration(new, problem)
    return problem, old, new


def _same_shapes(old: Any, new: Any) -> bool:
    return [t.shape for t in tree.tensors(old)] == [t.shape for t in tree.tensors(new)]


def _poisoned(iteration: Iteration, data: Any, state: Any) -> Any:
    """The state with NaN in all numbers of its first sample, or in all where there is no batch."""
    batch = Batch(data, iteration) if iteration.batched else None

    def poison(tensor: Tensor) -> Tensor:
        if not tree.is_number(tensor) or (batch is not None and not batch.per_sample(tensor)):
            return tensor
        tensor = tensor.clone()
        if batch is None:
            return tensor.fill_(torch.nan)
        tensor[0] = torch.nan
        return tensor

    return tree.apply(poison, state)


def _near(got: Tensor, wanted: Tensor, what: str, *, tolerance: float) -> None:
    """``close`` for numbers of which some are infinite."""
    same_bits(got.isinf(), wanted.isinf(), f"what is infinite of {what}")
    close(got.masked_fill(got.isinf(), 0), wanted.masked_fill(wanted.isinf(), 0), what, tolerance=tolerance)


def _one_number_each(value: Tensor, iteration: Iteration, data: Any, what: str) -> None:
    wanted = (size(iteration, data),) if iteration.batched else ()
    assert tuple(value.shape) == wanted, (
        f"the {what} has shape {tuple(value.shape)}; it is one real number per sample, {wanted}"
    )
    assert value.is_floating_point(), f"the {what} has dtype {value.dtype}; it is one real number per sample"
