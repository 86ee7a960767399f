"""Arguments and options that several commands share."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer


def systems(incomplete: str) -> list[str]:
    """Names that a shell may complete to: whole ones, or last parts where no field was typed."""
    from unrolling.systems.index import system_names

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = system_names()
    if "/" not in incomplete and not any(name.startswith(incomplete) for name in whole):
        whole = [name.split("/")[-1] for name in whole]
    return [name for name in whole if name.startswith(incomplete)]


def tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Tasks of the system that was typed."""
    from unrolling.systems.index import read_index

    typed = {context.params.get("system"), *context.args}
    return [
        task
        for entry in read_index()
        if typed & {entry["name"], entry["name"].split("/")[-1]}
        for task in entry["tasks"]
        if task.startswith(incomplete)
    ]


def paradigms(incomplete: str) -> list[str]:
    """What of an algorithm is learned."""
    from unrolling.systems.paradigms import PARADIGMS

    return [name for name in PARADIGMS if name.startswith(incomplete)]


def losses(incomplete: str) -> list[str]:
    """Losses without truth."""
    from unrolling.training.losses_by_name import ENERGY, LOSSES

    return [name for name in (*LOSSES, ENERGY) if name.startswith(incomplete)]


SystemName = Annotated[
    str,
    typer.Argument(
        metavar="SYSTEM",
        help="a name from `unroll list`, such as sparse_coding/lista, or lista; - and _ are the same",
        autocompletion=systems,
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="what to solve; `unroll show SYSTEM` lists the tasks, the first is the default",
        autocompletion=tasks,
    ),
]
Depth = Annotated[int | None, typer.Option("--depth", help="number of layers")]
Steps = Annotated[int | None, typer.Option("--steps", help="optimizer steps in all, instead of the schedule's")]
Seed = Annotated[int, typer.Option("--seed", help="of data, batches and initial values")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto")]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="your own data instead of the packages': what it may be depends on the task"),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="an option of the task; may be repeated")
]
Out = Annotated[Path | None, typer.Option("--out", help="folder for what is written")]
Json = Annotated[bool, typer.Option("--json", help="print JSON on the standard output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace files that are there already")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="processor threads; by default all cores, or what the system does best with"),
]
ScheduleName = Annotated[
    str | None, typer.Option("--schedule", help="a scheme from `unroll schedules` instead of the system's own")
]
WithoutTruth = Annotated[
    str | None,
    typer.Option(
        "--without-truth",
        metavar="LOSS",
        help="train on the data alone: by split, equivariant, sure, recorrupted, neighbours or energy, as far as the "
        "task supports them",
        autocompletion=losses,
    ),
]
Curriculum = Annotated[
    list[str] | None,
    typer.Option(
        "--curriculum",
        metavar="KEY=FIRST:LAST",
        help="a value that batches are drawn with, moving along each stage: snr=60:20",
    ),
]
Compile = Annotated[
    str,
    typer.Option(
        "--compile",
        help="auto (compile once a minute has been spent on the plain network, which is what compiling may cost), "
        "always, or never",
    ),
]


def patience(choice: str) -> float:
    """Seconds of plain work after which a network is compiled.

    Raises:
        ValueError: another word than auto, always and never.
    """
    from unrolling.core.deploy import PATIENCE

    known = {"auto": PATIENCE, "always": 0.0, "never": float("inf")}
    if choice not in known:
        raise ValueError(f"--compile is {choice}; it is {', '.join(known)}")
    return known[choice]
