"""``unroll train``, and ``unroll reproduce``, which trains shipped weights again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling.cli import prepare
from unrolling.cli.options import (
    Curriculum,
    Data,
    Depth,
    Device,
    Json,
    Out,
    ScheduleName,
    Seed,
    Settings,
    Steps,
    SystemName,
    TaskName,
    Threads,
)


def train(
    system: SystemName,
    task: TaskName = None,
    data: Data = None,
    depth: Depth = None,
    steps: Steps = None,
    schedule: ScheduleName = None,
    curriculum: Curriculum = None,
    seed: Seed = 0,
    device: Device = "cpu",
    devices: Annotated[
        int, typer.Option("--devices", help="processes, one per device; under torchrun as many as it started")
    ] = 1,
    precision: Annotated[str, typer.Option("--precision", help="32-true, bf16-mixed, 16-mixed or 64-true")] = "32-true",
    strategy: Annotated[
        str, typer.Option("--strategy", help="of Lightning Fabric; auto is ddp for several processes")
    ] = "auto",
    accumulate: Annotated[
        int, typer.Option("--accumulate", help="micro-batches per process and step; the batch stays what it is")
    ] = 1,
    workers: Annotated[int, typer.Option("--workers", help="processes that draw batches ahead")] = 0,
    validations: Annotated[
        int, typer.Option("--validations", help="times that the metric is computed during the run")
    ] = 10,
    best: Annotated[
        bool,
        typer.Option(
            "--best", help="end with the weights that were best on the validation set, not with the last ones"
        ),
    ] = False,
    keep: Annotated[int, typer.Option("--keep", help="how many of the newest checkpoints to keep while training")] = 2,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="also log for TensorBoard, in the folder of the run")
    ] = False,
    start: Annotated[
        Path | None, typer.Option("--from", help="a weights file to start from, instead of the parent's values")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="print the schedule, what it trains and about how long it takes; train nothing"),
    ] = False,
    out: Out = None,
    settings: Settings = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a system; the same command goes on after an interruption. Ends with a weights file."""
    from unrolling.training.machine import Machine, is_main
    from unrolling.training.weights import load_weights

    machine = Machine(device, devices, precision, strategy, accumulate, workers)
    machine.check()
    options: dict[str, Any] = {
        "steps": steps,
        "schedule": schedule,
        "curriculum": curriculum,
        "weights": start,
        "write": not dry_run,
    }
    job = prepare.prepare(system, task, data, depth, seed, settings, threads, out, "runs", **options)
    origin = None if start is None else _origin(start, load_weights(job.network, start, system=job.system.name))
    if dry_run:
        _print_plan(job, machine, seed, as_json)
        return
    loggers = _tensorboard(job.folder) if tensorboard else ()
    card = train_job(
        job, seed, machine, origin, validations=validations, best=best, keep=keep, loggers=loggers, quiet=as_json
    )
    if not is_main():
        return
    if as_json:
        prepare.print_json(card)
    else:
        for sentence in card["health"]:
            print(sentence)
        metric = job.task.metric
        print(
            f"{metric.name} {metric.text(card['metric']['mean'])} on the validation set; weights in "
            f"{job.folder / 'weights.safetensors'}"
        )


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
    import unrolling
    from unrolling.evaluation.measure import environment, interval
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
        "version": unrolling.__version__,
        "environment": environment(seed, machine.device),
        "licence": "BSD-3-Clause",
        "command": prepare.command(),
        **({} if origin is None else {"from": origin}),
    }
    again = remade(job.network, job.task)
    save_weights(job.network, job.folder / "weights.safetensors", card, job.task.fixed(), again)
    # The run is over and its result is written: what is left of it would only stand in the way of another run in this
    # folder.
    Checkpoints(job.folder, keep, {}).remove()
    return card


def _origin(path: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Which weights training started from, and how they were made."""
    import hashlib

    made = {key: card[key] for key in ("command", "steps", "task", "from") if key in card}
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **made}


def _print_plan(job: prepare.Job, machine: Any, seed: int, as_json: bool) -> None:
    from unrolling.training.plan import estimate_seconds, plan

    rows = plan(job.network, job.schedule, job.task)
    seconds = estimate_seconds(job.network, job.task, job.schedule, machine, seed)
    learned = sum(p.numel() for p in job.network.parameters() if p.requires_grad)
    if as_json:
        prepare.print_json({"stages": [row._asdict() for row in rows], "learned_numbers": learned, "seconds": seconds})
        return
    print(f"{job.system.title} on {job.task_name}: {len(job.network)} layers, {learned:,} learned numbers\n")
    prepare.print_columns(
        ("stage", "steps", "layers run", "batch", "rate", "optimizer", "loss", "numbers", "trained"),
        [
            (
                str(r.number + 1),
                str(r.steps),
                str(r.depth or "-"),
                str(r.batch),
                r.rate,
                r.optimizer,
                r.loss,
                f"{r.numbers:,}",
                r.trained,
            )
            for r in rows
        ],
    )
    print(f"\n{sum(row.steps for row in rows):,} steps, about {seconds:.0f} s on this machine")


def _tensorboard(folder: Path) -> list[Any]:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    try:
        return [TensorBoardLogger(root_dir=folder, name="tensorboard", version="")]
    except ModuleNotFoundError as error:
        raise ImportError("--tensorboard needs the package tensorboard: pip install 'unrolling[log]'") from error


def reproduce(
    system: SystemName,
    task: TaskName = None,
    depth: Depth = None,
    out: Out = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Train shipped weights again with the command that their card records, and say how far the new ones are from
    them.
    """
    from unrolling.systems.catalogue import find
    from unrolling.training.weights import read_weights

    found = find(system)
    name, recipe = found.recipe(task)
    path = found.shipped(name, depth or recipe.depth, prepare.settings(recipe.options, settings))
    shipped, _, card = read_weights(path)
    folder = out or Path("runs") / f"again-{path.stem}"
    words = shlex.split(card["command"])[1:]
    if "--out" in words:
        place = words.index("--out")
        del words[place : place + 2]
    print(f"unroll {shlex.join(words)} --out {folder}", file=sys.stderr)
    sys.argv[1:] = [*words, "--out", str(folder)]
    from unrolling.cli.main import app

    app([*words, "--out", str(folder), *(["--json"] if as_json else [])], standalone_mode=False)
    again, _, new = read_weights(folder / "weights.safetensors")
    both = shipped.keys() & again.keys()  # a tensor that still is its classical value is not in a file
    gap = max(float((again[key] - shipped[key]).norm() / shipped[key].norm().clamp_min(1e-30)) for key in both)
    same = shipped.keys() == again.keys() and all(again[key].equal(shipped[key]) for key in both)
    unit = card["metric"]["unit"]
    print(
        f"{path.name}: {card['metric']['mean']:.4g} {unit} as shipped, {new['metric']['mean']:.4g} {unit} again; "
        f"largest relative difference of a tensor {gap:.2g}{' (the same to the bit)' if same else ''}",
        file=sys.stderr if as_json else sys.stdout,
    )
