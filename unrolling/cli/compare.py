"""``unroll compare``."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling.cli import prepare, runs
from unrolling.cli.job import train_job
from unrolling.cli.options import (
    Compile,
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
    patience,
)


def compare(
    system: SystemName,
    task: TaskName = None,
    data: Data = None,
    depth: Depth = None,
    steps: Steps = None,
    schedule: ScheduleName = None,
    seed: Seed = 0,
    device: Device = "cpu",
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="use the shipped weights instead of training")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="use the weights of this file instead of training")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="spend less on each row, no shifts, no generic network of equal work"),
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="also train on fewer samples, which takes several trainings")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="train with so many seeds, to show how much they matter")] = 1,
    limit: Annotated[float, typer.Option("--limit", help="seconds that a baseline may take")] = 900.0,
    compiling: Compile = "auto",
    out: Out = None,
    overwrite: Overwrite = False,
    settings: Settings = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a system (or load it) and measure it beside its parent, classical methods and a generic network; writes a
    page.
    """
    from unrolling._progress import duration
    from unrolling.evaluation.compare import compare as run_comparison
    from unrolling.files.lock import locked
    from unrolling.files.whole import check_replaceable, keeping_others, write_bytes
    from unrolling.report.page import write_page
    from unrolling.report.table import markdown, print_table
    from unrolling.training.machine import Machine

    begin, silent = time.monotonic(), quiet or as_json
    if quick and thorough:
        raise ValueError("--quick and --thorough exclude each other")
    if seeds < 1 or (seeds > 1 and (pretrained or weights)):
        raise ValueError(f"--seeds is {seeds}; it is at least 1, and more than 1 only where networks are trained")
    if not limit > 0:
        raise ValueError(f"--limit is {limit:g}; it is a number of seconds above 0")
    after = patience(compiling)
    machine = Machine(device)
    machine.check()
    job = prepare.prepare(
        system,
        task,
        data,
        depth,
        seed,
        settings,
        threads,
        out,
        "out",
        steps=steps,
        schedule=schedule,
        pretrained=pretrained,
        weights=weights,
        quiet=silent,
        name={"quick": quick, "thorough": thorough, "seeds": seeds if seeds > 1 else ""},
    )
    options: dict[str, Any] = {
        "effort": "quick" if quick else "thorough" if thorough else "usual",
        "limit": limit,
        "compile_after": after,
    }
    with locked(job.folder):
        with keeping_others(not overwrite):
            for name in runs.PAGES:
                check_replaceable(job.folder / name)
        if job.weights:
            card = _take_weights(job, overwrite)
            note = "shipped weights" if pretrained else f"weights from {job.weights.name}"
        else:
            card = train_job(job, seed, machine, quiet=silent, overwrite=overwrite)
            note = f"trained {card['seconds']:.0f} s"
        options["replicas"] = [_again(job, seed + k, machine, silent, overwrite) for k in range(1, seeds)]
        comparison = run_comparison(
            job.system,
            job.task_name,
            job.recipe,
            job.task,
            job.network,
            seed=seed,
            note=note,
            quiet=silent,
            say=lambda text: print(f"unroll: {text}", file=sys.stderr, flush=True),
            training_seconds=card.get("seconds"),
            **options,
        )
        comparison.command = prepare.command()
        # Printed first: where the disk is full, what was measured is not lost.
        if as_json:
            prepare.print_json(comparison.to_json())
        else:
            print_table(comparison)
            print(f"\n{comparison.headline}", flush=True)
        with keeping_others(not overwrite):
            write_bytes(job.folder / "comparison.json", (json.dumps(comparison.to_json(), indent=1) + "\n").encode())
            write_bytes(job.folder / "comparison.md", markdown(comparison).encode())
            page = write_page(comparison, job.folder)
    if not as_json:
        print(f"\nThe page, after {duration(time.monotonic() - begin)}: {page}")
    if comparison.interrupted:
        raise typer.Exit(130)


def _take_weights(job: prepare.Job, overwrite: bool) -> dict[str, Any]:
    """The weights of a file, kept beside the page too; the card."""
    from unrolling.training.weights import load_weights, read_weights, remade, save_weights

    assert job.weights is not None
    card = load_weights(job.network, job.weights, system=job.system.name)
    path = job.folder / runs.WEIGHTS
    if path.exists() and not overwrite and read_weights(path)[2] != read_weights(job.weights)[2]:
        raise ValueError(f"{path} exists; it stays as it is (--overwrite replaces it)")
    if overwrite or not path.exists():
        again = remade(job.network, job.task, card["task"])
        save_weights(job.network, path, card, job.task.fixed_tensors(), again)
    return card


def _again(job: prepare.Job, seed: int, machine: Any, quiet: bool, overwrite: bool) -> Any:
    """The same network trained with another seed, in a folder of its own."""
    network = job.system.network(job.recipe, job.task, len(job.network))
    folder = job.folder / f"seed-{seed}"
    folder.mkdir(exist_ok=True)
    options: dict[str, Any] = {"quiet": quiet, "overwrite": overwrite, "name": f"{job.system.title}, seed {seed}"}
    train_job(replace(job, network=network, folder=folder), seed, machine, **options)
    return network
