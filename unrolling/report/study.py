"""What a comparison says beyond its table: Table III, the layers, shifts, sizes of the training set, the safeguard."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import LayerReport, ShiftCurve
from unrolling.report.chart import DASHES, MARKERS, Axes, Series, tick_text
from unrolling.report.figures import SPAN, Figure, both_widths, drawn, quality_tick
from unrolling.report.text import count_text, digits, interval_text, quality_text, value_text
from unrolling.tasks.metrics import Metric

HEADS = {"parent": "Iterative algorithm", "generic": "Generic network", "network": "Unrolled network"}


def criteria_rows(comparison: Comparison) -> list[dict[str, object]]:
    """Table III line by line, the best marked."""
    return [
        {
            "name": c.name,
            "measured": c.measured,
            "cells": [(getattr(c, kind).replace("-", "−"), kind in c.best) for kind in HEADS],
        }
        for c in comparison.criteria
    ]


def layer_figures(comparison: Comparison) -> list[Figure]:
    """The objective along the layers beside the parent's; step lengths and Lipschitz constants; what each layer is
    worth.
    """
    layers = comparison.layers
    if layers is None:
        return []
    depth = len(layers.quality)
    x = [float(k + 1) for k in range(depth)]
    metric = comparison.metric
    figures = []
    if layers.objective and layers.parent_objective and depth > 1:
        own, other = layers.objective, layers.parent_objective
        words = (
            "The objective that the parent minimises (median over samples). A network that was trained towards "
            "targets need not descend it: where its curve lies above the parent's, it looks for something else than "
            "the minimiser."
        )
        series = [
            Series("network", x, own, "network", every_point=True),
            Series("parent", x, other, "parent", "5 4", "square"),
        ]
        figures.append(
            _figure(
                "The parent's objective",
                words,
                series,
                Axes("layer, or iteration", "objective", tick_text, tick_text, integers=True),
            )
        )
        figures[-1].header = ["layer", "network", "parent"]
        figures[-1].numbers = [[str(k + 1), value_text(own[k]), value_text(other[k])] for k in range(depth)]
    finite = [v for v in layers.step + layers.lipschitz if math.isfinite(v)]
    if finite and depth > 1:
        words = (
            "How long each layer's step is, in steps of the parent from the same point (1 is the classical step), and "
            "how much the layer can enlarge a small change of its input (its local Lipschitz constant; below 1 it "
            "contracts)."
        )
        series = [
            Series("length of step", x, layers.step, "network", every_point=True),
            Series("Lipschitz constant", x, layers.lipschitz, "parent", "5 4", "square"),
        ]
        axes = Axes(
            "layer", "times the parent's step; factor", tick_text, tick_text, integers=True, y_limits=(0.0, 1.0)
        )
        axes.level = 1.0
        figures.append(_figure("Steps and stability", words, series, axes))
        figures[-1].header = ["layer", "length of step", "Lipschitz constant"]
        figures[-1].numbers = [
            [str(k + 1), value_text(layers.step[k]), value_text(layers.lipschitz[k])] for k in range(depth)
        ]
    if layers.dropped:
        losses = [(value - layers.end) * (1 if metric.better == "lower" else -1) for value in layers.dropped]
        cheapest = min(range(depth), key=lambda k: losses[k])
        words = (
            f"{metric.name} lost when a layer is left out of the trained network, in {metric.unit}. "
            f"Layer {cheapest + 1} is missed least: {quality_text(losses[cheapest], metric)} {metric.unit}."
            f"{_samples(layers)}"
        )
        axes = Axes("layer left out", f"loss in {metric.unit}", tick_text, tick_text, integers=True, y_limits=(0.0,))
        figure = _figure(
            "What a layer is worth",
            words,
            [Series("loss without it", x, losses, "network", every_point=True, label=False)],
            axes,
        )
        figure.header, figure.numbers = (
            ["layer left out", f"loss, {metric.unit}"],
            [[str(k + 1), quality_text(losses[k], metric)] for k in range(depth)],
        )
        figures.append(figure)
    if layers.beyond:
        points = [(depth, layers.end), *layers.beyond]
        words = (
            "All layers are the same, so that the network can be run on; it was trained for the depth of the "
            f"first mark.{_samples(layers)}"
        )
        series = [
            Series(
                "network",
                [float(d) for d, _ in points],
                drawn(metric, [q for _, q in points]),
                "network",
                every_point=True,
                label=False,
            )
        ]
        figures.append(
            _figure(
                "Beyond the trained depth",
                words,
                series,
                Axes("layers", f"{metric.name} in {metric.unit}", tick_text, quality_tick(metric), log=True),
            )
        )
    return [figure for figure in figures if any(figure.drawings)]


def _samples(layers: LayerReport) -> str:
    return "" if layers.samples is None else f" On the first {layers.samples} samples of the test set."


def shift_figures(comparison: Comparison) -> list[Figure]:
    """One chart per shift."""
    metric = comparison.metric
    figures = []
    for shift in comparison.shifts:
        x = [float(k) for k in range(len(shift.values))]
        looks = {
            curve.name: (DASHES[k % len(DASHES)], MARKERS[k % len(MARKERS)]) for k, curve in enumerate(shift.curves[1:])
        }
        series = []
        for k, curve in enumerate(shift.curves):
            dash, marker = looks.get(curve.name, ("", "circle"))
            role = curve.role if curve.role in ("network", "parent") else "classical"
            edges = (
                [drawn(metric, [getattr(each, end) for each in curve.intervals]) for end in ("low", "high")]
                if k == 0 and curve.intervals
                else None
            )
            band = (edges[0], edges[1]) if edges else None
            series.append(
                Series(curve.name, x, drawn(metric, curve.quality), role, dash, marker, every_point=k == 0, band=band)
            )
        values = shift.values
        axes = Axes(
            shift.name,
            f"{metric.name} in {metric.unit}, {metric.better} is better",
            lambda i, v=values: _value(v, i),
            quality_tick(metric),
            integers=True,
        )
        axes.y_span, axes.y_best = SPAN, "low" if metric.better == "lower" else "high"
        words = shift.words + (
            " The band is the network's 95 % interval." if shift.curves and shift.curves[0].intervals else ""
        )
        if shift.trained is not None:
            words += f" Trained at {value_text(shift.trained)}."
        if shift.crossing is not None:
            words += f" The network falls behind {shift.parent} at about {value_text(shift.crossing)}."
        elif shift.parent is not None:
            words += f" The network stays ahead of {shift.parent} over all of this range."
        figure = _figure(shift.name[0].upper() + shift.name[1:], words, series, axes)
        figure.header = [shift.name, *(curve.name for curve in shift.curves)]
        figure.numbers = [
            [value_text(v), *(_with_interval(curve, k, metric) for curve in shift.curves)] for k, v in enumerate(values)
        ]
        figure.numbers.append(["mean", *(quality_text(curve.area, metric) for curve in shift.curves)])
        figures.append(figure)
    return [figure for figure in figures if any(figure.drawings)]


def _with_interval(curve: ShiftCurve, k: int, metric: Metric) -> str:
    """``3.48e−3 [3.16e−3, 3.85e−3]``."""
    value = quality_text(curve.quality[k], metric)
    return f"{value} {interval_text(curve.intervals[k], metric)}".strip() if curve.intervals else value


def _value(values: Sequence[float], index: float) -> str:
    return value_text(values[round(index)]) if 0 <= round(index) < len(values) else ""


def size_figure(comparison: Comparison) -> Figure | None:
    """Quality against the number of training samples."""
    if not comparison.sizes:
        return None
    metric = comparison.metric
    samples = comparison.sizes[0].samples
    x = [float(k) for k in range(len(samples))]
    labels = ["all" if count is None else count_text(count) for count in samples]
    series = [
        Series(
            curve.name,
            x,
            drawn(metric, curve.quality),
            "network" if curve.role == "network" else "classical",
            "" if curve.role == "network" else DASHES[0],
        )
        for curve in comparison.sizes
    ]
    axes = Axes(
        "training samples",
        f"{metric.name} in {metric.unit}",
        lambda i: labels[round(i)] if 0 <= round(i) < len(labels) else "",
        quality_tick(metric),
    )
    axes.integers = True
    words = (
        "Trained with the same number of steps on few samples drawn once; the weights are those that were best on "
        "the validation set."
    )
    figure = _figure("How much data it takes", words, series, axes)
    figure.header = ["training samples", *(curve.name for curve in comparison.sizes)]
    figure.numbers = [
        [labels[k], *(quality_text(curve.quality[k], metric) for curve in comparison.sizes)]
        for k in range(len(samples))
    ]
    return figure


def _figure(title: str, words: str, series: list[Series], axes: Axes) -> Figure:
    return Figure(title, words, both_widths(series, axes, f"{title}. {words}"))


def spread_words(comparison: Comparison) -> str:
    """What other seeds of the training give."""
    row = comparison.rows[0] if comparison.rows else None
    if row is None or not row.seeds:
        return ""
    values, metric = [row.quality.mean, *row.seeds], comparison.metric
    low, high, middle = (quality_text(value, metric) for value in (min(values), max(values), sum(values) / len(values)))
    return (
        f"Trained with {len(values)} seeds the network's {metric.name} goes from {low} to {high} {metric.unit}, "
        f"{middle} on average."
    )


def coverage_words(comparison: Comparison) -> str:
    """What the error bars promise, and where they do not hold."""
    report = comparison.coverage
    if report is None or not report.rows:
        return ""
    test, *away = report.rows
    text = (
        f"Half-widths around each entry of an estimate, calibrated on {count_text(report.calibration)} {report.kind} "
        f"to hold for {report.level:.0%} of the entries of a new one; what makes them differ is {report.score}. "
        f"On the test set {test.covered:.1%} lie within (95 % interval {test.low:.1%} to {test.high:.1%}), with a mean "
        f"half-width of {value_text(test.width)}"
        + ("" if test.holds else ", so that the promise is not kept: its samples are not like those of the calibration")
        + "."
    )
    if away:
        lost = [row for row in away if not row.holds]
        text += (
            " The promise needs samples like those of the calibration. Away from them it "
            + (f"is kept at {len(away) - len(lost)} of {len(away)} values" if lost else "is kept at all values too")
            + (f", and the scores alone give away {sum(row.unlike for row in lost)} of the others." if lost else ".")
        )
    return text


def coverage_rows(comparison: Comparison) -> list[list[str]]:
    """Per set of samples: which, share within, its interval, mean half-width, and what is to be said."""
    return [
        [
            row.where if row.value is None else f"{row.where}: {value_text(row.value)}",
            f"{row.covered:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            value_text(row.width),
            ("" if row.holds else "does not hold") + ("; seen from the scores" if row.unlike else ""),
        ]
        for row in (comparison.coverage.rows if comparison.coverage else [])
    ]


def safeguard_words(comparison: Comparison) -> str:
    """What the safeguard promises, keeps and costs."""
    guard = comparison.safeguard
    if guard is None or not comparison.rows:
        return ""
    metric = comparison.metric
    network = comparison.rows[0]
    difference = guard.quality.mean - network.quality.mean
    worse = difference * (1 if metric.better == "lower" else -1)
    change = (
        f"{quality_text(abs(difference), metric)} {metric.unit} {'worse' if worse > 0 else 'better'}"
        if difference
        else ("no different")
    )
    kept = "held for every sample of the test set" if guard.never_worse else "was broken on the test set"
    text = (
        "Safeguarded, the network takes a layer's step only where the parent's objective gets no worse than by the "
        "parent's own step, so that the result is "
        f"never worse in that objective than the parent's after as many steps; this {kept}. {guard.rate:.0%} of the "
        f"network's steps were taken. The {metric.name} is then {quality_text(guard.quality.mean, metric)} "
        f"{metric.unit}, {change} than without"
    )
    if guard.seconds and network.seconds and network.seconds.batch > 0:
        text += f", and a batch takes {digits(guard.seconds.batch / network.seconds.batch, 2)} times as long"
    return text + "."
