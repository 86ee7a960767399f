"""Classical methods in a comparison: weights chosen on validation data, curves and matching iterations on the test
set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import Iteration
from unrolling.evaluation.measure import Contender
from unrolling.evaluation.records import Curve
from unrolling.tasks.base import Metric, Samples, Task, pieces_of
from unrolling.tasks.baselines import Iterative

# A run has settled when this much of it has moved the metric by at most so many dB, or this part of a metric that is
# no ratio.
SETTLED_PART, SETTLED_DB, SETTLED_LEAST = 1 / 3, 0.05, 200


class Trace(NamedTuple):
    """The metric along a run."""

    steps: list[int]
    values: list[float]
    estimates: list[Tensor]  # at the end, one per batch
    settled: bool

    def first(self, condition: Callable[[float], bool]) -> int | None:
        """The first step whose metric meets a condition."""
        return next((step for step, value in zip(self.steps, self.values, strict=True) if condition(value)), None)


@torch.no_grad()
def trace(
    iteration: Iteration,
    task: Task,
    batches: Sequence[Samples],
    iterations: int,
    stop: Callable[[float], bool] | None = None,
) -> Trace:
    """The metric after each iteration: all of the first eighty, then every fortieth part; until it has settled.

    Args:
        iteration: run from its start on all batches at once.
        task: metric.
        batches: data and targets.
        iterations: how many at most.
        stop: ends the run when true of the metric.
    """
    problems = [iteration.prepare(batch.data) for batch in batches]
    states = [iteration.start(problem) for problem in problems]
    steps: list[int] = []
    values: list[float] = []
    estimates: list[Tensor] = []
    due = 1
    settled = False
    for step in range(1, iterations + 1):
        before, states = states, [iteration(s, p) for s, p in zip(states, problems, strict=True)]
        if step < due and step < iterations:
            continue
        due = step + max(1, step // 40)
        estimates = [iteration.estimate(state, problem) for state, problem in zip(states, problems, strict=True)]
        steps.append(step)
        values.append(task.metric.value(pieces_of(task, batches, estimates)))
        # An infinite residual says that the map itself still changes: a pause then is no convergence.
        settled = _settled(task.metric, steps, values) and not any(
            bool(iteration.residual(new, old, problem).isposinf().any())
            for new, old, problem in zip(states, before, problems, strict=True)
        )
        if settled or (stop is not None and stop(values[-1])):
            break
    return Trace(steps, values, estimates, settled)


def _settled(metric: Metric, steps: list[int], values: list[float]) -> bool:
    recent = zip(steps, values, strict=True)
    since = [metric.level(value) for step, value in recent if step >= steps[-1] * (1 - SETTLED_PART)]
    if steps[-1] < SETTLED_LEAST or not all(map(isfinite, since)):
        return False
    scale = 1.0 if metric.unit == "dB" or metric.logarithmic else max(map(abs, since))
    return max(since) - min(since) <= SETTLED_DB * scale


TIMED = 50  # iterations of a long run that are timed; the rest take as long


def _contender(
    name: str, role: str, iteration: Iteration, count: int, note: str, estimates: list[Tensor] | None = None
) -> Contender:
    scale = count / TIMED if count > TIMED else 1.0
    return Contender(
        name,
        role,
        steps_of(iteration, count),
        count,
        0,
        note,
        estimates=estimates,
        prepare=_begun(iteration) if count > TIMED else None,
        part=_advanced(iteration, TIMED) if count > TIMED else None,
        scale=scale,
    )


def _begun(iteration: Iteration) -> Callable[[Any], Any]:
    """What a run does once, whatever its length."""

    def run(data: Any) -> Any:
        problem = iteration.prepare(data)
        state = iteration.start(problem)
        iteration.estimate(state, problem)
        return state, problem

    return run


def _advanced(iteration: Iteration, count: int) -> Callable[[Any], Any]:
    """So many steps from there."""

    def run(begun: Any) -> Any:
        state, problem = begun
        for _ in range(count):
            state = iteration(state, problem)
        return state

    return run


def steps_of(iteration: Iteration, count: int) -> Callable[[Any], Tensor]:
    """A function that runs a fixed number of steps."""

    def run(data: Any) -> Tensor:
        problem = iteration.prepare(data)
        state = iteration.start(problem)
        for _ in range(count):
            state = iteration(state, problem)
        return iteration.estimate(state, problem)

    return run


def run_classical(
    method: Iterative, task: Task, goal: float, validation_goal: float, depth: int | None
) -> tuple[list[Contender], list[Curve]]:
    """Rows and curves of a method: run until it matches the network, or at convergence when it never does; the parent
    also after ``depth`` iterations, and at convergence in any case.

    Args:
        method: with the weights to choose from; one weight is chosen for the best result at convergence, one to match
            the network soonest.
        task: validation and test data.
        goal: the network's metric on the test set.
        validation_goal: the network's metric on the validation set.
        depth: the network's number of layers for its parent, None for other methods.
    """
    metric = task.metric
    role = "classical" if depth is None else "parent"
    best_final, best_match = _choose(method, task, validation_goal)
    tuned = " chosen on validation data" if len(method.settings) > 1 else ""
    iteration = method.make(best_final)
    run = trace(iteration, task, task.test, method.iterations)
    rows: list[Contender] = []
    curves = [Curve(method.name, role, run.steps, run.values, None)]
    if depth is not None:
        rows.append(
            _contender(
                f"{method.name}, as many iterations", role, iteration, depth, f"{_label(method, best_final)}{tuned}"
            )
        )
    reached, matching = run.first(lambda value: metric.at_least_as_good(value, goal)), iteration
    note = f"{_label(method, best_final)}{tuned}"
    if best_match != best_final:
        other = method.make(best_match)
        faster = trace(other, task, task.test, method.iterations, lambda value: metric.at_least_as_good(value, goal))
        sooner = faster.first(lambda value: metric.at_least_as_good(value, goal))
        if sooner is not None and (reached is None or sooner < reached):
            reached, matching, note = (
                sooner,
                other,
                (f"{_label(method, best_match)}, which gets there soonest on validation data"),
            )
            curves.append(
                Curve(f"{method.name}, {_label(method, best_match)}", role, faster.steps, faster.values, None)
            )
    if reached is not None:
        rows.append(_contender(f"{method.name}, until it matches the network", role, matching, reached, note))
    if reached is None or depth is not None:
        end = "at convergence" if run.settled else f"{run.steps[-1]} iterations"
        never = "; never reaches the network's error" if reached is None else ""
        note = f"{_label(method, best_final)}{tuned}{never}".removeprefix("; ")
        rows.append(_contender(f"{method.name}, {end}", role, iteration, run.steps[-1], note, run.estimates))
    return rows, curves


def _label(method: Iterative, weight: Any) -> str:
    """``weight 0.05``, or with the further settings of a method; nothing where it has none."""
    if not method.setting or weight is None:
        return ""
    if isinstance(weight, tuple):
        return f"{method.setting} {weight[0]:.3g}, settings {', '.join(f'{value:.3g}' for value in weight[1:])}"
    return f"{method.setting} {weight:.3g}"


def _choose(method: Iterative, task: Task, goal: float) -> tuple[Any, Any]:
    """The weight with the best end on validation data, and the one that reaches the goal there in the fewest
    iterations.
    """
    if len(method.settings) == 1:
        return method.settings[0], method.settings[0]
    runs = {
        weight: trace(method.make(weight), task, task.validation, method.tuning or method.iterations)
        for weight in method.settings
    }
    best_final = min(runs, key=lambda weight: task.metric.rank(runs[weight].values[-1]))
    reached = {
        weight: run.first(lambda value: task.metric.at_least_as_good(value, goal)) for weight, run in runs.items()
    }
    soonest = [weight for weight in runs if reached[weight] is not None]
    return best_final, min(soonest, key=lambda weight: reached[weight] or 0) if soonest else best_final
