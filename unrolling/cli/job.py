"""What ``unroll train`` and ``unroll compare`` do alike: train a network and write its weights with their card."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from unrolling.cli import prepare, runs


def train_job(
    job: prepare.Job,
    seed: int,
    machine: Any,
    origin: dict[str, Any] | None = None,
    *,
    validations: int = 10,
    best: bool = False,
    keep: int = 2,
    loggers: Sequence[Any] = (),
    quiet: bool = False,
    again: bool = False,
    overwrite: bool = False,
    name: str = "",
) -> dict[str, Any]:
    """Train, measure on the validation set, write the weights with their card; the card. A run that is finished is not
    trained: the network gets its weights.

    Args:
        job: what to train, and where.
        seed: of the run.
        machine: device, processes, precision.
        origin: of the weights that training starts from.
        validations: how often the metric is computed.
        best: end with the best weights instead of the last.
        keep: checkpoints.
        loggers: of Lightning Fabric.
        quiet: no progress bar.
        again: train a finished run anew; the weights that are there get another name.
        overwrite: replace what is there, also of another run.
        name: beside the progress bar; by default the system's.

    Raises:
        ValueError: finished weights of another run are there; another process is at work in the folder.
    """
    from unrolling.files.lock import locked
    from unrolling.training.machine import is_main

    options: dict[str, Any] = {"origin": origin, "validations": validations, "best": best, "keep": keep}
    with locked(job.folder) if is_main() else nullcontext():
        shown: dict[str, Any] = {"quiet": quiet, "name": name or job.system.title}
        return _train(job, seed, machine, **options, **shown, loggers=loggers, again=again, overwrite=overwrite)


def _train(
    job: prepare.Job,
    seed: int,
    machine: Any,
    *,
    origin: dict[str, Any] | None,
    validations: int,
    best: bool,
    keep: int,
    loggers: Sequence[Any],
    quiet: bool,
    name: str,
    again: bool,
    overwrite: bool,
) -> dict[str, Any]:
    from unrolling._version import __version__
    from unrolling.evaluation.measure import environment, interval
    from unrolling.systems.conditions import range_to_card
    from unrolling.systems.data_sources import weights_licence
    from unrolling.tasks.base import evaluate
    from unrolling.training.batches import like_network
    from unrolling.training.behaviour import behaviour, unused_at_start, without_influence
    from unrolling.training.checkpoints import Checkpoints
    from unrolling.training.fit import fit
    from unrolling.training.machine import is_main
    from unrolling.training.weights import load_weights, remade, save_weights, shape

    choose = "best" if best else "last"
    run = {
        "system": job.system.name,
        "task": job.task.identity(),
        "schedule": [stage.describe() for stage in job.schedule],
        **({} if job.without_truth is None else {"without_truth": job.without_truth}),
        "seed": seed,
        "weights_are": choose,
        **({"validations": validations} if best else {}),
        **({} if machine.precision == "32-true" else {"precision": machine.precision}),
        **({} if origin is None else {"from": origin}),
    }
    path = job.folder / runs.WEIGHTS
    done = runs.finished(job.folder, {**run, **shape(job.network)}, overwrite)
    checkpoints = Checkpoints(job.folder, keep, {})
    if done is not None:
        if is_main() and checkpoints.ended(len(job.schedule)):
            checkpoints.remove()  # the run had written its weights and was stopped before it cleaned up
        if not (again or overwrite):
            load_weights(job.network, path, system=job.system.name)
            print(f"this run is finished: {path} (--again trains it anew)", file=sys.stderr)
            return done
    options: dict[str, Any] = {
        "seed": seed,
        "machine": machine,
        "validations": validations,
        "choose": choose,
        "keep": keep,
        "loggers": loggers,
    }
    history = fit(job.network, job.task, job.schedule, job.folder, quiet=quiet, name=name, **options)
    if not is_main():
        return {}
    job.network.cpu()
    pieces = evaluate(lambda data: job.network(like_network(data, job.network)), job.task, job.task.validation)
    quality = interval(job.task.metric, pieces, seed)
    metric = job.task.metric
    fixed = job.task.example()
    idle = _idle(without_influence(job.network, fixed), unused_at_start(job.network))
    card = {
        **run,
        "steps": history.steps,
        "seconds": round(history.seconds, 3),
        "metric": {
            "name": metric.name,
            "unit": metric.unit,
            "on": "validation",
            "mean": quality.mean,
            "low": quality.low,
            "high": quality.high,
        },
        "health": [*history.health.sentences(), *idle],
        "version": __version__,
        "environment": environment(seed, machine.device),
        **({"range": range_to_card(ranges)} if (ranges := job.recipe.ranges(job.task)) else {}),
        "command": prepare.command(),
        "behaviour": behaviour(job.network, fixed),
    }
    card["licence"] = weights_licence(card)
    for sentence in idle:
        print(f"unroll: {sentence}", file=sys.stderr)
    made = remade(job.network, job.task)
    if done is not None and not overwrite:
        print(f"the weights that were there are now {runs.set_aside(path)}", file=sys.stderr)
    save_weights(job.network, path, card, job.task.fixed_tensors(), made)
    # The run is over and its result is written: what is left of it would only stand in the way of another run in this
    # folder.
    checkpoints.remove()
    return card


def _idle(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Sentences on learned tensors without influence, those that the algorithm says so of apart; none where all have
    some.
    """
    others, expected = [name for name in names if name not in known], [name for name in names if name in known]
    found = [f"the estimate does not depend on {', '.join(others)}: fix what nothing follows from"] if others else []
    if expected:
        found.append(f"the first step does not use {', '.join(expected)}, which published networks have all the same")
    return found
