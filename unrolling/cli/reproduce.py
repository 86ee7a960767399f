"""``unroll reproduce``, which trains shipped weights again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer

from unrolling.cli import prepare
from unrolling.cli.compare import compare
from unrolling.cli.options import Depth, Json, Out, Settings, SystemName, TaskName
from unrolling.cli.train import train

recorded = typer.Typer(add_completion=False, pretty_exceptions_enable=False)  # the commands that a card may record
recorded.command()(train)
recorded.command()(compare)


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
    recorded([*words, "--out", str(folder), *(["--json"] if as_json else [])], standalone_mode=False)
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
