"""A network beside its parent, classical baselines, other libraries and a generic network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.core import Iteration, Unrolled
from unrolling.evaluation.baselines import linear_mmse, scikit_learn, train_mlp
from unrolling.evaluation.comparison import Comparison, Curve, Parameter, Picture, Row
from unrolling.evaluation.measure import Contender, environment, evaluate, first, interval, time_all
from unrolling.systems.base import Classical, Recipe, System
from unrolling.tasks.base import Samples, Task

Say = Callable[[str], None]


@torch.inference_mode()
def trace(
    iteration: Iteration, task: Task, batches: Sequence[Samples], iterations: int, stop: Callable[[float], bool] | None = None
) -> tuple[list[int], list[float]]:
    """The metric after each iteration: all of the first hundred, then every hundredth part; until it has settled.

    Args:
        iteration: run from its start on all batches at once.
        task: metric.
        batches: data and targets.
        iterations: how many.
        stop: ends the run when true of the metric.
    """
    problems = [iteration.prepare(batch.data) for batch in batches]
    states = [iteration.start(problem) for problem in problems]
    steps: list[int] = []
    values: list[float] = []
    due = 1
    for step in range(1, iterations + 1):
        states = [iteration(state, problem) for state, problem in zip(states, problems, strict=True)]
        if step < due and step < iterations:
            continue
        due = step + max(1, step // 100)
        steps.append(step)
        values.append(_quality(task, batches, [iteration.estimate(state) for state in states]))
        if (stop is not None and stop(values[-1])) or _settled(steps, values):
            break
    return steps, values


def _settled(steps: list[int], values: list[float]) -> bool:
    """Whether the last third of the iterations, a hundred at least, has moved the metric by less than 0.005 dB."""
    since = [value for step, value in zip(steps, values, strict=True) if step >= steps[-1] * 2 / 3]
    return steps[-1] >= 300 and max(since) - min(since) < 0.005


def _quality(task: Task, batches: Sequence[Samples], estimates: Sequence[Tensor]) -> float:
    pieces, group = [], 0
    for batch, estimate in zip(batches, estimates, strict=True):
        pieces.append(task.pieces(estimate, batch.target, group))
        group += len(batch.target)
    return task.metric.value(torch.cat(pieces))


def steps_of(iteration: Iteration, count: int) -> Callable[[Any], Tensor]:
    """A function that runs a fixed number of steps."""

    def run(data: Any) -> Tensor:
        problem = iteration.prepare(data)
        state = iteration.start(problem)
        for _ in range(count):
            state = iteration(state, problem)
        return iteration.estimate(state)

    return run


def compare(
    system: System,
    task_name: str,
    recipe: Recipe,
    task: Task,
    network: Unrolled,
    *,
    seed: int = 0,
    note: str = "",
    quiet: bool = False,
    say: Say = lambda text: None,
) -> Comparison:
    """Measure a trained network against everything its recipe names, all times alternating in one run.

    Args:
        system: for names and citations.
        task_name: as in ``--task``.
        recipe: what to compare with.
        task: data; classical weights are chosen on ``task.validation``, scores come from ``task.test``.
        network: trained or loaded.
        seed: of the generic network and of the intervals.
        note: where the network's weights come from.
        quiet: no progress bar while the generic network trains.
        say: told what is being done.
    """
    metric = task.metric
    depth = len(network)
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    say("measuring the network layer by layer")
    layers = _layer_curve(system.title, network, task)
    goal, validation_goal = layers.quality[-1], metric.value(evaluate(network, task, task.validation))
    contenders = [
        Contender(f"{system.title}, {depth} layers", "network", network, depth, learned, note),
        Contender(
            f"{system.title} before training", "initial", system.network(recipe, task, depth), depth, learned, "the same network at its classical values"
        ),
    ]
    curves = [layers]
    for method in recipe.classical(task):
        say(f"{method.name}: choosing its weight on validation data, then running it on the test set")
        found, curve = _run_classical(method, task, goal, validation_goal, depth if method.role == "parent" else None)
        contenders += found
        curves.append(curve)
    say("linear estimate")
    contenders.append(linear_mmse(task, seed=seed))
    say("training the generic network")
    contenders.append(train_mlp(task, learned, recipe.generic_steps, recipe.generic_batch, seed=seed, quiet=quiet))
    if recipe.dictionary is not None:
        for peer in recipe.peers(task):
            contenders.append(
                scikit_learn(task, recipe.dictionary(task), peer.algorithm, recipe.decode(task), limit=peer.limit, label=peer.label, **peer.options)
            )
    say(f"measuring quality and time of {len(contenders)} methods")
    times = time_all(contenders, task.timing)
    rows = []
    for contender, seconds in zip(contenders, times, strict=True):
        quality = interval(metric, evaluate(contender.run, task, task.test, contender.limit), seed)
        limited = f"first {contender.limit} samples; " if contender.limit and contender.limit < sum(len(b.target) for b in task.test) else ""
        rows.append(Row(contender.name, contender.role, quality, contender.iterations, contender.parameters, seconds, limited + contender.note))
    _set_curve_seconds(curves, rows)
    comparison = Comparison(
        system.name,
        system.title,
        task_name,
        task.summary,
        metric,
        rows,
        environment(seed),
        headline=headline(system.title, task, rows, depth),
        curves=curves,
        parameters=_parameters(network),
    )
    if recipe.atoms is not None:
        comparison.atoms = [("classical", recipe.atoms(network.parent).numpy()), ("learned, last layer", recipe.atoms(network.layers[-1]).numpy())]  # pyright: ignore[reportArgumentType]
    if task.pictures:
        comparison.pictures = _pictures(task, contenders)
    else:
        comparison.codes = _codes(task, contenders)
    return comparison


@torch.inference_mode()
def _pictures(task: Task, contenders: Sequence[Contender], most: int = 2) -> list[Picture]:
    """The first test photographs as the network, the best classical method, the linear estimate and the generic network recover them."""
    classical = [c for c in contenders if c.role in ("parent", "classical")]
    scores = [task.metric.value(evaluate(c.run, task, task.test)) for c in classical]
    best = classical[scores.index(min(scores) if task.metric.better == "lower" else max(scores))]
    shown = [best, *(c for c in contenders if c.role == "generic"), *(c for c in contenders if c.role == "network")]
    names = list(getattr(task, "photographs", {}).get("test", [])) or [f"photograph {i + 1}" for i in range(len(task.test))]
    pictures = []
    for name, batch in list(zip(names, task.test, strict=False))[:most]:
        panels = [("original", batch.target[0].cpu().numpy())]
        for contender in shown:
            estimate = contender.run(batch.data)
            score = task.metric.value(task.pieces(estimate, batch.target))
            panels.append((f"{contender.name}: {score:.2f} {task.metric.unit}", estimate[0].clamp(0, 1).cpu().numpy()))
        pictures.append(Picture(name, panels))
    return pictures


@torch.inference_mode()
def _codes(task: Task, contenders: Sequence[Contender], most: int = 3) -> list[tuple[str, np.ndarray]]:
    """The first test samples: the target, the parent's and the network's estimate."""
    data, target = first(task.test[0], most)
    parent = next((c for c in contenders if c.role == "parent"), None)
    network = next(c for c in contenders if c.role == "network")
    shown = [(c.name, c.run(data)) for c in (parent, network) if c is not None]
    return [(f"sample {number + 1}: {name}", values[number].cpu().numpy()) for number in range(len(target)) for name, values in [("target", target), *shown]]


@torch.inference_mode()
def _layer_curve(title: str, network: Unrolled, task: Task) -> Curve:
    estimates: list[list[Tensor]] = [[] for _ in network.layers]
    for batch in task.test:
        for number, (layer, state) in enumerate(zip(network.layers, network.trajectory(batch.data), strict=True)):
            estimates[number].append(layer.estimate(state))  # pyright: ignore[reportCallIssue]
    values = [_quality(task, task.test, each) for each in estimates]
    return Curve(title, "network", list(range(1, len(network) + 1)), values, None)


def _run_classical(method: Classical, task: Task, goal: float, validation_goal: float, depth: int | None) -> tuple[list[Contender], Curve]:
    """Rows for a method at its best weight: at the network's depth (a parent), run until it matches the network, and at convergence."""
    metric = task.metric
    best_final = best_match = method.weights[0]
    if len(method.weights) > 1:
        finals: dict[float, float] = {}
        matches: dict[float, float] = {}
        for weight in method.weights:
            steps, values = trace(method.make(weight), task, task.validation, method.iterations)
            finals[weight] = values[-1]
            matches[weight] = next((s for s, v in zip(steps, values, strict=True) if metric.at_least_as_good(v, validation_goal)), float("inf"))
        pick = min if metric.better == "lower" else max
        best_final = pick(finals, key=finals.__getitem__)
        best_match = min(matches, key=matches.__getitem__)
        if matches[best_match] == float("inf"):
            best_match = best_final
    iteration = method.make(best_final)
    steps, values = trace(iteration, task, task.test, method.iterations)
    tuned = f"weight {best_final:.3g}" + (" chosen on validation data" if len(method.weights) > 1 else "")
    rows = []
    if depth is not None:
        rows.append(Contender(f"{method.name}, as many iterations", method.role, steps_of(iteration, depth), depth, 0, tuned))
    matching = _first(steps, values, lambda v: metric.at_least_as_good(v, goal))
    match_iteration, match_tuned = iteration, tuned
    if best_match != best_final:
        other = method.make(best_match)
        other_steps, other_values = trace(other, task, task.test, method.iterations, lambda v: metric.at_least_as_good(v, goal))
        reached = _first(other_steps, other_values, lambda v: metric.at_least_as_good(v, goal))
        if reached is not None and (matching is None or reached < matching):
            matching, match_iteration, match_tuned = reached, other, f"weight {best_match:.3g} chosen on validation data to get there soonest"
    if matching is not None:
        rows.append(Contender(f"{method.name}, until it matches the network", method.role, steps_of(match_iteration, matching), matching, 0, match_tuned))
    else:
        rows.append(
            Contender(
                f"{method.name}, at convergence", method.role, steps_of(iteration, steps[-1]), steps[-1], 0, f"{tuned}; never reaches the network's error"
            )
        )
    return rows, Curve(method.name, method.role, steps, values, None)


def _first(steps: Sequence[int], values: Sequence[float], condition: Callable[[float], bool]) -> int | None:
    return next((step for step, value in zip(steps, values, strict=True) if condition(value)), None)


def _set_curve_seconds(curves: Sequence[Curve], rows: Sequence[Row]) -> None:
    for curve in curves:
        fitting = [
            row
            for row in rows
            if row.iterations and row.seconds and (row.role == "network" if curve.role == "network" else row.name.startswith(curve.name + ","))
        ]
        if fitting:
            row = max(fitting, key=lambda r: r.iterations or 0)
            assert row.seconds is not None
            assert row.iterations is not None
            curve.seconds = row.seconds.batch / row.iterations


def _parameters(network: Unrolled) -> list[Parameter]:
    grouped: dict[str, Parameter] = {}
    for row in network.parameter_table():
        entry = grouped.setdefault(row.name, Parameter(row.name, [], [], row.classical.cpu().numpy()))
        entry.layers.append(row.layer)
        entry.learned.append(row.value.detach().cpu().numpy())
    return list(grouped.values())


def headline(title: str, task: Task, rows: Sequence[Row], depth: int) -> str:
    """One sentence: what was saved, against which baseline, at what quality."""
    metric = task.metric
    network = next(row for row in rows if row.role == "network")
    text = f"{title} reaches {network.quality.mean:.2f} {metric.unit} {metric.name} in {depth} layer{'s' if depth > 1 else ''}"
    matching = [row for row in rows if row.role in ("parent", "classical") and "until it matches" in row.name]
    short = [row for row in rows if row.role in ("parent", "classical") and "at convergence" in row.name]
    if matching:
        best = min(matching, key=lambda r: r.iterations or 0)
        name = best.name.split(", until")[0]
        text += f"; of the classical methods {name} gets there soonest, after {best.iterations} iterations ({(best.iterations or 0) / depth:.1f} times as many)"
    if short:
        best = (min if metric.better == "lower" else max)(short, key=lambda r: r.quality.mean)
        gap = abs(network.quality.mean - best.quality.mean)
        text += f"; {best.name.split(', at')[0]} run to convergence ({best.iterations} iterations) stays {gap:.2f} {metric.unit} behind"
    linear = next((row for row in rows if row.name == "linear MMSE"), None)
    if linear is not None:
        gap = (linear.quality.mean - network.quality.mean) * (1 if metric.better == "lower" else -1)
        text += f"; the best linear estimate is {abs(gap):.2f} {metric.unit} {'worse' if gap > 0 else 'better'}"
    return text + "."
