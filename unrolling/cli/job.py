"""What ``unroll train`` and ``unroll compare`` do alike: train a network and write its weights with their card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unrolling.cli import prepare


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
) -> dict[str, Any]:
    """Train, measure on the validation set, write the weights with their card; the card."""
    from unrolling._version import __version__
    from unrolling.evaluation.measure import environment, interval
    from unrolling.systems.conditions import range_to_card
    from unrolling.tasks.base import evaluate
    from unrolling.training.batches import like_network
    from unrolling.training.checkpoints import Checkpoints
    from unrolling.training.fit import fit
    from unrolling.training.machine import is_main
    from unrolling.training.weights import remade, save_weights

    choose = "best" if best else "last"
    options: dict[str, Any] = {
        "seed": seed,
        "machine": machine,
        "validations": validations,
        "choose": choose,
        "keep": keep,
        "loggers": loggers,
    }
    history = fit(job.network, job.task, job.schedule, job.folder, quiet=quiet, **options)
    if not is_main():
        return {}
    job.network.cpu()
    pieces = evaluate(lambda data: job.network(like_network(data, job.network)), job.task, job.task.validation)
    quality = interval(job.task.metric, pieces, seed)
    metric = job.task.metric
    card = {
        "system": job.system.name,
        "task": job.task.identity(),
        "schedule": [stage.describe() for stage in job.schedule],
        "seed": seed,
        "steps": history.steps,
        "seconds": round(history.seconds, 3),
        "weights_are": choose,
        "metric": {
            "name": metric.name,
            "unit": metric.unit,
            "on": "validation",
            "mean": quality.mean,
            "low": quality.low,
            "high": quality.high,
        },
        "health": history.health.sentences(),
        "version": __version__,
        "environment": environment(seed, machine.device),
        "licence": "BSD-3-Clause",
        **({"range": range_to_card(ranges)} if (ranges := job.recipe.ranges(job.task)) else {}),
        "command": prepare.command(),
        **({} if origin is None else {"from": origin}),
    }
    again = remade(job.network, job.task)
    save_weights(job.network, job.folder / "weights.safetensors", card, job.task.fixed_tensors(), again)
    # The run is over and its result is written: what is left of it would only stand in the way of another run in this
    # folder.
    Checkpoints(job.folder, keep, {}).remove()
    return card
