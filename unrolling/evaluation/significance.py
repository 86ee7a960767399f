"""Whether two methods differ on the same samples."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from unrolling.evaluation.records import Paired
from unrolling.tasks.metrics import Metric

RESAMPLES = 1000
PERMUTATIONS = 9999  # of the test; no p is below 1 / (1 + PERMUTATIONS)
MOST_COUNTED = 20_000  # units whose counts in all resamples are held at once
ENOUGH = 20  # units below which an interval is said to rest on few


def paired(metric: Metric, theirs: Tensor, ours: Tensor, seed: int = 0) -> Paired | None:
    """The difference of a metric between two methods that were given the same units; see ``paired_rows``.

    Args:
        metric: of both.
        theirs: (units, width) pieces of one method.
        ours: those of the other.
        seed: of the resampling.

    Returns:
        None where the units are not the same.
    """
    return None if theirs.shape != ours.shape else paired_rows(metric, [theirs], ours, seed)[0]


def paired_rows(metric: Metric, several: Sequence[Tensor], ours: Tensor, seed: int = 0) -> list[Paired]:
    """The differences of several methods from one, all given the same units.

    An interval resamples units, both methods' together. The test swaps the two methods' pieces in random units: exact
    when the methods are exchangeable (Pitman 1937), whatever the distribution of errors. A swap whose difference is as
    large as the one that was found, up to rounding, counts against it (a tie), and so does the order that was found
    itself: p is at least 1 / (1 + PERMUTATIONS), and with n units at least about 2^-(n - 1).

    Args:
        metric: of all.
        several: (units, width) pieces of each.
        ours: those of the one.
        seed: of the resampling.
    """
    several, ours = [each.detach().double().cpu() for each in several], ours.detach().double().cpu()
    value, own = metric.value(ours), resampled_values(metric, ours, seed)
    values = [metric.value(each) for each in several]
    sizes = [abs(each - value) for each in values]
    # Not `>=` below: a difference that is NaN must not make another one look significant.
    levels = [size - 1e-9 * size - 1e-12 * max(abs(each), abs(value)) for size, each in zip(sizes, values, strict=True)]
    as_large = [0] * len(several)
    for number, swapped in _swapped(metric, several, ours, seed + 1):
        as_large[number] += int((~(swapped.abs() < levels[number])).sum())
    return [
        Paired(
            each - value,
            *bounds([resampled_values(metric, pieces, seed) - own]),
            (1 + large) / (1 + PERMUTATIONS),
        )
        for pieces, each, large in zip(several, values, as_large, strict=True)
    ]


def _swapped(metric: Metric, several: Sequence[Tensor], ours: Tensor, seed: int) -> Iterator[tuple[int, Tensor]]:
    """The differences of each method after random swaps, PERMUTATIONS in all, in parts; by one matrix product for all
    where the metric is a function of sums over units.
    """
    generator, count = torch.Generator().manual_seed(seed), len(ours)
    own, shares = metric.shares(ours), [metric.shares(each) for each in several]
    known = [share for share in shares if share is not None]
    for part in _parts(count, PERMUTATIONS):
        swap = torch.randint(2, (part, count), generator=generator, dtype=torch.uint8)
        if own is None or len(known) < len(shares):
            chosen = swap.bool().unsqueeze(2)
            for number, each in enumerate(several):
                one, other = torch.where(chosen, ours, each), torch.where(chosen, each, ours)
                yield number, metric.values(one) - metric.values(other)
        elif known:
            moved = (swap.double() @ torch.cat([own - share for share in known], dim=1)).split(own.shape[1], dim=1)
            for number, (share, change) in enumerate(zip(known, moved, strict=True)):
                one, other = share.sum(0) + change, own.sum(0) - change
                yield number, metric.of_sums(one, count) - metric.of_sums(other, count)


def resampled_values(metric: Metric, pieces: Tensor, seed: int) -> Tensor:
    """The metric of each resample, (resamples,); empty of a single unit."""
    shares, count = metric.shares(pieces), len(pieces)
    if count < 2:
        return pieces.new_empty(0)
    if shares is None or count > MOST_COUNTED:
        return torch.cat([metric.values(pieces[index]) for index in resamples(count, seed)])
    return metric.of_sums(_counts(count, seed) @ shares, count)


@functools.lru_cache(maxsize=1)
def _counts(count: int, seed: int) -> Tensor:
    """How often each unit is drawn in each resample, (resamples, count)."""
    parts = [
        torch.zeros(len(index), count, dtype=torch.float64).scatter_add_(
            1, index, torch.ones(1, 1, dtype=torch.float64).expand_as(index)
        )
        for index in resamples(count, seed)
    ]
    return torch.cat(parts)


def holm(ps: Sequence[float]) -> list[float]:
    """Values of p of several tests so that the chance of any false call among them is that of one (Holm 1979): the k-th
    smallest of m is multiplied by m - k + 1, and none is below one before it.
    """
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def resamples(count: int, seed: int) -> Iterator[Tensor]:
    """Which of ``count`` units are drawn in each of the resamples, (resamples, count) in all, in parts that fit into
    memory; none of a single unit, which tells nothing of its spread.
    """
    generator = torch.Generator().manual_seed(seed)
    for part in _parts(count, RESAMPLES) if count > 1 else ():
        yield torch.randint(count, (part, count), generator=generator)


def bounds(values: list[Tensor]) -> tuple[float, float]:
    """The middle 95 % of resampled values; NaN where one is, or where there are none."""
    if not sum(map(len, values)):
        return float("nan"), float("nan")
    low, high = torch.quantile(torch.cat(values), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def few(metric: Metric, count: int) -> str:
    """What to say of an interval over so many units; nothing of enough."""
    if count >= ENOUGH:
        return ""
    return f"over {count} {metric.resampled}{'' if count == 1 else 's'} only: a bootstrap of so few is too narrow"


def _parts(count: int, total: int) -> Iterator[int]:
    most = max(1, 1_000_000 // max(1, count))
    for begin in range(0, total, most):
        yield min(most, total - begin)
