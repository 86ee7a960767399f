"""``unroll reproduce``, which trains shipped weights again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from unrolling.cli import prepare
from unrolling.cli.compare import compare
from unrolling.cli.options import Data, Depth, Json, Out, Quiet, Settings, SystemName, TaskName
from unrolling.cli.train import train

recorded = typer.Typer(add_completion=False, pretty_exceptions_enable=False)  # the commands that a card may record
recorded.command()(train)
recorded.command()(compare)


def reproduce(
    system: SystemName,
    task: TaskName = None,
    depth: Depth = None,
    data: Data = None,
    out: Out = None,
    settings: Settings = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train shipped weights again with the command that their card records, and say how far the new ones are from
    them. What they were trained on is named, where it has to be fetched first.
    """
    from unrolling.core.scale import divide, norm
    from unrolling.systems.catalogue import find
    from unrolling.training.weights import read_weights

    found = find(system)
    name, recipe = found.recipe(task)
    path = found.shipped(name, depth or recipe.depth, prepare.settings(found.options(name), settings))
    shipped, _, card = read_weights(path)
    folder = out or Path("runs") / f"again-{path.stem}"
    words = shlex.split(card["command"])[1:]
    if "--out" in words:
        place = words.index("--out")
        del words[place : place + 2]
    _give_data(words, path.name, card, data)
    _give_start(words, found, card)
    print(f"unroll {shlex.join(words)} --out {folder}", file=sys.stderr)
    sys.argv[1:] = [*words, "--out", str(folder)]
    recorded([*words, "--out", str(folder), *["--json"] * as_json, *["--quiet"] * quiet], standalone_mode=False)
    again, _, new = read_weights(folder / "weights.safetensors")
    both = shipped.keys() & again.keys()  # a tensor that still is its classical value is not in a file
    gaps = [float(divide(norm((again[key] - shipped[key]).flatten()), norm(shipped[key].flatten()))) for key in both]
    same = shipped.keys() == again.keys() and all(again[key].equal(shipped[key]) for key in both)
    unit = card["metric"]["unit"]
    print(
        f"{path.name}: {card['metric']['mean']:.4g} {unit} as shipped, {new['metric']['mean']:.4g} {unit} again; "
        f"largest relative difference of a tensor {max(gaps, default=0):.2g}{' (the same to the bit)' if same else ''}",
        file=sys.stderr if as_json else sys.stdout,
    )


def _give_data(words: list[str], name: str, card: dict[str, Any], data: Path | None) -> None:
    """Put the data's place into a command that names data; where they are not there, list them.

    Raises:
        ValueError: data for weights that need none.
        typer.Exit: of status 1, the data being missing or others.
    """
    from unrolling.systems.data_sources import named_data, sources_of

    if named_data(card) is None:
        if data is not None:
            raise ValueError(f"{name} was trained on no data that would have to be given; leave --data out")
        return
    *others, source = sources_of(card)
    try:
        if data is None:
            raise ValueError("say where they are, --data PLACE")
        source.check(data)
    except ValueError as error:
        print(*(f"{each}\n" for each in (*others, source)), sep="\n", end="")
        print(f"unroll: {name} was trained on {source.title}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    words[words.index("--data") + 1] = str(source.place(data))


def _give_start(words: list[str], system: Any, card: dict[str, Any]) -> None:
    """Weights that training started from are those that are shipped, where they were made by the same command.

    Raises:
        ValueError: they are not shipped.
    """
    from unrolling.training.weights import read_weights

    if "--from" not in words:
        return
    for path in sorted((system.home / "weights").glob("*.safetensors")):
        if read_weights(path)[2].get("command") == card["from"]["command"]:
            words[words.index("--from") + 1] = str(path)
            return
    raise ValueError(f"training started from weights that are not shipped; they were made by {card['from']['command']}")
