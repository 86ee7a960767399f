"""What a task is: data with targets, drawn or held, a loss, and the metric that ranks estimates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import tree


class Samples(NamedTuple):
    """A batch with its targets."""

    data: Any  # (batch, ...) tensor, or a NamedTuple of such
    target: Tensor  # (batch, ...)


@dataclass(frozen=True)
class Shift:
    """One way in which the world may differ from the training data.

    Attributes:
        name: what changes, with its unit: "noise, SNR in dB".
        values: from the mildest on; one of them may be the training's own.
        make: value -> held-out samples.
        trained: the training's own value; None where it is not on this axis.
        words: one sentence for the page.
    """

    name: str
    values: tuple[float, ...]
    make: Callable[[float], Samples]
    trained: float | None
    words: str


@dataclass(frozen=True)
class Metric:
    """A ratio of sums in decibels, averaged over groups: +10 log10(error / energy) for NMSE, -10 log10(error / peak
    energy) for PSNR.

    Sums before the logarithm are what the literature reports; keeping the pieces apart lets an interval be drawn by
    resampling them. Error rates are the ratio itself: pieces are wrong decisions and how many were made.
    """

    name: str
    unit: str
    better: str  # "lower" or "higher"
    decibels: bool = True  # False: the ratio as it is

    def value(self, pieces: Tensor) -> float:
        """The metric from (k, 3) rows of error, energy and group number; groups (such as photographs) count equally."""
        number = pieces[:, 2]
        if bool((number == number[0]).all()):
            sums = pieces[:, :2].detach().sum(0, keepdim=True)
        else:
            sums = torch.stack([pieces[number == group, :2].detach().sum(0) for group in number.unique()])
        return float(self.of_sums(sums))

    def of_sums(self, sums: Tensor) -> Tensor:
        """The metric from sums of error and energy by group, (..., groups, 2) -> (...)."""
        tiny = torch.finfo(torch.float64).tiny
        error, energy = sums.double().unbind(-1)
        if not self.decibels:
            return (error / energy.clamp_min(tiny)).mean(-1)
        decibels = 10 * torch.log10(error.clamp_min(tiny) / energy.clamp_min(tiny))
        return decibels.mean(-1) * (1 if self.better == "lower" else -1)

    def level(self, value: float) -> float:
        """A value in dB, in which differences between two can be compared; a ratio as 10 log10, one of zero as that of
        one in 10^30.
        """
        return value if self.decibels else 10 * log10(max(value, 1e-30))

    def text(self, value: float) -> str:
        """With its unit, for people: ``-21.43 dB``, ``2.5e-03 errors per bit``."""
        return f"{value:.2f} {self.unit}" if self.decibels else f"{value:.3g} {self.unit}"

    def at_least_as_good(self, value: float, other: float) -> bool:
        """Whether ``value`` is no worse than ``other``."""
        return value <= other if self.better == "lower" else value >= other


NMSE = Metric("NMSE", "dB", "lower")
PSNR = Metric("PSNR", "dB", "higher")
BER = Metric("BER", "errors per bit", "lower", decibels=False)
SER = Metric("SER", "errors per symbol", "lower", decibels=False)


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
        rate: of the sounds that targets are, (batch, sources, samples), in Hz; None where they are none. Such a task
            also has ``sources`` and ``scored``.
        grains: into how many draws a training batch may be divided. Numbers of processes and micro-batches that divide
            it see the same samples. 1 where what the samples of a draw share is itself random.
        units: of the data (by field where they have several) and of the estimate, for the card of an exported network:
            ``{"data": "Pa", "estimate": "Pa"}``.
    """

    name: str
    summary: str
    metric: Metric
    validation: list[Samples]
    test: list[Samples]
    timing: Samples
    pictures: bool = False
    rate: int | None = None
    grains: int = 8
    units: Mapping[str, str] = {}

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """A random training batch; the same generator state gives the same batch. Further keyword arguments, numbers,
        are what a curriculum may change.
        """
        raise TypeError(f"{type(self).__name__} has no training data")

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Mean squared error; a scalar."""
        return (estimate - target).square().mean()

    def pieces(self, estimate: Tensor, target: Tensor, first_group: int = 0) -> Tensor:
        """(k, 3) rows of error, energy and group number for ``metric``; ``first_group`` numbers the batch's first
        sample where samples are groups.
        """
        return nmse_pieces(estimate, target)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Further metrics of estimates, by name with the unit; none by default."""
        return {}

    def shifts(self) -> Sequence[Shift]:
        """Ways in which data may differ from those that were trained on; none by default."""
        return ()

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
