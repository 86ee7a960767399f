"""What each layer of a network does, in the words of its algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled, scale, tree
from unrolling.evaluation.budget import foreseen, part_of
from unrolling.evaluation.records import LayerReport
from unrolling.tasks.base import Samples, Task, count, first, pieces_of

PROBES, LEAST_PROBES = 32, 4  # samples on which derivatives are looked at
POWER_STEPS = 12
MOST_PROBING = 4  # budgets; derivatives that take longer are left out,
MOST_RUNNING = 8  # and runs without a layer, or with more of them, that do so on the fewest samples
PROBED_RUNS = 4 * POWER_STEPS + 8  # of the network, that looking at derivatives is worth


def quality_of_layers(network: Unrolled, task: Task, batches: Sequence[Samples]) -> list[float]:
    """The metric of each layer's estimate."""
    estimates: list[list[Tensor]] = [[] for _ in network.layers]
    for batch in batches:
        for number, estimate in enumerate(network.estimates(batch.data)):
            estimates[number].append(estimate)
    return [task.metric.value(pieces_of(task, batches, found)) for found in estimates]


@torch.no_grad()
def examine_layers(
    network: Unrolled,
    task: Task,
    *,
    beyond: Sequence[int] = (2, 4, 8),
    quality: Sequence[float] | None = None,
    budget: float | None = None,
) -> LayerReport:
    """Look at every layer on the test set.

    Args:
        network: trained.
        task: its test set.
        beyond: multiples of the trained depth at which a network without untied parameters is run.
        quality: the metric of each layer's estimate on the test set, where it is known.
        budget: foreseen seconds of all that needs runs of its own, kept to by fewer samples, which the report counts;
            None for any.
    """
    probed, depth, further = True, len(network), () if network.untied else tuple(beyond)
    left = range(depth if depth > 1 else 0)  # the layers that are left out, each in turn
    part, probe = part_of(task.test, 1), first(task.test[0], PROBES)
    if budget is not None:
        once = foreseen(lambda: network(probe.data)) / count(probe)
        runs = max(len(left) - 1, 0) + sum(further)
        if runs:
            part = part_of(task.test, 0.5 * budget / max(once * runs * part.samples, 1e-12))
        if once * runs * part.samples > MOST_RUNNING * budget:
            left, further = range(0), ()
        wanted = math.ceil(0.5 * budget / max(PROBED_RUNS * once, 1e-12))
        probe = first(probe, max(LEAST_PROBES, min(PROBES, wanted)))
        probed = PROBED_RUNS * once * count(probe) <= MOST_PROBING * budget
    batches, partly = part.batches, not part.all and bool(left or further)

    def score(run: Callable[[Any], Tensor]) -> float:
        return task.metric.value(pieces_of(task, batches, [run(batch.data) for batch in batches]))

    objective, parent_objective, change, step = _along(network, probe.data)
    return LayerReport(
        quality_of_layers(network, task, task.test) if quality is None else list(quality),
        objective,
        parent_objective,
        change,
        step,
        _lipschitz(network, probe.data) if probed else [float("nan")] * depth,
        [score(lambda data, k=k: _without(network, data, k)) for k in left],
        [(factor * depth, score(lambda data, k=factor: _deeper(network, data, k * depth))) for factor in further],
        part.samples if partly else None,
        score(network) if partly else None,
    )


def _along(network: Unrolled, data: Any) -> tuple[list[float] | None, list[float] | None, list[float], list[float]]:
    """Objective of the states, of the parent's iterates, relative change, and length of the step over the parent's."""
    parent = network.parent
    value: Callable[..., Tensor] | None = getattr(parent, "objective", None)
    problem = parent.prepare(data)
    pairs = network.prepared(data)
    state = pairs[0][0].start(pairs[0][1])
    guide = parent.start(problem)
    own: list[float] = []
    others: list[float] = []
    change: list[float] = []
    step: list[float] = []
    before = pairs[0][0].estimate(state, pairs[0][1])
    for layer, prepared in pairs:
        classical = _distance(parent(state, problem), state, parent.batched)
        following = layer(state, prepared)
        moved = _distance(following, state, parent.batched)
        usable = ~(classical == 0)  # NaN stays
        step.append(float((moved[usable] / classical[usable]).median()) if bool(usable.any()) else float("nan"))
        estimate = layer.estimate(following, prepared)
        moved = scale.divide(scale.norm(tree.rows(estimate - before)), scale.norm(tree.rows(estimate)))
        change.append(float(moved.median()))
        guide = parent(guide, problem)
        if value is not None:
            own.append(float(value(following, problem).median()))
            others.append(float(value(guide, problem).median()))
        state, before = following, estimate
    return (own if value else None), (others if value else None), change, step


def _distance(new: Any, old: Any, batched: bool) -> Tensor:
    """Of each sample, over all tensors of the state that are its own; one where there is no batch."""
    before = {id(after): t for after, t in zip(tree.tensors(new), tree.tensors(old), strict=True)}
    pairs = [(t, before[id(t)]) for t in _own(new, batched) if t.shape == before[id(t)].shape]
    return _length([a - b for a, b in pairs], batched)


def _own(state: Any, batched: bool) -> list[Tensor]:
    """The numbers of a state that samples have for themselves; all of them where there is no batch."""
    numbers = [t for t in tree.tensors(state) if tree.is_number(t)]
    if not batched:
        return numbers
    batch = tree.batch_size(state, "state")
    return [t for t in numbers if t.ndim and t.shape[0] == batch]


def _length(tensors: Sequence[Tensor], batched: bool) -> Tensor:
    """The Euclidean norm of several tensors together, of each sample (batch,); (1,) where there is no batch."""
    return scale.norm(torch.cat([(tree.rows(t) if batched else t.reshape(1, -1)).abs() for t in tensors], dim=1))


def _lipschitz(network: Unrolled, data: Any) -> list[float]:
    """|J|_2 of each layer at its own state, median over samples, by power iteration on J^T J."""
    found = []
    pairs = network.prepared(data)
    state = pairs[0][0].start(pairs[0][1])
    for layer, problem in pairs:
        try:
            found.append(_jacobian_norm(layer, problem, state))
        except RuntimeError:  # an operator without a second derivative
            found.append(float("nan"))
        state = layer(state, problem)
    return found


def _jacobian_norm(layer: Any, problem: Any, state: Any) -> float:
    batched = layer.batched
    own = _own(state, batched)

    def step(*given: Tensor) -> tuple[Tensor, ...]:
        replaced = dict(zip(map(id, own), given, strict=True))
        moved = layer(tree.apply(lambda t: replaced.get(id(t), t), state), problem)
        return tuple(_own(moved, batched))

    generator = torch.Generator().manual_seed(0)
    points = [t.detach().clone().requires_grad_() for t in own]
    vector = [torch.randn(t.shape, generator=generator).to(t) for t in own]
    size = torch.ones(1)
    with torch.enable_grad():
        outputs = step(*points)
        # A product with J from two with J^T: torch's usual way to differentiate forwards through operators that only
        # know backwards.
        helpers = [torch.zeros_like(o, requires_grad=True) for o in outputs]
        backwards = torch.autograd.grad(outputs, points, helpers, create_graph=True, allow_unused=True)
        known = [b for b in backwards if b is not None and b.requires_grad]
        if not known:
            return 0.0
        index = [k for k, b in enumerate(backwards) if b is not None and b.requires_grad]
        for _ in range(POWER_STEPS):
            length = _length(vector, batched)
            vector = [
                scale.divide(v, length.view(-1, *[1] * (v.ndim - 1)) if batched else length.squeeze(0)) for v in vector
            ]
            forward = torch.autograd.grad(
                known, helpers, [vector[k] for k in index], retain_graph=True, allow_unused=True
            )
            image = [torch.zeros_like(h) if f is None else f for f, h in zip(forward, helpers, strict=True)]
            size = _length(image, batched)
            back = torch.autograd.grad(outputs, points, image, retain_graph=True, allow_unused=True)
            vector = [torch.zeros_like(v) if b is None else b for b, v in zip(back, vector, strict=True)]
    return float(size.median())


def _without(network: Unrolled, data: Any, number: int) -> Tensor:
    """The estimate when a layer is left out."""
    pairs = network.prepared(data)
    state = pairs[0][0].start(pairs[0][1])
    for k, (layer, problem) in enumerate(pairs):
        if k != number:
            state = layer(state, problem)
    last, problem = pairs[-1] if number < len(pairs) - 1 else pairs[-2]
    return last.estimate(state, problem)


def _deeper(network: Unrolled, data: Any, depth: int) -> Tensor:
    return network(data, layers=range(depth))
