"""How far a network can be trusted away from its training data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from unrolling.evaluation.budget import foreseen, part_of
from unrolling.evaluation.measure import Contender, interval
from unrolling.evaluation.records import ShiftCurve, ShiftReport, SizeCurve
from unrolling.tasks.base import Metric, Samples, Shift, Task, evaluate
from unrolling.tasks.samples import count, first, select


def sweep(
    task: Task, shifts: Sequence[Shift], contenders: Sequence[Contender], budget: float | None = None
) -> list[ShiftReport]:
    """The metric of each method at every value of every shift.

    Args:
        task: its metric.
        shifts: of the task.
        contenders: the network first; a parent among them gives the crossing. Parameters stay as they were tuned on
            unshifted validation data.
        budget: foreseen seconds of all of it, kept to by fewer samples, the same for all methods; None for any.
    """
    reports = []
    for shift in shifts:
        samples = [shift.make(value) for value in shift.values]
        if budget is not None:
            each = sum(_seconds(contender, samples[0]) for contender in contenders) * len(samples)
            share = budget / len(shifts) / max(each, 1e-12)
            samples = [batch for whole in samples for batch in part_of([whole], share).batches]
        curves = []
        for contender in contenders:
            found = [interval(task.metric, evaluate(contender.run, task, [batch])) for batch in samples]
            quality = [each.mean for each in found]
            curves.append(
                ShiftCurve(
                    contender.name,
                    contender.role,
                    quality,
                    sum(quality) / len(quality) if quality else float("nan"),
                    found,
                )
            )
        parent = next((curve for curve in curves if curve.role == "parent"), None)
        crossing = None if parent is None else _crossing(task.metric, shift, curves[0].quality, parent.quality)
        reports.append(
            ShiftReport(
                shift.name,
                shift.words,
                list(shift.values),
                shift.trained,
                curves,
                crossing,
                parent.name if parent else None,
            )
        )
    return reports


def _seconds(contender: Contender, samples: Samples) -> float:
    """Foreseen, of a method on a batch, by what it does with the first samples."""
    part = first(samples, 8)
    scale = count(samples) / count(part)
    if contender.prepare is None or contender.part is None:
        return scale * foreseen(lambda: contender.run(part.data))
    begun, advance = contender.prepare(part.data), contender.part
    return scale * contender.scale * foreseen(lambda: advance(begun))


def _crossing(metric: Metric, shift: Shift, network: Sequence[float], parent: Sequence[float]) -> float | None:
    """Where the network falls behind, between two values by linear interpolation of the difference; on both sides of
    the training's value.
    """
    gaps = [metric.gain(a, b) for a, b in zip(network, parent, strict=True)]
    start = shift.values.index(shift.trained) if shift.trained in shift.values else 0
    if gaps[start] < 0:
        return shift.values[start]
    found = []
    for path in (range(start, len(gaps)), range(start, -1, -1)):
        for before, after in pairwise(path):
            if gaps[before] >= 0 > gaps[after]:
                # Nothing lies between a value and one at which a method fails.
                both = isfinite(gaps[before]) and isfinite(gaps[after])
                part = gaps[before] / (gaps[before] - gaps[after]) if both else 1.0
                found.append(shift.values[before] + part * (shift.values[after] - shift.values[before]))
                break
    return min(found, key=lambda value: abs(value - shift.values[start])) if found else None


class FewSamples(Task):
    """A task that trains on a fixed number of its samples, drawn once.

    Args:
        task: whose samples.
        count: how many.
        seed: which ones.
    """

    grains = 1

    def __init__(self, task: Task, count: int, seed: int = 0) -> None:
        if count < 1:
            raise ValueError(f"count is {count}; training needs at least one sample")
        self._task, self._count, self._seed = task, count, seed
        self.name, self.metric = task.name, task.metric
        self.validation, self.test, self.timing = task.validation, task.test, task.timing
        self._pool: Samples | None = None
        self.loss = task.loss  # whatever it asks for

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        if self._pool is None:
            self._pool = self._task.draw(self._count, torch.Generator().manual_seed(7_000_003 + self._seed))
        index = torch.randint(self._count, (batch,), generator=generator)
        return select(self._pool, index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return self._task.pieces(estimate, samples)

    def rows(self, data: Any) -> Tensor:
        return self._task.rows(data)

    def target_rows(self, target: Tensor) -> Tensor:
        return self._task.target_rows(target)

    def assemble(self, rows: Tensor, data: Any) -> Tensor:
        return self._task.assemble(rows, data)

    def identity(self) -> dict[str, Any]:
        return {**self._task.identity(), "samples": self._count}


def size_sweep(
    task: Task, trainers: Sequence[tuple[str, str, Callable[[Task], Callable[[Any], Tensor]]]], sizes: Sequence[int]
) -> list[SizeCurve]:
    """Quality against the number of training samples.

    Args:
        task: its test set.
        trainers: name, role, and what trains a method on a task.
        sizes: numbers of samples; all of them come last.
    """
    curves = [SizeCurve(name, role, [*sizes, None], []) for name, role, _ in trainers]
    for size in [*sizes, None]:
        own = task if size is None else FewSamples(task, size)
        for curve, (_, _, train) in zip(curves, trainers, strict=True):
            curve.quality.append(task.metric.value(evaluate(train(own), task, task.test)))
    return curves
