"""A network beside its parent, classical baselines, other libraries and a generic network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.evaluation import illustrate
from unrolling.evaluation.baselines import linear_mmse, scikit_learn, train_mlp
from unrolling.evaluation.classical import run_classical
from unrolling.evaluation.comparison import Comparison, Curve, Row
from unrolling.evaluation.measure import Contender, environment, interval, time_all
from unrolling.systems.base import Recipe, System
from unrolling.tasks.base import Task, estimates_of, pieces_of


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
    say: Callable[[str], None] = lambda text: None,
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
    curves = [_layer_curve(system.title, network, task)]
    goal = curves[0].quality[-1]
    validation_goal = metric.value(pieces_of(task, task.validation, estimates_of(network, task.validation)))
    before = system.network(recipe, task, depth)
    contenders = [
        Contender(f"{system.title}, {depth} layer{'s' if depth > 1 else ''}", "network", network, depth, learned, note),
        Contender(f"{system.title} before training", "initial", before, depth, learned, "the same network at its classical values"),
    ]
    for method in recipe.classical(task):
        say(f"{method.name}: weight from validation data, then the test set")
        found, drawn = run_classical(method, task, goal, validation_goal, depth if method.name == recipe.parent_name else None)
        contenders += found
        curves += drawn
    say("linear estimate")
    contenders.append(linear_mmse(task, seed=seed))
    say("training the generic network")
    contenders.append(train_mlp(task, learned, recipe.generic_steps, recipe.generic_batch, seed=seed, quiet=quiet))
    if recipe.dictionary is not None:
        dictionary, decode = recipe.dictionary(task), recipe.decode(task)
        contenders += [scikit_learn(task, dictionary, p.algorithm, decode, limit=p.limit, label=p.label, **p.options) for p in recipe.peers(task)]
    say(f"measuring quality and time of {len(contenders)} methods")
    estimates = [c.estimates or estimates_of(c.run, task.test, c.limit) for c in contenders]
    times = time_all(contenders, task.timing)
    rows = []
    for contender, found, seconds in zip(contenders, estimates, times, strict=True):
        quality = interval(metric, pieces_of(task, task.test, found), seed)
        limited = contender.limit is not None and sum(map(len, found)) < sum(len(batch.target) for batch in task.test)
        text = f"first {contender.limit} samples; {contender.note}" if limited else contender.note
        rows.append(Row(contender.name, contender.role, quality, contender.iterations, contender.parameters, seconds, text))
    _set_curve_seconds(curves, rows)
    atoms = recipe.atoms
    return Comparison(
        system.name,
        system.title,
        task_name,
        task.summary,
        metric,
        rows,
        environment(seed),
        headline=illustrate.headline(system.title, task, rows),
        curves=curves,
        notes=list(recipe.notes),
        parameters=illustrate.parameters(network),
        atoms=[] if atoms is None else [("classical", atoms(network.parent).numpy()), ("learned, last layer", atoms(network.layers[-1]).numpy())],
        pictures=illustrate.pictures(task, contenders, estimates, rows) if task.pictures else [],
        codes=[] if task.pictures else illustrate.codes(task, contenders, estimates),
    )


@torch.inference_mode()
def _layer_curve(title: str, network: Unrolled, task: Task) -> Curve:
    estimates: list[list[Tensor]] = [[] for _ in network.layers]
    for batch in task.test:
        for number, (layer, state) in enumerate(zip(network.layers, network.trajectory(batch.data), strict=True)):
            estimates[number].append(layer.estimate(state))  # pyright: ignore[reportCallIssue]
    values = [task.metric.value(pieces_of(task, task.test, each)) for each in estimates]
    return Curve(title, "network", list(range(1, len(network) + 1)), values, None)


def _set_curve_seconds(curves: Sequence[Curve], rows: Sequence[Row]) -> None:
    """Seconds per iteration from the longest timed run of the same method."""
    for curve in curves:
        name = curve.name.split(", weight")[0]
        fitting = [r for r in rows if r.iterations and r.seconds and (r.role == "network" if curve.role == "network" else r.name.startswith(f"{name}, "))]
        if fitting:
            row = max(fitting, key=lambda r: r.iterations or 0)
            assert row.seconds is not None
            assert row.iterations is not None
            curve.seconds = row.seconds.batch / row.iterations
