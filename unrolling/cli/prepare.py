"""From arguments to something that can be trained or measured; everything that can be wrong with them is found here,
before any long work.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolling._progress import Bar
from unrolling.cli import runs

THREADS = 64  # that any machine may be asked for; thousands of them would take its memory for their stacks


@dataclass
class Job:
    """What a command works on."""

    system: Any
    task_name: str
    recipe: Any
    task: Any
    network: Any
    schedule: list[Any]
    folder: Path
    weights: Path | None  # instead of training
    without_truth: str | None = None  # the loss in the place of the schedule's


def prepare(
    system: str,
    task: str | None,
    data: Path | None,
    depth: int | None,
    seed: int,
    given: list[str] | None,
    threads: int | None,
    out: Path | None,
    parent_folder: str,
    *,
    steps: int | None = None,
    schedule: str | None = None,
    curriculum: list[str] | None = None,
    without_truth: str | None = None,
    pretrained: bool = False,
    weights: Path | None = None,
    start: bool = False,
    write: bool = True,
    quiet: bool = False,
    name: Mapping[str, Any] | None = None,
) -> Job:
    """Find the system, build its task and network, choose the schedule and the folder.

    Args:
        system, task, data, depth, seed, given, threads, steps, schedule, curriculum: as on the command line.
        without_truth: the loss to train on in the place of the schedule's.
        out: the folder; by default one in ``parent_folder`` whose name tells this run from others.
        parent_folder: of folders with names of their own.
        pretrained: take the shipped weights.
        weights: a file to take weights from, or to start from.
        start: whether they are started from: then they may be of another task.
        write: whether the folder is needed.
        quiet: no progress bar.
        name: what else tells this run from others.

    Raises:
        ValueError: whatever is wrong with the arguments.
    """
    import torch

    from unrolling.systems.catalogue import find
    from unrolling.training.losses_by_name import find_loss, with_loss
    from unrolling.training.weights import read_weights

    if threads is not None and threads < 1:
        raise ValueError(f"--threads is {threads}; it must be at least 1")
    most = max(THREADS, 4 * (os.cpu_count() or 1))
    if threads is not None and threads > most:
        raise ValueError(f"--threads is {threads}; on this machine of {os.cpu_count()} cores, {most} are the most")
    if depth is not None and depth < 1:
        raise ValueError(f"depth is {depth}; a network has at least one layer")
    found = find(system)
    task_name, recipe = found.recipe(task)
    chosen = settings(found.options(task_name), given)
    parts = runs.parts_of(
        found.options(task_name),
        chosen,
        depth=None if depth == recipe.depth else depth,
        seed=seed,
        steps=steps,
        schedule=schedule,
        curriculum=curriculum,
        files={"data": data, "weights": weights},
        more={"pretrained": pretrained, "without-truth-": without_truth or "", **(name or {})},
    )
    folder = out or Path(parent_folder) / runs.folder_name(found.name, task_name, parts)
    if write:
        writable(folder)
    if pretrained and weights:
        raise ValueError("--pretrained and --weights exclude each other")
    fixed, trained, path = None, {}, None
    if pretrained or weights:
        path = weights or found.shipped(task_name, depth or recipe.depth, chosen)
        _, fixed, card = read_weights(path)
        depth = card["depth"] if depth is None else depth
        trained = card.get("task") or {}
        if start and trained.get("name") != task_name:
            trained, fixed = {"name": task_name}, None
        if card.get("system") != found.name or trained.get("name") != task_name:
            raise ValueError(
                f"{path} holds weights of {card.get('system')} for the task {trained.get('name')}, not "
                f"of {found.name} for {task_name}"
            )
    stages = resolved(recipe.schedule(depth or recipe.depth), depth or recipe.depth, steps, schedule, curriculum)
    with Bar(f"preparing {task_name}", quiet=quiet):
        held = build_task(found, task_name, seed, data, given, fixed, trained)
        torch.set_num_threads(threads or held.threads or torch.get_num_threads())
        torch.manual_seed(seed)
        network = found.network(recipe, held, depth)
    if without_truth is not None:
        stages = with_loss(stages, find_loss(without_truth, held, network))
    return Job(found, task_name, recipe, held, network, stages, folder, path, without_truth)


def resolved(
    stages: list[Any], depth: int, steps: int | None, schedule: str | None, curriculum: list[str] | None
) -> list[Any]:
    """The system's schedule, or a scheme by name, with the steps and the curriculum asked for.

    Raises:
        ValueError: an unknown scheme, too few steps, a curriculum that is none.
    """
    from unrolling.training.schedules import by_name, with_curriculum
    from unrolling.training.stages import scaled

    if schedule is not None:
        stages = by_name(schedule, depth, stages)
    if steps is not None:
        stages = scaled(stages, steps)
    return with_curriculum(stages, **ramps(curriculum)) if curriculum else stages


def ramps(given: list[str] | None) -> dict[str, Any]:
    """KEY=FIRST:LAST pairs.

    Raises:
        ValueError: anything else.
    """
    from unrolling.training.stages import Ramp

    found: dict[str, Any] = {}
    for pair in given or []:
        key, sign, text = pair.partition("=")
        first, colon, last = text.partition(":")
        try:
            if not (key and sign and colon):
                raise ValueError
            found[key] = Ramp(float(first), float(last))
        except ValueError:
            raise ValueError(f"--curriculum {pair}: it reads KEY=FIRST:LAST, such as snr=60:20") from None
    return found


def build_task(
    system: Any,
    name: str,
    seed: int,
    data: Path | None,
    given: list[str] | None,
    fixed: Any = None,
    trained: Mapping[str, Any] | None = None,
) -> Any:
    """The task; options that are not given are those that the weights were trained with, else the defaults."""
    known = system.options(name)
    options = {key: type(default)(trained[key]) for key, default in known.items() if trained and key in trained}
    return system.task(name, seed=seed, data=data, fixed=fixed, **{**options, **settings(known, given)})


def settings(options: Mapping[str, Any], given: list[str] | None) -> dict[str, Any]:
    """KEY=VALUE pairs as the types of the defaults.

    Raises:
        ValueError: an unknown key, or a value of another type.
    """
    chosen: dict[str, Any] = {}
    for pair in given or []:
        key, found, text = pair.partition("=")
        if not found or key not in options:
            raise ValueError(
                f"--set {pair}: the options here are {', '.join(f'{k}={v}' for k, v in options.items()) or 'none'}"
            )
        kind = type(options[key])
        try:
            chosen[key] = kind(text)
        except ValueError:
            raise ValueError(f"--set {pair}: {key} is {'a whole number' if kind is int else 'a number'}") from None
    return chosen


def writable(folder: Path) -> None:
    """Finds out before the work whether its result can be written.

    Raises:
        ValueError: it cannot.
    """
    from unrolling.files.whole import probe_folder

    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe_folder(folder)
    except OSError as error:
        raise ValueError(f"cannot write into {folder}: {error.strerror or error}") from error


def plain(value: Any) -> Any:
    """Infinity as text, which JSON has no number for."""
    return str(value) if value == float("inf") else value


def command() -> str:
    """What was typed."""
    return "unroll " + shlex.join(sys.argv[1:])


def print_columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as aligned text, which a pipe, a narrow terminal and a person can read."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """On the standard output."""
    print(json.dumps(value, indent=1))
