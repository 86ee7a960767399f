"""Metrics: what ranks estimates. Each gives pieces, one row per unit of resampling, and a value from any set of pieces,
so that an interval can be drawn by resampling units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, log10
from typing import Any, Literal

import torch
from torch import Tensor

from unrolling.core import tree
from unrolling.tasks.samples import Samples

TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Metric:
    """What ranks estimates; a subclass writes ``pieces`` and ``values``.

    NaN is the worst value: ``rank`` puts it last, and ``values`` of pieces with a NaN are NaN.

    Attributes:
        name: "PSNR".
        unit: "dB"; empty where it has none.
        better: "lower" or "higher".
        resampled: the unit of resampling, in words: what is drawn independently of the others (a picture, an utterance,
            a frame), never a part of one.
        logarithmic: whether ratios of values are what counts, as for error rates.
        places: decimals that are shown.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    resampled: str = "sample"
    logarithmic: bool = False
    places: int = 2

    def pieces(self, estimate: Any, samples: Samples) -> Tensor:
        """(units, width), a row per unit of resampling."""
        raise TypeError(f"{type(self).__name__} is a Metric without `pieces`")

    def values(self, pieces: Tensor) -> Tensor:
        """(..., units, width) in double precision -> (...): the metric of each set of units."""
        raise TypeError(f"{type(self).__name__} is a Metric without `values`")

    def value(self, pieces: Tensor) -> float:
        """The metric of one set of units."""
        return float(self.values(pieces.detach().double()))

    def singles(self, pieces: Tensor) -> Tensor:
        """The metric of each unit by itself, of as many as have one: (units,) or fewer."""
        return self.values(pieces.detach().double().unsqueeze(1))

    def shares(self, pieces: Tensor) -> Tensor | None:
        """(units, k), each unit's share of the sums that the metric is a function of (``of_sums``), which makes many
        sets of units cheap; None of a metric that is no such function.
        """
        return None

    def of_sums(self, sums: Tensor, units: int) -> Tensor:
        """(..., k) sums of ``shares`` over so many units -> (...)."""
        raise TypeError(f"{type(self).__name__} is no function of sums over units")

    def rank(self, value: float) -> float:
        """A key for ``min`` and ``sorted``: the smaller the better, NaN the worst."""
        if isnan(value):
            return float("inf")
        return value if self.better == "lower" else -value

    def at_least_as_good(self, value: float, other: float) -> bool:
        """Whether ``value`` is no worse than ``other``; NaN is no better than anything."""
        return not isnan(value) and self.rank(value) <= self.rank(other)

    def gain(self, value: float, other: float) -> float:
        """By how much ``value`` is better than ``other``; -inf where it is NaN, inf where only the other is."""
        if isnan(value):
            return -float("inf")
        if isnan(other):
            return float("inf")
        return other - value if self.better == "lower" else value - other

    def level(self, value: float) -> float:
        """A value on the scale in which differences are compared: of error rates 10 log10, one of zero as 10^-30."""
        return 10 * log10(max(value, 1e-30)) if self.logarithmic and not isnan(value) else value

    def text(self, value: float) -> str:
        """With its unit, for people: ``-21.43 dB``, ``0.0025 errors per bit``, ``0.813``."""
        return (f"{value:.3g} {self.unit}" if self.logarithmic else f"{value:.{self.places}f} {self.unit}").rstrip()


def _as_written(metric: Metric, kind: type[Metric]) -> bool:
    """Whether a metric's ``values`` are those of its kind: a subclass with values of its own has no sums."""
    return type(metric).values is kind.values


@dataclass(frozen=True)
class Ratio(Metric):
    """A ratio of two sums over all units: +10 log10(error / energy) in decibels, or the ratio itself where ``unit`` is
    not dB, as of error rates. Sums before the logarithm are what the literature reports.

    Attributes:
        each: (estimate, samples) -> (units, 2), a unit's share of both sums.
    """

    each: Callable[[Any, Samples], Tensor] | None = None

    def pieces(self, estimate: Any, samples: Samples) -> Tensor:
        return super().pieces(estimate, samples) if self.each is None else self.each(estimate, samples)

    def values(self, pieces: Tensor) -> Tensor:
        return self._scaled(pieces.sum(-2))

    def singles(self, pieces: Tensor) -> Tensor:
        """As ``Metric.singles``; a unit of no energy has no ratio."""
        return super().singles(pieces[pieces[:, 1] != 0])

    def shares(self, pieces: Tensor) -> Tensor | None:
        return pieces if _as_written(self, Ratio) else None

    def of_sums(self, sums: Tensor, units: int) -> Tensor:
        return self._scaled(sums)

    def _scaled(self, sums: Tensor) -> Tensor:
        above, below = sums.unbind(-1)
        if self.unit != "dB":
            return above / below.clamp_min(TINY)
        decibels = 10 * torch.log10(above.clamp_min(TINY) / below.clamp_min(TINY))
        return decibels if self.better == "lower" else -decibels


@dataclass(frozen=True)
class MeanRatio(Ratio):
    """The mean over units of each unit's own ratio: PSNR as pictures are scored, -10 log10(error / peak energy) of each
    picture.
    """

    def values(self, pieces: Tensor) -> Tensor:
        return self._scaled(pieces).mean(-1)

    def shares(self, pieces: Tensor) -> Tensor | None:
        return self._scaled(pieces).unsqueeze(1) if _as_written(self, MeanRatio) else None

    def of_sums(self, sums: Tensor, units: int) -> Tensor:
        return sums[..., 0] / units


@dataclass(frozen=True)
class Mean(Metric):
    """The mean over units of a number.

    Attributes:
        each: (estimate, samples) -> (units,).
    """

    each: Callable[[Any, Samples], Tensor] | None = None

    def pieces(self, estimate: Any, samples: Samples) -> Tensor:
        return super().pieces(estimate, samples) if self.each is None else self.each(estimate, samples).unsqueeze(1)

    def values(self, pieces: Tensor) -> Tensor:
        return pieces[..., 0].mean(-1)

    def shares(self, pieces: Tensor) -> Tensor | None:
        return pieces[:, :1] if _as_written(self, Mean) else None

    def of_sums(self, sums: Tensor, units: int) -> Tensor:
        return sums[..., 0] / units


@dataclass(frozen=True)
class MeanIoU(Metric):
    """Intersection over union of each class, summed over pictures, averaged over the classes that occur.

    Estimates are scores (batch, classes, ...) or labels (batch, ...); targets are labels.

    Attributes:
        classes: how many; labels are 0 to classes - 1, others are ignored in targets.
    """

    name: str = "mIoU"
    unit: str = ""
    better: Literal["lower", "higher"] = "higher"
    resampled: str = "picture"
    places: int = 3
    classes: int = 2

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        found, true = labels(estimate, samples.target)
        inside = (true >= 0) & (true < self.classes)
        rows = []
        for label in range(self.classes):
            ours, theirs = (found == label) & inside, true == label
            rows += [(ours & theirs).flatten(1).sum(1), (ours | theirs).flatten(1).sum(1)]
        return _spoilt(torch.stack(rows, dim=1).double(), estimate)

    def values(self, pieces: Tensor) -> Tensor:
        both, either = pieces.sum(-2).unflatten(-1, (self.classes, 2)).unbind(-1)
        occurs = either != 0  # true of NaN, which stays
        return torch.where(occurs, both / either, 0).sum(-1) / occurs.sum(-1)


@dataclass(frozen=True)
class AUC(Metric):
    """Area under the curve of true against false positives: the chance that a positive sample scores above a negative
    one. Estimates are scores (batch,) or (batch, ...), every entry a decision; targets are 0 or 1. By torchmetrics.
    """

    name: str = "AUC"
    unit: str = ""
    better: Literal["lower", "higher"] = "higher"
    places: int = 3

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return torch.stack([estimate.flatten(1), samples.target.to(estimate).flatten(1)], dim=2).flatten(1)

    def values(self, pieces: Tensor) -> Tensor:
        from torchmetrics.functional.classification import binary_auroc

        def one(own: Tensor) -> Tensor:
            score, label = own.unflatten(1, (-1, 2)).flatten(0, 1).unbind(1)
            if bool(score.isnan().any()) or bool((label == label[0]).all()):
                return score.new_tensor(float("nan"))
            # Scores become ranks, which torchmetrics does not take for logits.
            ranks = score.unique(return_inverse=True)[1].double() / len(score)
            return torch.as_tensor(binary_auroc(ranks, label.long())).double()

        sets = pieces.reshape(-1, *pieces.shape[-2:])
        return torch.stack([one(own) for own in sets]).view(pieces.shape[:-2])


def labels(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Labels of scores (batch, classes, ...) or of labels (batch, ...), and the true ones."""
    return (estimate.argmax(1) if estimate.ndim == target.ndim + 1 else estimate.round()), target


def _spoilt(pieces: Tensor, estimate: Tensor) -> Tensor:
    """Pieces, NaN for samples whose estimate holds a NaN: an ``argmax`` would pass over it."""
    return pieces.masked_fill(estimate.isnan().flatten(1).any(1, keepdim=True), float("nan"))


def nmse_pieces(estimate: Tensor, samples: Samples) -> Tensor:
    """Per sample: squared error and energy of the target."""
    target = samples.target
    # In double precision, which holds the squares of all that single precision holds.
    return torch.stack([tree.rows(part).abs().double().square().sum(1) for part in (estimate - target, target)], dim=1)


def picture_pieces(estimate: Tensor, samples: Samples) -> Tensor:
    """Per picture (batch, ..., height, width): squared error and number of pixels, the energy of a peak of 1."""
    error = tree.rows(estimate - samples.target).abs().double().square()
    return torch.stack([error.sum(1), torch.full_like(error[:, 0], error.shape[1])], dim=1)


def _right(estimate: Tensor, samples: Samples) -> Tensor:
    found, true = labels(estimate, samples.target)
    right = (found == true).reshape(len(true), -1).double()
    return _spoilt(torch.stack([right.sum(1), torch.full_like(right[:, 0], right.shape[1])], dim=1), estimate)


def _wrong(estimate: Tensor, samples: Samples) -> Tensor:
    right, count = _right(estimate, samples).unbind(1)
    return torch.stack([count - right, count], dim=1)


def _surprise(estimate: Tensor, samples: Samples) -> Tensor:
    each = torch.nn.functional.cross_entropy(estimate.double(), samples.target.long(), reduction="none")
    return each.reshape(len(each), -1).mean(1)


def _mutual_information(estimate: Tensor, samples: Samples) -> Tensor:
    from torchmetrics.functional.clustering import adjusted_mutual_info_score

    found, true = labels(estimate, samples.target)
    each = [float(adjusted_mutual_info_score(f.long(), t.long())) for f, t in zip(found, true, strict=True)]
    return _spoilt(torch.tensor(each, dtype=torch.float64).unsqueeze(1), estimate).squeeze(1)


NMSE = Ratio("NMSE", "dB", "lower", each=nmse_pieces)
PSNR = MeanRatio("PSNR", "dB", "higher", "picture", each=picture_pieces)
# Of labels or of scores of classes; tasks with an alphabet of their own count their errors themselves.
BER = Ratio("BER", "errors per bit", "lower", "frame", logarithmic=True, each=_wrong)
SER = Ratio("SER", "errors per symbol", "lower", "frame", logarithmic=True, each=_wrong)
ACCURACY = Ratio("accuracy", "", "higher", places=3, each=_right)
# -log of the probability that scores (batch, classes, ...) give to the true labels.
NLL = Mean("negative log-likelihood", "nats", "lower", places=3, each=_surprise)
# Of labels of the nodes of a graph, or the points of a set, (batch, nodes); chance has 0 (Vinh, Epps and Bailey 2010).
AMI = Mean("AMI", "", "higher", "graph", places=3, each=_mutual_information)
