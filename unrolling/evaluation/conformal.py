"""Error bars with a promise: half-widths that cover what is sought as often as said, for any network and any
distribution, as long as samples are exchangeable.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.evaluation.half_widths import usual_score
from unrolling.tasks.samples import Samples, count

Unit = Literal["entry", "sample"]
RARE = 0.01  # of an exchangeable sample's place among the calibration samples, below which it is said to be unlike them
UNLIKELY, FEW = 0.001, 3  # the same of the scores of a batch; samples, from which on that is tested


class Band(NamedTuple):
    """An estimate with half-widths: estimate - half_width to estimate + half_width, of complex numbers a disc."""

    estimate: Tensor  # (batch, ...)
    half_width: Tensor  # (batch, ...), real

    @property
    def low(self) -> Tensor:
        """The lower ends, of real numbers."""
        return self.estimate - self.half_width

    @property
    def high(self) -> Tensor:
        """The upper ends, of real numbers."""
        return self.estimate + self.half_width

    def contains(self, target: Tensor) -> Tensor:
        """Which entries lie within; a NaN lies nowhere."""
        return (target - self.estimate).abs() <= self.half_width


@dataclass(frozen=True)
class Coverage:
    """How often half-widths held on samples with known targets, and how wide they were."""

    level: float  # promised
    covered: float  # the share of units within, the mean over samples
    low: float  # of 95 % for that mean, samples being what varies
    high: float
    width: float  # mean half-width
    samples: int
    holds: bool  # whether the promise lies below the upper end

    def __str__(self) -> str:
        return (
            f"{100 * self.covered:.1f} % within ({100 * self.low:.1f} to {100 * self.high:.1f}), "
            f"{100 * self.level:g} % promised; mean half-width {self.width:.3g}; {self.samples} samples"
        )


class UnlikeCalibrationWarning(UserWarning):
    """Samples are not like those that half-widths were calibrated on, so that their promise does not hold."""


class Calibrated(nn.Module):
    """A network that gives an estimate and half-widths, from ``calibrate``.

    Called with data: a ``Band``; an ``UnlikeCalibrationWarning`` where a sample's scores lie outside nearly all of
    those that were seen in calibration.

    Args:
        score: data -> (estimate, positive score of each entry).
        factor: of the scores: a half-width is ``factor`` times the score.
        level: promised.
        unit: of which it is promised.
        errors: (samples,), root mean square errors of the calibration samples over the root mean square of their
            scores.
        seen: (samples,), root mean square scores of the calibration samples.
    """

    factor: Tensor
    errors: Tensor
    seen: Tensor

    def __init__(self, score: nn.Module, factor: float, level: float, unit: Unit, errors: Tensor, seen: Tensor) -> None:
        super().__init__()
        self.score, self.level, self.unit = score, level, unit
        self.register_buffer("factor", torch.tensor(float(factor), dtype=torch.float64))
        self.register_buffer("errors", errors.detach().double().sort().values)
        self.register_buffer("seen", seen.detach().double().sort().values)

    @property
    def samples(self) -> int:
        """Of the calibration."""
        return self.errors.numel()

    @torch.no_grad()
    def forward(self, data: Any) -> Band:
        estimate, score = self.score(data)
        number = int((self.places(_size(score)) < RARE).sum())
        if self.unlike(_size(score)):
            number = len(score)
        if number:
            warnings.warn(
                f"{number} of {len(score)} samples {'is' if number == 1 else 'are'} unlike the {self.samples} of the "
                f"calibration (their scores lie outside): half-widths do not promise {100 * self.level:g} % there",
                UnlikeCalibrationWarning,
                stacklevel=2,
            )
        return Band(estimate, self.factor.to(score.dtype) * score)

    def places(self, size: Tensor) -> Tensor:
        """For root mean square scores, how rare it is that an exchangeable sample's lies so far out, (batch,) in (0,
        1]: the two-sided conformal p-value, at least 2 / (samples + 1), so that some hundreds of calibration samples
        are needed to notice one odd sample. With fewer, scores that are twice the largest or half the smallest count
        as 0.
        """
        size = size.double().to(self.seen.device)
        above = (self.seen >= size.unsqueeze(1)).sum(1)
        below = (self.seen <= size.unsqueeze(1)).sum(1)
        place = (2.0 * (1 + torch.minimum(above, below)) / (self.samples + 1)).clamp(max=1.0)
        outside = (size > 2 * self.seen[-1]) | (2 * size < self.seen[0]) | size.isnan()
        return torch.where(outside, 0.0, place)

    def unlike(self, size: Tensor) -> bool:
        """Whether the root mean square scores of a batch, (batch,), are distributed otherwise than those of the
        calibration: Kolmogorov and Smirnov's test of two samples at 0.1 %, by its asymptotic law; of one or two samples
        it says nothing.
        """
        size = size.double().to(self.seen.device)
        one, two = len(size), self.samples
        if one < FEW or bool(size.isnan().any()):
            return bool(size.isnan().any())
        both = torch.cat((size, self.seen))
        parts = [(torch.searchsorted(each.sort().values, both, right=True) / len(each)) for each in (size, self.seen)]
        root = math.sqrt(one * two / (one + two))
        apart = (root + 0.12 + 0.11 / root) * float((parts[0] - parts[1]).abs().max())
        law = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * apart) ** 2) for k in range(1, 20))
        return law < UNLIKELY

    @torch.no_grad()
    def error_bound(self, data: Any, level: float | None = None) -> Tensor:
        """An upper bound of each sample's root mean square error, (batch,), which holds with the probability ``level``
        (by default that of the half-widths): the errors of the calibration samples over their scores, at the rank
        ceil((n + 1) level).

        Raises:
            ValueError: too few calibration samples for the level.
        """
        _, score = self.score(data)
        return _size(score) * _ranked(self.errors, self.level if level is None else level)

    def psnr_bound(self, data: Any, level: float | None = None, peak: float = 1.0) -> Tensor:
        """A lower bound of each sample's PSNR in dB, (batch,), with the probability ``level``: 20 log10(peak / bound of
        the error).
        """
        return 20 * torch.log10(peak / self.error_bound(data, level))

    def __repr__(self) -> str:
        return (
            f"Calibrated(level={self.level:g}, unit={self.unit!r}, score={type(self.score).__name__}, "
            f"factor={float(self.factor):.4g}, samples={self.samples})"
        )


@torch.no_grad()
def calibrate(
    network: nn.Module | Callable[[Any], Tensor],
    samples: Sequence[Samples],
    level: float = 0.9,
    *,
    score: nn.Module | None = None,
    unit: Unit = "entry",
) -> Calibrated:
    """Half-widths q s(y) around a network's estimates that hold as often as promised, on samples that are exchangeable
    with those given here, whatever the network and the distribution are.

    With ``unit="entry"`` the expected share of a new sample's entries (pixels, symbols, coefficients) that lie outside
    is at most 1 - level: conformal risk control (Angelopoulos et al. 2024, arXiv:2208.02814, (4)), q the smallest with
    (n / (n + 1)) R(q) + 1 / (n + 1) <= 1 - level, R(q) the mean share of misses of the n samples. Samples, not their
    entries, are exchangeable: pixels of a picture miss together. With ``unit="sample"`` the whole sample lies within
    with probability level: split conformal prediction (Vovk et al. 2005) of the largest |x - x^| / s.

    Args:
        network: data -> estimate (batch, ...). Unused where ``score`` is given.
        samples: batches with targets, none of which the network was trained on.
        level: promised, in (0, 1).
        score: data -> (estimate, positive scores s of its shape), such as ``LayerSpread``, ``NoiseSpread``,
            ``DropoutSpread``, ``LearnedHalfWidth``, ``Constant``; by default the spread over the last layers of an
            unrolled network, and a constant for any other.
        unit: of which coverage is promised.

    Raises:
        ValueError: a level outside (0, 1), a sample without a target, a target of another shape than the estimate's, a
            score that is not positive, fewer samples than the level needs (1 / (1 - level) - 1; 9 for 90 %), a NaN.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it is a probability between 0 and 1, such as 0.9")
    if unit not in ("entry", "sample"):
        raise ValueError(f"unit is {unit!r}; coverage is promised of an 'entry' or of a whole 'sample'")
    score = usual_score(network) if score is None else score
    measured = [one for batch in samples for one in _measured(score, batch)]
    number, needed = len(measured), least(level)
    if number < needed:
        raise ValueError(
            f"{100 * level:g} % needs {needed} samples at least; {number} were given: with n samples the promise is "
            "n / (n + 1) at most"
        )
    if unit == "sample":
        factor = float(_ranked(torch.stack([one.ratios.max() for one in measured]).sort().values, level))
    else:
        factor = _controlled([one.ratios for one in measured], level)
    errors = torch.stack([one.error / one.score for one in measured])
    return Calibrated(score, factor, level, unit, errors, torch.stack([one.score for one in measured]))


def least(level: float) -> int:
    """How many samples a level needs, n / (n + 1) being what n can promise."""
    return math.ceil(level / (1 - level) - 1e-9)


@torch.no_grad()
def coverage(calibrated: Calibrated, samples: Sequence[Samples]) -> Coverage:
    """How often the half-widths hold on samples with targets.

    Raises:
        ValueError: as ``calibrate``, but for the number of samples: one is enough.
    """
    measured = [one for batch in samples for one in _measured(calibrated.score, batch)]
    if not measured:
        raise ValueError("no samples were given; coverage is measured on one at least")
    whole, factor = calibrated.unit == "sample", float(calibrated.factor)
    within = [one.ratios <= factor for one in measured]
    share = torch.stack([held.all().double() if whole else held.double().mean() for held in within])
    mean, number = float(share.mean()), len(share)
    if whole or number == 1:  # Wilson's interval of a probability
        z = 1.96
        middle = (mean + z * z / (2 * number)) / (1 + z * z / number)
        reach = z / (1 + z * z / number) * math.sqrt(mean * (1 - mean) / number + z * z / (4 * number**2))
    else:
        middle, reach = mean, 1.96 * float(share.std()) / math.sqrt(number)
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    width = factor * float(torch.stack([one.mean_score for one in measured]).mean())
    return Coverage(calibrated.level, mean, low, high, width, number, calibrated.level <= high)


def symbol_sets(band: Band, constellation: Tensor) -> Tensor:
    """Which symbols are possible: those within the half-width, and the nearest one always, (batch, ..., symbols).

    Args:
        band: of estimates of symbols.
        constellation: (symbols,), real or complex as the estimates.

    Raises:
        ValueError: a constellation that is no vector.
    """
    if constellation.ndim != 1 or not constellation.numel():
        raise ValueError(f"constellation is (symbols,); got shape {tuple(constellation.shape)}")
    distance = (band.estimate.unsqueeze(-1) - constellation.to(band.estimate)).abs()
    nearest = distance == distance.min(-1, keepdim=True).values
    return (distance <= band.half_width.unsqueeze(-1)) | nearest


class _Measured(NamedTuple):
    """A sample with its target."""

    ratios: Tensor  # (entries,): |x - x^| / s
    error: Tensor  # root mean square of the error
    score: Tensor  # root mean square of the score
    mean_score: Tensor


def _measured(score: nn.Module, batch: Samples) -> list[_Measured]:
    if batch.target is None:
        raise ValueError("coverage is counted against targets; a batch of samples has none")
    if not isinstance(batch.target, Tensor):
        raise ValueError(f"a target is one tensor, as the estimate is; got {type(batch.target).__name__}")
    estimate, size = score(batch.data)
    if estimate.shape != batch.target.shape or size.shape != estimate.shape:
        raise ValueError(
            f"estimate, score and target have one shape; got {tuple(estimate.shape)}, {tuple(size.shape)} and "
            f"{tuple(batch.target.shape)}"
        )
    if count(batch) != estimate.shape[0]:
        raise ValueError(f"an estimate is batch first; got shape {tuple(estimate.shape)} for {count(batch)} samples")
    if not bool((size > 0).all()):
        raise ValueError("a score is positive everywhere; this one is zero, negative or NaN somewhere")
    error, size = (batch.target - estimate).abs().double().flatten(1), size.double().flatten(1)
    if not bool(error.isfinite().all()):
        raise ValueError("an estimate or a target is not finite")
    columns = (error / size, error.square().mean(1).sqrt(), _size(size), size.mean(1))
    return [_Measured(*one) for one in zip(*columns, strict=True)]


def _size(score: Tensor) -> Tensor:
    """Root mean square of each sample's score, (batch,)."""
    return score.double().square().flatten(1).mean(1).sqrt()


def _ranked(values: Tensor, level: float) -> Tensor:
    """Of sorted values the one at the rank ceil((n + 1) level): a new exchangeable value is no larger with probability
    level.
    """
    number = values.numel()
    rank = math.ceil((number + 1) * level - 1e-9)
    if not 0 < level < 1 or rank > number:
        raise ValueError(f"{number} calibration samples promise {number / (number + 1):.3g} at most; asked was {level}")
    return values[rank - 1]


def _controlled(ratios: Sequence[Tensor], level: float) -> float:
    """The smallest q at which the mean share of ratios above q is at most ((n + 1) (1 - level) - 1) / n."""
    number = len(ratios)
    allowed = ((number + 1) * (1 - level) - 1) / number
    values = torch.cat(list(ratios))
    weights = torch.cat([torch.full_like(ratio, 1 / (number * ratio.numel())) for ratio in ratios])
    order = values.argsort(descending=True)
    # Above the k-th largest value lie those before it: all values that are equal to it are within.
    missed = weights[order].cumsum(0)
    first = int(torch.searchsorted(missed, torch.tensor(max(allowed, 0.0) + 1e-12, dtype=missed.dtype), right=True))
    return float(values[order[min(first, len(order) - 1)]])
