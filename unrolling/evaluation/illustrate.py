"""What a comparison shows beside its numbers: pictures, codes, learned quantities, and its headline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.evaluation.measure import Contender
from unrolling.evaluation.records import Parameter, Picture, Row
from unrolling.tasks.base import Task


def pictures(
    task: Task, contenders: Sequence[Contender], estimates: Sequence[list[Tensor]], rows: Sequence[Row], most: int = 2
) -> list[Picture]:
    """The first test photographs as the best classical method, the generic ones and the network recover them."""
    best = min(
        (number for number, row in enumerate(rows) if row.role in ("parent", "classical")),
        key=lambda number: task.metric.rank(rows[number].quality.mean),
    )
    shown = [
        best,
        *(n for n, row in enumerate(rows) if row.role == "generic"),
        *(n for n, row in enumerate(rows) if row.role == "network"),
    ]
    names = list(getattr(task, "photographs", {}).get("test", []))
    found = []
    for number, batch in enumerate(task.test[:most]):
        panels = [("original", batch.target[0].cpu().numpy())]
        for index in shown:
            estimate = estimates[index][number]
            score = task.metric.value(task.pieces(estimate, batch))
            panels.append(
                (f"{contenders[index].name}: {score:.2f} {task.metric.unit}", estimate[0].clamp(0, 1).cpu().numpy())
            )
        found.append(Picture(names[number] if number < len(names) else f"photograph {number + 1}", panels))
    return found


@torch.no_grad()
def layer_pictures(task: Task, network: Unrolled, side: int = 256) -> list[Picture]:
    """The first test photograph, its busiest part, after each layer."""
    batch = task.test[0]
    panels = [("original", batch.target[0].cpu().numpy())]
    for number, estimate in enumerate(network.estimates(batch.data), 1):
        score = task.metric.value(task.pieces(estimate, batch))
        panels.append((f"layer {number}: {score:.2f} {task.metric.unit}", estimate[0].clamp(0, 1).cpu().numpy()))
    names = list(getattr(task, "photographs", {}).get("test", []))
    return [
        Picture(
            names[0] if names else "the first test picture",
            [(caption, panel[:side, :side]) for caption, panel in panels],
        )
    ]


def codes(
    task: Task, contenders: Sequence[Contender], estimates: Sequence[list[Tensor]], most: int = 3
) -> list[tuple[str, np.ndarray]]:
    """The first test samples: the target, the parent's estimate after as many iterations, and the network's."""
    parent = next((n for n, c in enumerate(contenders) if c.role == "parent"), None)
    network = next(n for n, c in enumerate(contenders) if c.role == "network")
    shown = [("target", task.test[0].target)] + [
        (contenders[n].name, estimates[n][0]) for n in (parent, network) if n is not None
    ]
    return [
        (f"sample {sample + 1}: {name}", values[sample].cpu().numpy())
        for sample in range(min(most, len(task.test[0].target)))
        for name, values in shown
    ]


def parameters(network: Unrolled) -> list[Parameter]:
    """Every learned quantity over the layers, beside its classical value."""
    grouped: dict[str, Parameter] = {}
    for row in network.parameter_table():
        entry = grouped.setdefault(row.name, Parameter(row.name, [], [], row.classical.cpu().numpy()))
        entry.layers.append(row.layer)
        entry.learned.append(row.value.detach().cpu().numpy())
    return list(grouped.values())


def headline(title: str, task: Task, rows: Sequence[Row]) -> str:
    """One sentence: what was saved, against which baseline, at what quality."""
    metric = task.metric
    sign = 1 if metric.better == "higher" else -1
    network = next(row for row in rows if row.role == "network")
    depth = network.iterations or 1
    text = (
        f"{title} reaches {metric.text(network.quality.mean)} {metric.name} in {depth} layer{'s' if depth > 1 else ''}"
    )
    classical = [row for row in rows if row.role in ("parent", "classical")]
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
    linear = next((row for row in rows if row.name == "linear MMSE"), None)
    if linear is not None:
        gap = sign * (network.quality.mean - linear.quality.mean)
        text += f"; the best linear estimate is {metric.text(abs(gap))} {'worse' if gap > 0 else 'better'}"
    return text + "."
