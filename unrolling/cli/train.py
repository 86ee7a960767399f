"""``unroll train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling._extras import extra
from unrolling._progress import Bar, duration
from unrolling.cli import prepare
from unrolling.cli.job import train_job
from unrolling.cli.options import (
    Curriculum,
    Data,
    Depth,
    Device,
    Json,
    Out,
    Overwrite,
    Quiet,
    ScheduleName,
    Seed,
    Settings,
    Steps,
    SystemName,
    TaskName,
    Threads,
    WithoutTruth,
)


def train(
    system: SystemName,
    task: TaskName = None,
    data: Data = None,
    depth: Depth = None,
    steps: Steps = None,
    schedule: ScheduleName = None,
    curriculum: Curriculum = None,
    truth: WithoutTruth = None,
    seed: Seed = 0,
    device: Device = "cpu",
    devices: Annotated[
        int, typer.Option("--devices", help="processes, one per device; under torchrun as many as it started")
    ] = 1,
    precision: Annotated[
        str, typer.Option("--precision", help="32-true, bf16-mixed, 16-mixed, 64-true or auto")
    ] = "32-true",
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
    again: Annotated[
        bool, typer.Option("--again", help="train a finished run anew; its weights get another name")
    ] = False,
    overwrite: Overwrite = False,
    settings: Settings = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a system; the same command goes on after an interruption, and does nothing once the run is finished. Ends
    with a weights file.
    """
    from unrolling.training.machine import Machine, is_main
    from unrolling.training.weights import load_weights

    machine = Machine(device, devices, precision, strategy, accumulate, workers)
    machine.check()
    options: dict[str, Any] = {
        "steps": steps,
        "schedule": schedule,
        "curriculum": curriculum,
        "without_truth": truth,
        "weights": start,
        "start": start is not None,
        "write": not dry_run,
        "quiet": quiet or as_json,
        "name": {
            "best": best,
            "validations": "" if validations == 10 else validations,
            "precision-": "" if machine.precision == "32-true" else machine.precision,
        },
    }
    job = prepare.prepare(system, task, data, depth, seed, settings, threads, out, "runs", **options)
    for sentence in job.task.training_notes:
        print(f"unroll: {sentence}", file=sys.stderr)
    origin = None if start is None else _origin(start, load_weights(job.network, start, system=job.system.name))
    if dry_run:
        _print_plan(job, machine, seed, quiet, as_json)
        return
    loggers = _tensorboard(job.folder) if tensorboard else ()
    settled: dict[str, Any] = {"validations": validations, "best": best, "keep": keep, "again": again}
    card = train_job(
        job, seed, machine, origin, **settled, overwrite=overwrite, loggers=loggers, quiet=quiet or as_json
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
            f"{job.folder / 'weights.safetensors'} (trained {duration(card['seconds'])})"
        )


def _origin(path: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Which weights training started from, and how they were made."""
    import hashlib

    made = {key: card[key] for key in ("command", "steps", "task", "from") if key in card}
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **made}


def _print_plan(job: prepare.Job, machine: Any, seed: int, quiet: bool, as_json: bool) -> None:
    from unrolling.training.plan import estimate_seconds, plan

    rows = plan(job.network, job.schedule, job.task)
    with Bar("timing a few steps", quiet=quiet or as_json):
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
    print(f"\n{sum(row.steps for row in rows):,} steps, about {duration(seconds)} on this machine")


def _tensorboard(folder: Path) -> list[Any]:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    with extra("--tensorboard"):
        return [TensorBoardLogger(root_dir=folder, name="tensorboard", version="")]
