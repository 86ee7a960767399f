"""What the parts of the benchmark of images share: networks, tuned classical methods, test sets, scores, times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.published import TABLES
from benchmarks.timing import alternate, compared
from unrolling import Unrolled
from unrolling.core import Iteration
from unrolling.evaluation.baselines import run_method
from unrolling.evaluation.classical import steps_of
from unrolling.systems.base import System
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images import sources as images
from unrolling.training.weights import load_weights, read_weights

Row = dict[str, Any]
Run = Callable[[Any], Tensor]


def psnr(estimate: Tensor, target: Tensor) -> float:
    """Of one image with a peak of 1, clipped."""
    return float(-10 * (estimate.clamp(0, 1) - target).square().mean().log10())


def network(name: str, task: str, weights: Path | None, *, depth: int | None = None, **options: Any) -> Unrolled | None:
    """With weights from the folder, or from a file of this system's, else the shipped ones; None where there are
    neither.
    """
    system: System = find(name)
    recipe = system.recipes[task]
    shipped = system.weights_path(task, depth or recipe.depth, options)
    path = shipped
    if weights is not None and weights.is_file() and read_weights(weights)[2]["system"] == name:
        path = weights
    elif weights is not None and (weights / shipped.name).is_file():
        path = weights / shipped.name
    if not path.is_file():
        layers = f", {depth} layers" if depth else ""
        print(f"no weights for {name}, {task}{layers}: left out", file=sys.stderr)
        return None
    _, fixed, card = read_weights(path)
    found = system.network(recipe, system.task(task, fixed=fixed, **options), card["depth"])
    load_weights(found, path, system=name)
    return found.eval()


def methods_of(task: Any, *kinds: type | str) -> list[Any]:
    """The baselines of a task that are of a class, or of a kind: classical ones, other libraries'."""
    return [b for b in task.baselines(1) if type(b) in kinds or getattr(b, "kind", "") in kinds]


def direct(task: Any, *kinds: str) -> dict[str, Run]:
    """Methods that do not go step by step, their settings from validation data."""
    return {method.name: run_method(task, method).run for method in methods_of(task, *kinds)}


def chosen(method: Iterative, task: Any, batches: int = 4) -> tuple[Iteration, Any]:
    """The method with the setting that is best on validation data."""

    def score(weight: Any) -> float:
        held = task.validation[:batches]
        rows = [task.pieces(steps_of(method.make(weight), method.tuning or method.iterations)(b.data), b) for b in held]
        return task.metric.value(torch.cat(rows))

    weights = list(method.settings)
    best = max(weights, key=score) if len(weights) > 1 else weights[0]
    return method.make(best), best


def sets(root: Path, *names: str) -> dict[str, dict[str, Tensor]]:
    """Those that are there."""
    return {name: images.folder(root / name) for name in names if not absent(root / name)}


def absent(folder: Path) -> bool:
    """Whether a set is not there, and then a word about it."""
    if folder.is_dir():
        return False
    print(f"{folder} is not there: left out", file=sys.stderr)
    return True


def beside(row: Row, table: str, column: str) -> list[Row]:
    """The published rows of a set at a level, a quality, a factor or a rate, made from the row of a measurement."""
    return [{**row, "method": method, "psnr": value} for method, value in TABLES[table].at(column)]


NUMBERS = ("gain", "worst", "below", "most", "ratio", "low", "high", "seconds", "gigabytes")


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    words = [f"{row['psnr']:.2f} dB"] if "psnr" in row else []
    words += [f"{key} {row[key]:.4g}" for key in NUMBERS if key in row]
    return f"{row['part']:8s} {row['set']:32s} {row['method']:64s} {' '.join(words)}"


def scored(
    part: str,
    name: str,
    methods: dict[str, Run],
    pairs: list[tuple[Any, Tensor]],
    score: Callable[[Tensor, Tensor], float] = psnr,
) -> list[Row]:
    """The mean over images of the PSNR of each method."""
    with torch.no_grad():
        return [
            {
                "part": part,
                "set": name,
                "method": method,
                "images": len(pairs),
                "psnr": float(np.mean([score(run(data), target) for data, target in pairs])),
            }
            for method, run in methods.items()
        ]


def speed(part: str, methods: dict[str, Run], data: Any, ours: str, seconds: float) -> list[Row]:
    """Time of each over ours, on one image."""
    with torch.no_grad():
        times = alternate({name: lambda run=run: run(data) for name, run in methods.items()}, seconds=seconds, least=3)
    return [
        {"part": part, "set": "time of one image", "method": name, **compared(times, name, ours)}
        for name in methods
        if name != ours
    ]
