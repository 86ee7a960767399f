"""Classical methods in a comparison: weights chosen on validation data, curves and matching iterations on the test
set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import Iteration
from unrolling.evaluation.budget import Allowance, Part, foreseen, left_out, part_of
from unrolling.evaluation.measure import Contender
from unrolling.evaluation.records import Curve
from unrolling.tasks.base import Metric, Samples, Task, count, pieces_of
from unrolling.tasks.baselines import Iterative

# A run has settled when this much of it has moved the metric by at most so many dB, or this part of a metric that is
# no ratio.
SETTLED_PART, SETTLED_DB, SETTLED_LEAST = 1 / 3, 0.05, 200
# The metric is taken after each of the first EACH iterations, then whenever a RARELY-th part has been added to them.
EACH, RARELY = 80, 40


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
        due = step + max(1, step // RARELY)
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


LEAST_ITERATIONS = 20  # of a run, whatever it may cost
TIMED = 50  # iterations of a long run that are timed; the rest take as long


def stepped(
    name: str,
    role: str,
    iteration: Iteration,
    steps: int,
    note: str,
    part: Part,
    estimates: list[Tensor] | None = None,
    timed: int = TIMED,
) -> Contender:
    """So many steps as a method of a comparison.

    Args:
        name, role, note: of its row.
        iteration: the algorithm.
        steps: of a run.
        part: of the test set, what it is scored on.
        estimates: there, where they are known.
        timed: steps of a longer run that are timed; the rest take as long.
    """
    scale = steps / timed if steps > timed else 1.0
    found = Contender(
        name,
        role,
        steps_of(iteration, steps),
        steps,
        0,
        note,
        estimates=estimates,
        prepare=_begun(iteration) if steps > timed else None,
        part=_advanced(iteration, timed) if steps > timed else None,
        scale=scale,
    )
    found.scored = part
    return found


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
    method: Iterative,
    task: Task,
    goal: float,
    validation_goal: float,
    depth: int | None,
    allowance: Allowance | None = None,
) -> tuple[list[Contender], list[Curve]]:
    """Rows and curves of a method: run until it matches the network, and at its end whether it does or not, which may
    be better; the parent also after ``depth`` iterations.

    Args:
        method: with the weights to choose from; one weight is chosen for the best result at convergence, one to match
            the network soonest.
        task: validation and test data.
        goal: the network's metric on the test set.
        validation_goal: the network's metric on the validation set.
        depth: the network's number of layers for its parent, None for other methods.
        allowance: what it may cost; parts of the validation and the test set, then fewer iterations, keep to it.
    """
    metric = task.metric
    role = "classical" if depth is None else "parent"
    best_final, best_match, tuned = _choose(method, task, validation_goal, allowance)
    iteration = method.make(best_final)
    part, iterations = part_of(task.test, 1), method.iterations
    if allowance is not None:
        part, iterations = allowance.plan(task.test, _run(iteration, task, task.test), iterations)
        iterations = min(method.iterations, max(iterations, 2 * (depth or 0), LEAST_ITERATIONS))
        goal = goal if part.all else allowance.goal(task, part)
    cut = f"; ended after {iterations} iterations, all that its share of the budget allows"
    run = trace(iteration, task, part.batches, iterations)
    rows: list[Contender] = []
    curves = [Curve(method.name, role, run.steps, run.values, None)]
    note = f"{_label(method, best_final)}{tuned}"
    if depth is not None:
        rows.append(stepped(f"{method.name}, as many iterations", role, iteration, depth, note, part_of(task.test, 1)))
    reached, matching = run.first(lambda value: metric.at_least_as_good(value, goal)), iteration
    matched = note
    if best_match != best_final:
        other = method.make(best_match)
        faster = trace(other, task, part.batches, iterations, lambda value: metric.at_least_as_good(value, goal))
        sooner = faster.first(lambda value: metric.at_least_as_good(value, goal))
        if sooner is not None and (reached is None or sooner < reached):
            reached, matching, matched = (
                sooner,
                other,
                (f"{_label(method, best_match)}, which gets there soonest on validation data"),
            )
            curves.append(
                Curve(f"{method.name}, {_label(method, best_match)}", role, faster.steps, faster.values, None)
            )
    if reached is not None:
        rows.append(stepped(f"{method.name}, until it matches the network", role, matching, reached, matched, part))
    last = run.steps[-1]
    if reached != last or matching is not iteration:
        end = "at convergence" if run.settled else f"{last} iterations"
        never = "; never reaches the network's error" if reached is None else ""
        short = cut if last == iterations < method.iterations and not run.settled else ""
        words = f"{note}{never}{short}".removeprefix("; ")
        rows.append(stepped(f"{method.name}, {end}", role, iteration, last, words, part, run.estimates))
    return rows, curves


def _run(iteration: Iteration, task: Task, batches: Sequence[Samples]) -> Callable[[int], float]:
    """Foreseen seconds of a ``trace`` of so many iterations on all batches: its steps, and its looks at the metric."""
    samples = batches[0]
    problem = iteration.prepare(samples.data)
    state = iteration.start(problem)
    times = sum(map(count, batches)) / count(samples)
    step = times * foreseen(lambda: iteration(state, problem))
    look = times * foreseen(lambda: task.pieces(iteration.estimate(state, problem), samples))
    return lambda iterations: step * iterations + look * _looks(iterations)


def _looks(iterations: int) -> float:
    """How often ``trace`` takes the metric: after each of the first eighty iterations, then ever more rarely."""
    return iterations if iterations <= EACH else EACH + RARELY * math.log(iterations / EACH)


def _label(method: Iterative, weight: Any) -> str:
    """``weight 0.05``, or with the further settings of a method; nothing where it has none."""
    if not method.setting or weight is None:
        return ""
    if isinstance(weight, tuple):
        return f"{method.setting} {weight[0]:.3g}, settings {', '.join(f'{value:.3g}' for value in weight[1:])}"
    return f"{method.setting} {weight:.3g}"


def _choose(method: Iterative, task: Task, goal: float, allowance: Allowance | None) -> tuple[Any, Any, str]:
    """The weight with the best end on validation data, the one that reaches the goal there in the fewest iterations,
    and what the table says of that.
    """
    if len(method.settings) == 1:
        return method.settings[0], method.settings[0], ""
    part, most = part_of(task.validation, 1), method.tuning or method.iterations
    iterations = most
    if allowance is not None:
        run = _run(method.make(method.settings[0]), task, task.validation)
        part, iterations = allowance.plan(task.validation, run, most, len(method.settings))
        iterations = min(most, max(iterations, LEAST_ITERATIONS))
        goal = goal if part.all else allowance.goal(task, part)
    runs = {weight: trace(method.make(weight), task, part.batches, iterations) for weight in method.settings}
    best_final = min(runs, key=lambda weight: task.metric.rank(runs[weight].values[-1]))
    reached = {
        weight: run.first(lambda value: task.metric.at_least_as_good(value, goal)) for weight, run in runs.items()
    }
    soonest = [weight for weight in runs if reached[weight] is not None]
    less = left_out(part, iterations, most)
    words = f" chosen on validation data{f' ({less})' if less else ''}"
    return best_final, min(soonest, key=lambda weight: reached[weight] or 0) if soonest else best_final, words
