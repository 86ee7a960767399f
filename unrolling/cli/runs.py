"""Folders of runs: what they are called, and what becomes of one that a run has finished in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WEIGHTS = "weights.safetensors"
PAGES = ("comparison.json", "comparison.md", "index.html")  # of a comparison
# What of a card says which run its weights are of.
OF_A_RUN = (
    *("system", "task", "schedule", "seed", "weights_are", "validations", "precision", "without_truth"),
    *("iteration", "depth", "tied", "untied"),
)
LONGEST = 150  # characters of a folder's name


def folder_name(system: str, task: str, parts: Sequence[str]) -> str:
    """The name of a run's folder: system and task, then what was said beyond the defaults.

    Args:
        system: its name.
        task: its name.
        parts: ``depth5``, ``seed1`` and so on, in an order that does not depend on that of the command.
    """
    name = "-".join([system.replace("/", "-"), task, *(re.sub(r"[^\w.+=-]+", "-", part) for part in parts)])
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{_short(name)}"


def parts_of(
    defaults: Mapping[str, Any],
    chosen: Mapping[str, Any],
    *,
    depth: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    schedule: str | None = None,
    curriculum: Sequence[str] | None = None,
    files: Mapping[str, Path | None] | None = None,
    more: Mapping[str, Any] | None = None,
) -> list[str]:
    """What tells a run from the one with nothing but defaults.

    Args:
        defaults: options of the task.
        chosen: those that were given.
        depth: where it is not the recipe's.
        seed: of the run.
        steps: where they were given.
        schedule: the name of the scheme that was given.
        curriculum: KEY=FIRST:LAST, as given.
        files: ``data``, ``from``, by what they are for; two files of one name in two folders are two.
        more: whatever else was given and is not the default.
    """
    found = [] if depth is None else [f"depth{depth}"]
    found += [f"{key}{value}" for key, value in sorted(chosen.items()) if value != defaults.get(key)]
    found += [f"seed{seed}"] if seed else []
    found += [] if steps is None else [f"steps{steps}"]
    found += [] if schedule is None else [schedule]
    found += sorted(curriculum or ())
    for name, path in (files or {}).items():
        found += [] if path is None else [f"{name}-{path.stem}-{_short(str(path.resolve()))}"]
    return found + [f"{key}{'' if value is True else value}" for key, value in (more or {}).items() if value]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:6]


def finished(folder: Path, run: Mapping[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """The card of the weights that this run ended with; None where there are none, or none that must stay.

    Args:
        folder: of the run.
        run: what the card would say of the run, as ``save_weights`` writes it.
        overwrite: weights of other runs may be replaced.

    Raises:
        ValueError: the weights there are of another run, or cannot be read.
    """
    from unrolling.training.weights import read_weights

    path = folder / WEIGHTS
    if not path.exists():
        return None
    try:
        card = read_weights(path)[2]
    except (ValueError, OSError) as error:
        if overwrite:
            return None
        raise ValueError(f"{error}; choose another --out, or replace it by --overwrite") from error
    plain = json.loads(json.dumps(run))
    different = [key for key in OF_A_RUN if card.get(key) != plain.get(key)]
    start = [(each.get("from") or {}).get("sha256") for each in (card, plain)]
    different += [] if start[0] == start[1] else ["from"]
    if not different:
        return card
    if overwrite:
        return None
    raise ValueError(
        f"{path} holds finished weights of another run ({', '.join(different)} differ); choose another --out, or "
        "replace them by --overwrite"
    )


def set_aside(path: Path) -> Path:
    """Give a file the next free name: ``weights-1.safetensors``."""
    number = 1
    while (other := path.with_stem(f"{path.stem}-{number}")).exists():
        number += 1
    path.rename(other)
    return other
