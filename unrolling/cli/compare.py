"""``unroll compare``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling.cli import prepare
from unrolling.cli.job import train_job
from unrolling.cli.options import (
    Compile,
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
        bool, typer.Option("--quick", help="leave out the generic network of equal work and the shifts")
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="also train on fewer samples, which takes several trainings")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="train with so many seeds, to show how much they matter")] = 1,
    limit: Annotated[float, typer.Option("--limit", help="seconds that a baseline may take")] = 900.0,
    compiling: Compile = "auto",
    out: Out = None,
    settings: Settings = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a system (or load it) and measure it beside its parent, classical methods and a generic network; writes a
    page.
    """
    from unrolling.evaluation.compare import compare as run_comparison
    from unrolling.files.whole import write_bytes
    from unrolling.report.page import write_page
    from unrolling.report.table import markdown, print_table
    from unrolling.training.machine import Machine
    from unrolling.training.weights import load_weights, remade, save_weights

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
    )
    if job.weights:
        card = load_weights(job.network, job.weights, system=job.system.name)
        note = "shipped weights" if pretrained else f"weights from {job.weights.name}"
        again = remade(job.network, job.task, card["task"])
        save_weights(job.network, job.folder / "weights.safetensors", card, job.task.fixed_tensors(), again)
    else:
        card = train_job(job, seed, machine, quiet=as_json)
        note = f"trained {card['seconds']:.0f} s"
    replicas = [_again(job, seed + k, machine, as_json) for k in range(1, seeds)]
    comparison = run_comparison(
        job.system,
        job.task_name,
        job.recipe,
        job.task,
        job.network,
        seed=seed,
        note=note,
        quiet=as_json,
        say=lambda text: print(text, file=sys.stderr, flush=True),
        effort="quick" if quick else "thorough" if thorough else "usual",
        limit=limit,
        training_seconds=card.get("seconds"),
        replicas=replicas,
        compile_after=after,
    )
    comparison.command = prepare.command()
    write_bytes(job.folder / "comparison.json", (json.dumps(comparison.to_json(), indent=1) + "\n").encode())
    write_bytes(job.folder / "comparison.md", markdown(comparison).encode())
    page = write_page(comparison, job.folder)
    if as_json:
        prepare.print_json(comparison.to_json())
    else:
        print_table(comparison)
        print(f"\n{comparison.headline}\n\nThe page: {page}")


def _again(job: prepare.Job, seed: int, machine: Any, quiet: bool) -> Any:
    """The same network trained with another seed, in a folder of its own."""
    network = job.system.network(job.recipe, job.task, len(job.network))
    folder = job.folder / f"seed-{seed}"
    folder.mkdir(exist_ok=True)
    train_job(replace(job, network=network, folder=folder), seed, machine, quiet=quiet)
    return network
