"""What a comparison shows beside its numbers: learned quantities, atoms, and its headline."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from unrolling.core import Unrolled
from unrolling.evaluation.records import Parameter, Row
from unrolling.tasks.base import Task


def atoms(task: Task, network: Unrolled) -> list[tuple[str, np.ndarray]]:
    """The atoms of the parent and of the last layer, where they differ."""
    classical, learned = task.atoms(network.parent), task.atoms(network.layers[-1])
    if classical is None or learned is None or torch.equal(classical, learned):
        return []
    return [("classical", classical.cpu().numpy()), ("learned, last layer", learned.cpu().numpy())]


def parameters(network: Unrolled) -> list[Parameter]:
    """Every learned quantity over the layers, beside its classical value."""
    grouped: dict[str, Parameter] = {}
    for row in network.parameter_table():
        entry = grouped.setdefault(row.name, Parameter(row.name, [], [], row.classical.cpu().numpy()))
        entry.layers.append(row.layer)
        entry.learned.append(row.value.detach().cpu().numpy())
    return list(grouped.values())


def headline(title: str, task: Task, rows: Sequence[Row]) -> str:
    """One sentence: what was saved, against which baseline, at what quality. A row that failed has no quality."""
    metric = task.metric
    sign = 1 if metric.better == "higher" else -1
    network = next(row for row in rows if row.role == "network")
    depth = network.iterations or 1
    text = (
        f"{title} reaches {metric.text(network.quality.mean)} {metric.name} in {depth} layer{'s' if depth > 1 else ''}"
    )
    measured = [row for row in rows if not math.isnan(row.quality.mean)]
    classical = [row for row in measured if row.role in ("parent", "classical")]
    matching = [row for row in classical if "until it matches" in row.name]
    if matching:
        soonest = min(matching, key=lambda row: row.iterations or 0)
        name, count = soonest.name.split(", until")[0], soonest.iterations or 0
        text += (
            f"; of the classical methods {name} needs the fewest iterations for that, {count} "
            f"({count / depth:.1f} times as many)"
        )
    ended = [row for row in classical if "at convergence" in row.name]
    if ended:
        best = max(ended, key=lambda row: sign * row.quality.mean)
        gap = sign * (network.quality.mean - best.quality.mean)
        side = "behind" if gap > 0 else "ahead"
        text += (
            f"; {best.name.split(', at')[0]}, run to convergence ({best.iterations} iterations), ends "
            f"{metric.text(abs(gap))} {side}"
        )
    linear = next((row for row in measured if row.name == "linear MMSE"), None)
    if linear is not None:
        gap = sign * (network.quality.mean - linear.quality.mean)
        text += f"; the best linear estimate is {metric.text(abs(gap))} {'worse' if gap > 0 else 'better'}"
    return text + "."
