"""Whether two methods differ on the same samples."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unrolling.evaluation.records import Paired
from unrolling.tasks.metrics import Metric

RESAMPLES = 1000
ENOUGH = 20  # units below which an interval is said to rest on few


def paired(metric: Metric, theirs: Tensor, ours: Tensor, seed: int = 0) -> Paired | None:
    """The difference of a metric between two methods that were given the same units.

    The interval resamples units, both methods' together. The test swaps the two methods' pieces in random units: exact
    when the methods are exchangeable (Pitman 1937), whatever the distribution of errors. With n units p is no less than
    about 2^-(n - 1).

    Args:
        metric: of both.
        theirs: (units, width) pieces of one method.
        ours: those of the other.
        seed: of the resampling.

    Returns:
        None where the units are not the same.
    """
    if theirs.shape != ours.shape:
        return None
    theirs, ours = theirs.detach().double().cpu(), ours.detach().double().cpu()
    observed = metric.value(theirs) - metric.value(ours)
    drawn = [metric.values(theirs[i]) - metric.values(ours[i]) for i in resamples(len(ours), seed)]
    generator = torch.Generator().manual_seed(seed + 1)
    as_large = 0
    for part in _parts(len(ours)):
        swap = torch.randint(2, (part, len(ours), 1), generator=generator).bool()
        swapped = metric.values(torch.where(swap, ours, theirs)) - metric.values(torch.where(swap, theirs, ours))
        # Not `>=`: a difference that is NaN must not make another one look significant.
        as_large += int((~(swapped.abs() < abs(observed) - 1e-12)).sum())
    return Paired(observed, *bounds(drawn), (1 + as_large) / (1 + RESAMPLES))


def resamples(count: int, seed: int) -> Iterator[Tensor]:
    """Which of ``count`` units are drawn in each of the resamples, (resamples, count) in all, in parts that fit into
    memory; none of a single unit, which tells nothing of its spread.
    """
    generator = torch.Generator().manual_seed(seed)
    for part in _parts(count) if count > 1 else ():
        yield torch.randint(count, (part, count), generator=generator)


def bounds(values: list[Tensor]) -> tuple[float, float]:
    """The middle 95 % of resampled values; NaN where one is, or where there are none."""
    if not values:
        return float("nan"), float("nan")
    low, high = torch.quantile(torch.cat(values), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def few(metric: Metric, count: int) -> str:
    """What to say of an interval over so many units; nothing of enough."""
    if count >= ENOUGH:
        return ""
    return f"over {count} {metric.resampled}{'' if count == 1 else 's'} only: a bootstrap of so few is too narrow"


def _parts(count: int) -> Iterator[int]:
    most = max(1, 1_000_000 // max(1, count))
    for begin in range(0, RESAMPLES, most):
        yield min(most, RESAMPLES - begin)
