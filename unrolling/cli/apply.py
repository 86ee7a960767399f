"""``unroll apply``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from unrolling.cli import prepare
from unrolling.cli.options import Depth, Json, Settings, SystemName, TaskName, Threads


def apply(
    system: SystemName,
    files: Annotated[list[Path], typer.Argument(metavar="INPUT", help="the file to work on")],
    output: Annotated[list[Path], typer.Option("-o", "--output", metavar="OUTPUT...", help="where to write; several names after one -o, or one -o for each")],
    task: TaskName = None,
    depth: Depth = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="use the weights of this file instead of the shipped ones")] = None,
    settings: Settings = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Apply a trained system to a file of yours: ``unroll apply speech/deep_nmf noisy.wav -o clean.wav``."""
    from unrolling.systems.catalogue import find
    from unrolling.training.weights import load_weights

    found = find(system)
    name, recipe = found.recipe(task)
    if recipe.apply is None:
        able = [key for key, other in found.recipes.items() if other.apply is not None]
        raise ValueError(f"{found.name} cannot be applied to files for the task {name}" + (f"; it can for {', '.join(able)} (--task)" if able else ""))
    # What follows the one value that -o takes arrives among the arguments.
    source, outputs = files[0], [*output, *files[1:]]
    most, least = len(recipe.apply.writes), recipe.apply.least
    if not least <= len(outputs) <= most:
        wanted = str(most) if least == most else f"{least} to {most}"
        held = ", ".join(recipe.apply.writes)
        raise ValueError(f"{found.name} writes {wanted} file{'s' if most > 1 else ''} ({held}), and {len(outputs)} are named: INPUT -o OUTPUT...")
    if not source.is_file():
        raise ValueError(f"{source} does not exist; the input is {recipe.apply.reads}")
    shipped = weights is None
    job = prepare.prepare(system, task, None, depth, 0, settings, threads, None, "", pretrained=shipped, weights=weights, write=False)
    assert job.weights is not None
    load_weights(job.network, job.weights, system=found.name)
    job.network.eval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts = dict(recipe.apply.run(job.network, job.task, source, outputs))
    said = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    if as_json:
        prepare.print_json({"system": found.name, "task": name, "input": str(source), "outputs": list(map(str, outputs)), **facts, "warnings": said})
        return
    for sentence in said:
        print(f"unroll: {sentence}", file=sys.stderr)
    for path, what in zip(outputs, recipe.apply.writes, strict=False):
        print(f"{path}: {what}")
