"""The charts of a comparison, each with the words that belong beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import Curve
from unrolling.report.chart import DASHES, MARKERS, NARROW, WIDE, Axes, Series, line_chart, tick_text
from unrolling.report.text import count_text, quality_text, rate_text, ratio_text, seconds_text, seconds_tick
from unrolling.tasks.metrics import Metric

SINGLE = ("diamond", "cross", "plus", "triangle", "square")  # marks of methods without iterations
SPAN = 60.0  # dB: a method that diverged does not flatten the others


@dataclass
class Figure:
    """A chart, in one drawing per screen width, and its words."""

    title: str
    words: str
    drawings: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)  # the numbers as a table
    numbers: list[list[str]] = field(default_factory=list)


def error_by_iteration(comparison: Comparison) -> Figure | None:
    """Quality after each iteration or layer."""
    metric = comparison.metric
    curves = _drawable(comparison)
    if not curves:
        return None
    looks = _looks(comparison.curves)
    series = [_series(curve, metric, looks, [float(i) for i in curve.iterations]) for curve in curves]
    words = (
        f"{metric.name} on the test set after each iteration of an algorithm, or each layer of the network; "
        f"{metric.better} is better."
    )
    network = _network(curves)
    if network is not None:
        goal, depth = network.quality[-1], network.iterations[-1]
        words += (
            f" After {depth} {'layer' if depth == 1 else 'layers'} the network is at "
            f"{quality_text(goal, metric)} {metric.unit} (dotted line)."
        )
        reached = [
            (curve, _reach(comparison, curve, goal)) for curve in curves if curve.role not in ("network", "initial")
        ]
        there = sorted((step, curve.name) for curve, step in reached if step is not None)
        if there:
            first, *others = there
            takes = f"{first[1]} takes {count_text(first[0])} {'iteration' if first[0] == 1 else 'iterations'}"
            words += (
                f" For the same, {_series_of_words([takes, *(f'{name} {count_text(step)}' for step, name in others)])}."
            )
        never = [
            f"{curve.name} ({count_text(curve.iterations[-1])} iterations)" for curve, step in reached if step is None
        ]
        if never:
            words += f" It is not reached by {_series_of_words(never)}."
    axes = Axes("iterations, or layers of the network", _y_label(comparison), tick_text, quality_tick(metric), log=True)
    figure = Figure(f"{metric.name} against iterations", words)
    _draw(figure, comparison, series, axes, network)
    figure.header, figure.numbers = _numbers(curves, metric, network)
    return figure


def error_by_time(comparison: Comparison) -> Figure | None:
    """Quality against time per sample in a batch; methods without iterations are single marks."""
    metric = comparison.metric
    curves = [
        curve
        for curve in _drawable(comparison)
        if curve.seconds is not None and math.isfinite(curve.seconds) and curve.seconds > 0
    ]
    looks = _looks(comparison.curves)
    series = [_series(curve, metric, looks, [i * (curve.seconds or 0.0) for i in curve.iterations]) for curve in curves]
    loose = [
        row
        for row in comparison.rows
        if row.seconds is not None
        and row.seconds.batch > 0
        and math.isfinite(row.quality.mean)
        and row.role in ("classical", "generic", "library")
        and (row.iterations is None or row.role == "library")
        and row.name not in looks
    ]
    if not curves:
        return None
    for k, row in enumerate(loose):
        assert row.seconds is not None
        series.append(
            Series(
                row.name,
                [row.seconds.batch],
                drawn(metric, [row.quality.mean]),
                "generic",
                marker=SINGLE[k % len(SINGLE)],
                line=False,
            )
        )
    words = "The same curves, with iterations turned into time per sample in a batch, all methods measured in one run."
    network = _network(curves)
    if network is not None and network.seconds:
        goal, own = network.quality[-1], network.iterations[-1] * network.seconds
        words += f" The network takes {seconds_text(own)}."
        there = []
        for curve in curves:
            step = None if curve.role in ("network", "initial") else _reach(comparison, curve, goal)
            if step is not None and curve.seconds:
                there.append((step * curve.seconds, curve.name))
        if there:
            listed = [
                f"{name} {'' if k else 'needs '}{seconds_text(time)} ({ratio_text(time / own)})"
                for k, (time, name) in enumerate(sorted(there))
            ]
            words += f" For the same {metric.name}, {_series_of_words(listed)}."
    if loose:
        words += " Single grey marks are methods that do not go step by step."
    figure = Figure(f"{metric.name} against time", words)
    _draw(
        figure,
        comparison,
        series,
        Axes("time per sample in a batch", _y_label(comparison), seconds_tick, quality_tick(metric), log=True),
        network,
    )
    return figure


def drawn(metric: Metric, values: Sequence[float]) -> list[float]:
    """A metric's values as charts show them: dB as they are, error rates on a logarithmic scale, where one of zero has
    no place.
    """
    return [metric.level(v) if v > 0 or not metric.logarithmic else math.nan for v in values]


def quality_tick(metric: Metric) -> Callable[[float], str]:
    """Writes a tick of the axis that ``drawn`` values have."""
    return tick_text if not metric.logarithmic else lambda level: rate_text(10 ** (level / 10), 1)


def _drawable(comparison: Comparison) -> list[Curve]:
    return [
        curve
        for curve in comparison.curves
        if any(i > 0 and math.isfinite(q) for i, q in zip(curve.iterations, curve.quality, strict=True))
    ]


def _y_label(comparison: Comparison) -> str:
    metric = comparison.metric
    return f"{metric.name} in {metric.unit}, {metric.better} is better"


def _network(curves: Sequence[Curve]) -> Curve | None:
    return next(
        (curve for curve in curves if curve.role == "network" and curve.quality and math.isfinite(curve.quality[-1])),
        None,
    )


def _reach(comparison: Comparison, curve: Curve, goal: float) -> int | None:
    pairs = zip(curve.iterations, curve.quality, strict=True)
    return next((i for i, q in pairs if math.isfinite(q) and comparison.metric.at_least_as_good(q, goal)), None)


def _looks(curves: Sequence[Curve]) -> dict[str, tuple[str, str]]:
    """Dash and marker of each curve, the same in every chart."""
    plain = [next((curve.name for curve in curves if curve.role == role), "") for role in ("network", "parent")]
    others = [curve.name for curve in curves if curve.name not in plain]
    looks = {curve.name: ("", "circle" if curve.role == "network" else "square") for curve in curves}
    return looks | {name: (DASHES[k % len(DASHES)], MARKERS[k % len(MARKERS)]) for k, name in enumerate(others)}


def _series(curve: Curve, metric: Metric, looks: dict[str, tuple[str, str]], x: Sequence[float]) -> Series:
    role = curve.role if curve.role in ("network", "parent") else "classical"
    dash, marker = looks[curve.name]
    return Series(
        curve.name, x, drawn(metric, curve.quality), role, dash, marker, every_point=role == "network" and len(x) <= 40
    )


def _draw(figure: Figure, comparison: Comparison, series: list[Series], axes: Axes, network: Curve | None) -> None:
    axes.y_span, axes.y_best = SPAN, "low" if comparison.metric.better == "lower" else "high"
    axes.level = drawn(comparison.metric, network.quality[-1:])[0] if network else None
    figure.drawings = both_widths(series, axes, f"{figure.title}. {figure.words}")


def both_widths(series: Sequence[Series], axes: Axes, description: str) -> list[str]:
    """A chart for wide screens and one for narrow ones; the style sheet shows one of them."""
    return [
        line_chart(series, axes, WIDE, description, "wide"),
        line_chart(series, axes, NARROW, description, "narrow"),
    ]


def _numbers(curves: Sequence[Curve], metric: Metric, network: Curve | None) -> tuple[list[str], list[list[str]]]:
    """Each curve at 1, 2, 5, 10, ... iterations and at the network's depth."""
    last = max(max(curve.iterations) for curve in curves)
    wanted = (
        {f * 10**d for d in range(len(str(last))) for f in (1, 2, 5) if f * 10**d <= last}
        | {last}
        | ({network.iterations[-1]} if network else set())
    )
    known = [dict(zip(curve.iterations, curve.quality, strict=True)) for curve in curves]
    rows = [
        [count_text(i), *(quality_text(k.get(i), metric) for k in known)]
        for i in sorted(wanted)
        if any(i in k for k in known)
    ]
    return ["iterations", *(curve.name for curve in curves)], rows


def _series_of_words(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
