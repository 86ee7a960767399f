"""The sentences above a comparison: what stands nearest to the network, and what training added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from unrolling.evaluation.records import Row
from unrolling.tasks.metrics import Metric


def standing(row: Row, network: Row) -> float:
    """A row's metric beside the network's on the same samples: that of the whole test set, also of a method that was
    given a part of it.
    """
    if row.samples is None or row.paired is None:
        return row.quality.mean
    return network.quality.mean + row.paired.difference


def strongest(rows: Iterable[Row], network: Row, metric: Metric) -> Row | None:
    """The best of some rows; None where none has a finite metric."""
    usable = [row for row in rows if isfinite(row.quality.mean) and isfinite(standing(row, network))]
    return min(usable, key=lambda row: metric.rank(standing(row, network)), default=None)


def stands(row: Row, rows: Sequence[Row], metric: Metric) -> bool:
    """Whether a row may be called the best of anything: it did not diverge, and it is no trained generic network below
    the best linear estimate.
    """
    if not isfinite(row.quality.mean):
        return False
    if row.role != "generic" or row.training_seconds is None:
        return True
    floor = [other.quality.mean for other in rows if other.linear and isfinite(other.quality.mean)]
    return all(metric.at_least_as_good(row.quality.mean, value) for value in floor)


def is_classical(row: Row) -> bool:
    """Whether nothing of a row was trained by optimisation: an algorithm, a direct method, another library, a linear
    estimate.
    """
    return row.role in ("parent", "classical", "library") or (row.role == "generic" and row.training_seconds is None)


def headline(title: str, task: Any, rows: Sequence[Row]) -> str:
    """What the network reaches; the strongest row without training, whatever its name and kind; its algorithm after as
    many iterations; what training added; each difference with its paired interval. A row that failed has no quality.

    Args:
        title: of the network.
        task: whose metric is meant.
        rows: of the table.
    """
    metric = task.metric
    network = next(row for row in rows if row.role == "network")
    depth = network.iterations or 1
    sentences = [
        f"{title} reaches {metric.text(network.quality.mean)} {metric.name} in {depth} layer{'s' if depth > 1 else ''}"
    ]
    rival = strongest(filter(is_classical, rows), network, metric)
    if rival is not None:
        sentences.append(f"The strongest classical row is {_quoted(rival, network, metric)}")
    equal = strongest(
        (row for row in rows if row.role == "parent" and "as many iterations" in row.name), network, metric
    )
    if equal is not None and equal is not rival:
        sentences.append(f"Its algorithm: {_quoted(equal, network, metric)}")
    generic = strongest(
        (row for row in rows if row.role == "generic" and not is_classical(row) and stands(row, rows, metric)),
        network,
        metric,
    )
    if generic is not None and (not _worse(generic, network, metric)):
        sentences.append(f"The strongest generic network is {_quoted(generic, network, metric)}")
    before = strongest((row for row in rows if row.role == "initial"), network, metric)
    if before is not None:
        others = [row for row in (rival, generic) if row is not None]
        first = all(metric.gain(before.quality.mean, standing(row, network)) > 0 for row in others)
        place = ", above every other row" if others and first else ""
        sentences.append(
            f"Before training it is at {metric.text(before.quality.mean)}{place}: {_added(before, network, metric)}"
        )
    sentences += _iterations(rows, depth)
    return ". ".join(sentences) + "."


def _quoted(row: Row, network: Row, metric: Metric) -> str:
    """A row's name and metric, and how it stands to the network."""
    part = f" over the first {row.samples} samples" if row.samples is not None else ""
    text = f"{row.name}, {metric.text(row.quality.mean)}{part}"
    if row.paired is None or not isfinite(row.paired.difference):
        if not isfinite(network.quality.mean):
            return text
        gap = metric.gain(row.quality.mean, network.quality.mean)
        return f"{text}, {metric.text(abs(gap))} {'better' if gap > 0 else 'worse'}"
    if not row.paired.told_apart:
        return f"{text}, not distinguishable from {_title(network)} ({_difference(row, metric)})"
    better = metric.gain(row.paired.difference, 0.0) > 0
    return f"{text}, {_size(row, metric, ' better' if better else ' worse')}"


def _added(before: Row, network: Row, metric: Metric) -> str:
    """What training changed, the network before it being a row like others."""
    if before.paired is None or not isfinite(before.paired.difference):
        gap = metric.gain(network.quality.mean, before.quality.mean)
        return f"training added {metric.text(gap)}" if isfinite(gap) else "what training added cannot be said"
    if not before.paired.told_apart:
        return f"the trained network is not distinguishable from that ({_difference(before, metric)})"
    gained = metric.gain(0.0, before.paired.difference) > 0
    return f"training {'added' if gained else 'lost'} {_size(before, metric)}"


def _title(network: Row) -> str:
    return network.name.rsplit(", ", 1)[0]


def _worse(row: Row, network: Row, metric: Metric) -> bool:
    """Whether a row is worse than the network and told apart from it."""
    if row.paired is None:
        return metric.gain(row.quality.mean, network.quality.mean) < 0
    return row.paired.told_apart and metric.gain(row.paired.difference, 0.0) < 0


def _size(row: Row, metric: Metric, word: str = "") -> str:
    """The size of a difference with its interval."""
    assert row.paired is not None
    low, high = sorted(map(abs, (row.paired.low, row.paired.high)))
    return f"{metric.text(abs(row.paired.difference))}{word} [{_number(low, metric)}, {_number(high, metric)}]"


def _difference(row: Row, metric: Metric) -> str:
    assert row.paired is not None
    ends = (row.paired.low, row.paired.high)
    interval = f" [{_number(ends[0], metric)}, {_number(ends[1], metric)}]" if all(map(isfinite, ends)) else ""
    return f"a difference of {metric.text(row.paired.difference)}{interval}"


def _number(value: float, metric: Metric) -> str:
    """A metric's value without its unit."""
    return metric.text(value).removesuffix(metric.unit).rstrip()


def _iterations(rows: Sequence[Row], depth: int) -> list[str]:
    """Which classical method matches the network in the fewest iterations."""
    matching = [
        row
        for row in rows
        if row.role in ("parent", "classical") and "until it matches" in row.name and isfinite(row.quality.mean)
    ]
    if not matching:
        return []
    soonest = min(matching, key=lambda row: row.iterations or 0)
    name, count = soonest.name.split(", until")[0], soonest.iterations or 0
    return [
        f"Of the classical methods that get as far, {name} needs the fewest iterations, {count} "
        f"({count / depth:.1f} times as many)"
    ]
