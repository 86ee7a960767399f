"""What a task is: data with targets, drawn or held, a loss, and the metric that ranks estimates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import tree


class Samples(NamedTuple):
    """A batch with its targets."""

    data: Any  # (batch, ...) tensor, or a NamedTuple of such
    target: Tensor  # (batch, ...)


@dataclass(frozen=True)
class Metric:
    """A ratio of sums in decibels, averaged over groups: +10 log10(error / energy) for NMSE, -10 log10(error / peak energy) for PSNR.

    Sums before the logarithm are what the literature reports; keeping the pieces apart lets an interval be drawn by resampling them.
    """

    name: str
    unit: str
    better: str  # "lower" or "higher"

    def value(self, pieces: Tensor) -> float:
        """The metric in dB from (k, 3) rows of error, energy and group number; groups (such as photographs) count equally."""
        groups = pieces[:, 2].unique()
        sums = torch.stack([pieces[pieces[:, 2] == group, :2].sum(0) for group in groups]).double()
        tiny = torch.finfo(torch.float64).tiny
        decibels = 10 * torch.log10(sums[:, 0].clamp_min(tiny) / sums[:, 1].clamp_min(tiny))
        return float(decibels.mean()) * (1 if self.better == "lower" else -1)

    def at_least_as_good(self, value: float, other: float) -> bool:
        """Whether ``value`` is no worse than ``other``."""
        return value <= other if self.better == "lower" else value >= other


NMSE = Metric("NMSE", "dB", "lower")
PSNR = Metric("PSNR", "dB", "higher")


def nmse_pieces(estimate: Tensor, target: Tensor) -> Tensor:
    """Per sample: squared error and energy of the target, one group."""
    error = (estimate - target).flatten(1).abs().square().sum(1)
    energy = target.flatten(1).abs().square().sum(1)
    return torch.stack([error, energy, torch.zeros_like(error)], dim=1)


class Task:
    """A forward model with data: what a system is trained for and measured on.

    Attributes:
        name: as in ``--task``.
        summary: one sentence for the page.
        metric: what ranks estimates.
        validation: held-out batches on which classical methods are tuned.
        test: batches that only scores are computed on; samples of one batch have one shape.
        timing: one batch for measuring times; its first sample is the single one.
        pictures: whether targets are grey pictures in [0, 1], (batch, height, width).
        grains: into how many draws a training batch may be divided. Numbers of processes and micro-batches that divide it see the same samples.
            1 where what the samples of a draw share is itself random.
    """

    name: str
    summary: str
    metric: Metric
    validation: list[Samples]
    test: list[Samples]
    timing: Samples
    pictures: bool = False
    grains: int = 8

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """A random training batch; the same generator state gives the same batch. Further keyword arguments, numbers, are what a curriculum may change."""
        raise TypeError(f"{type(self).__name__} has no training data")

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Mean squared error; a scalar."""
        return (estimate - target).square().mean()

    def pieces(self, estimate: Tensor, target: Tensor, first_group: int = 0) -> Tensor:
        """(k, 3) rows of error, energy and group number for ``metric``; ``first_group`` numbers the batch's first sample where samples are groups."""
        return nmse_pieces(estimate, target)

    def identity(self) -> dict[str, Any]:
        """What was trained on, for a weights card: name, options, a fingerprint of the data."""
        return {"name": self.name}

    def fixed(self) -> dict[str, Tensor]:
        """What a weights file must hold for the task to be built again around it: the ``fixed`` argument of a task."""
        return {}

    def rows(self, data: Any) -> Tensor:
        """Data as (rows, m) vectors, for methods that know vectors only: one row per sample, or per block of one."""
        return data

    def target_rows(self, target: Tensor) -> Tensor:
        """Targets as (rows, k) vectors, in the order of ``rows``."""
        return target

    def assemble(self, rows: Tensor, data: Any) -> Tensor:
        """Estimates from (rows, k) vectors, the inverse of ``target_rows``."""
        return rows


@torch.inference_mode()
def estimates_of(run: Callable[[Any], Tensor], batches: Sequence[Samples], limit: int | None = None) -> list[Tensor]:
    """A method's estimates on held-out batches, at most ``limit`` samples of each."""
    return [run(batch.data if limit is None else first(batch, limit).data) for batch in batches]


def pieces_of(task: Task, batches: Sequence[Samples], estimates: Sequence[Tensor]) -> Tensor:
    """The metric's pieces of estimates, which may be fewer than the samples of a batch."""
    pieces, group = [], 0
    for batch, estimate in zip(batches, estimates, strict=True):
        pieces.append(task.pieces(estimate, batch.target[: len(estimate)], group))
        group += len(estimate)
    return torch.cat(pieces)


def evaluate(run: Callable[[Any], Tensor], task: Task, batches: Sequence[Samples]) -> Tensor:
    """The metric's pieces of a method on held-out batches."""
    return pieces_of(task, batches, estimates_of(run, batches))


def first(batch: Samples, count: int) -> Samples:
    """The first samples of a batch."""
    size = len(batch.target)
    index = torch.arange(min(count, size), device=batch.target.device)
    return Samples(tree.select(batch.data, index, size, "data"), batch.target[index])
