"""Which systems hold as files: what came of exporting each of them with its shipped weights, in a record that lies
beside this module: ``python -m tools.export_catalogue`` makes it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unrolling.core import tree

PATH = Path(__file__).with_name("exports.json")
FORMS = ("torch", "onnx")  # of the record; aoti is compiled, field by field, in the nightly run
UNTRAINED = "untrained"
MOST = 64  # samples of an example
DRAWS = 100  # of samples, until some have the numbers that a file is for


class Pair(NamedTuple):
    """A network as a file."""

    system: str
    task: str
    weights: str  # the stem of a shipped file, or ``UNTRAINED`` for a task without one
    form: str


def pairs() -> Iterator[Pair]:
    """Every system of this package, with each of its shipped weights, and untrained on tasks without any, in every
    format of the record.
    """
    from unrolling.systems.catalogue import catalogue

    own = Path(__file__).parent
    for name, system in catalogue().items():
        if own not in system.home.parents:
            continue
        for task in system.recipes:
            for stem in [path.stem for path in system.weights_files(task)] or [UNTRAINED]:
                for form in FORMS:
                    yield Pair(name, task, stem, form)


def weights_path(pair: Pair) -> Path | None:
    """The shipped file of a pair; None for an untrained network."""
    from unrolling.systems.catalogue import find

    if pair.weights == UNTRAINED:
        return None
    return find(pair.system).home / "weights" / f"{pair.weights}.safetensors"


def fingerprint(pair: Pair) -> str:
    """Of what was exported: the beginning of the weights' SHA-256."""
    path = weights_path(pair)
    return UNTRAINED if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def recorded() -> dict[Pair, dict[str, Any]]:
    """The record: for each pair ``holds``, ``of`` (its fingerprint), ``seconds`` of the processor, and ``error`` and
    ``sizes`` where it holds, ``reason`` where it does not.
    """
    if not PATH.is_file():
        return {}
    return {Pair(*row.pop("pair")): row for row in json.loads(PATH.read_text(encoding="utf-8"))}


def held(system: Any, task: str) -> list[str]:
    """The formats that a system's networks for a task were all found to hold in."""
    found: dict[str, list[bool]] = {}
    for pair, row in recorded().items():
        if (pair.system, pair.task) == (system.name, task):
            found.setdefault(pair.form, []).append(row["holds"])
    return [form for form, holds in found.items() if all(holds)]


def example_of(task: Any, batch: int | None = None, fixed: bool = False) -> Any:
    """Samples like the task's to export a network with, over again where they are too few: small ones, or those that it
    is timed on.

    Args:
        task: the task.
        batch: number of samples; by default as many as there are, at least 2.
        fixed: whether the file takes no other sizes, which then are those of the timing data.
    """
    data = task.timing.data if fixed else task.example()
    if tree.batch_size(data, "data") == 1 and len(tree.tensors(data)) > 1:
        # Of one sample it cannot be told what is per sample and what all of them share.
        data = task.timing.data
    have = tree.batch_size(data, "data")
    want = batch or min(max(have, 2), MOST)
    return data if want == have else tree.select(data, torch.arange(want) % have, have, "data")


def real_samples(task: Any, example: Any, fixed: bool = False) -> Callable[[int], Any] | None:
    """number of samples -> samples that the task draws, to compare on, or None where none of many have the numbers
    besides tensors (the factor of an enlargement) that a file is for; None where it draws of other shapes than were
    exported, or never with these numbers.
    """
    from unrolling.export.ports import constants

    generator, wanted = torch.Generator().manual_seed(0), constants(example)

    def draw(count: int) -> Any:
        for _ in range(DRAWS):
            found = task.draw(count, generator).data
            if constants(found) == wanted:
                return found
        return None

    first = draw(2)
    if first is None:
        return None
    drawn, given = map(tree.tensors, (first, example))
    fits = [(len(t) == 1, t.shape[1:] if fixed else t.ndim) for t in drawn] == [
        (len(t) == 1, t.shape[1:] if fixed else t.ndim) for t in given
    ]
    return draw if fits else None
