"""The figures of a comparison, each with the words that belong beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import Curve, Parameter, Picture
from unrolling.report import images
from unrolling.report.chart import DASHES, MARKERS, NARROW, SMALL, WIDE, Axes, Series, line_chart, tick_text
from unrolling.report.table import count_text, quality_text, rate_text, ratio_text, seconds_text, seconds_tick
from unrolling.tasks.base import Metric

SPAN = 60.0  # dB: a method that diverged does not flatten the others
PICTURE_BYTES = 1_900_000  # of PNG; a third more as text


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
        and row.role in ("classical", "generic", "peer")
        and (row.iterations is None or row.role == "peer")
        and row.name not in looks
    ]
    if not curves:
        return None
    for row in loose:
        assert row.seconds is not None
        series.append(
            Series(
                row.name,
                [row.seconds.batch],
                drawn(metric, [row.quality.mean]),
                "generic",
                marker="diamond",
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
        words += " Single grey diamonds are methods that do not go step by step."
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
    return list(values) if metric.decibels else [metric.level(value) if value > 0 else math.nan for value in values]


def quality_tick(metric: Metric) -> Callable[[float], str]:
    """Writes a tick of the axis that ``drawn`` values have."""
    return tick_text if metric.decibels else lambda level: rate_text(10 ** (level / 10), 1)


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
    others = [curve.name for curve in curves if curve.role not in ("network", "parent")]
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
    description = f"{figure.title}. {figure.words}"
    figure.drawings = [
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


def parameter_figures(parameters: Sequence[Parameter]) -> list[Figure]:
    """A chart for each parameter that every layer has for itself: its value, the middle of its entries, or how far a
    matrix has moved.
    """
    figures = []
    for parameter in parameters:
        pairs = [
            (layer, _real(value))
            for layer, value in zip(parameter.layers, parameter.learned, strict=True)
            if layer is not None
        ]
        if pairs:
            figures.append(
                _parameter_figure(
                    parameter.name, [layer + 1 for layer, _ in pairs], [v for _, v in pairs], _real(parameter.classical)
                )
            )
    return [figure for figure in figures if figure.drawings]


def _parameter_figure(name: str, layers: list[int], values: list[NDArray], classical: NDArray) -> Figure:
    x = [float(layer) for layer in layers]
    band = None
    if values[0].size == 1:
        y = [float(v.reshape(-1)[0]) for v in values]
        words = f"One number per layer. {_first_to_last(y)}"
    elif values[0].squeeze().ndim == 1:
        y = [float(np.median(v)) for v in values]
        band = ([float(np.quantile(v, 0.1)) for v in values], [float(np.quantile(v, 0.9)) for v in values])
        words = (
            f"{values[0].size:,} numbers per layer: the line is their median, the band holds the middle 80 %. "
            f"{_first_to_last(y, 'Median ')}"
        )
    else:
        y = [moved(v, classical) for v in values]
        words = (
            f"A {shape_text(values[0])} array per layer: how far it has moved from its classical value, as a "
            "fraction of that value's Frobenius norm."
        )
        axes = Axes("layer", "change", tick_text, lambda v: f"{tick_text(100 * v)} %", integers=True, y_limits=(0.0,))
        return _small(Figure(name, words), [Series(name, x, y, "network", every_point=True, label=False)], axes)
    level = float(np.median(classical))
    series = [Series(name, x, y, "network", every_point=True, label=False, band=band)]
    if len(x) > 1 and math.isfinite(level):
        series.append(
            Series(f"classical {value_text(level)}", [x[0], x[-1]], [level, level], "parent", "5 4", marker="")
        )
    words += (
        f" The classical algorithm uses {value_text(level)} in every iteration (dashed)."
        if classical.size == 1
        else (" Dashed: the classical median.")
    )
    return _small(
        Figure(name, words),
        series,
        Axes(
            "layer",
            "median and middle 80 %" if band else "value",
            tick_text,
            tick_text,
            integers=True,
            y_limits=(level,),
        ),
    )


def _small(figure: Figure, series: list[Series], axes: Axes) -> Figure:
    drawing = line_chart(series, axes, SMALL, f"{figure.title} by layer. {figure.words}")
    figure.drawings = [drawing] if drawing else []
    return figure


def _first_to_last(y: Sequence[float], what: str = "") -> str:
    if len(y) < 2:
        return f"{what}{value_text(y[0])}.".capitalize()
    return f"{what}{value_text(y[0])} in the first layer, {value_text(y[-1])} in the last."


def parameter_rows(parameters: Sequence[Parameter]) -> list[list[str]]:
    """Per learned quantity: name, shape, where it is, classical value, learned value, relative change; of an array its
    median.
    """
    rows = []
    for parameter in parameters:
        values, classical = [_real(v) for v in parameter.learned], _real(parameter.classical)
        if not values:
            continue
        where = "shared by all layers" if all(layer is None for layer in parameter.layers) else "one per layer"
        changes = [change for change in (moved(v, classical) for v in values) if math.isfinite(change)]
        change = "–"
        if changes:
            low, high = (f"{value_text(100 * c, 2)} %" for c in (min(changes), max(changes)))
            change = low if low == high else f"{low} to {high}"
        single = values[0].size == 1
        learned = [float(v.reshape(-1)[0]) for v in values] if single else []
        value = (
            "–"
            if not single
            else value_text(learned[0])
            if len(set(learned)) == 1
            else (f"{value_text(min(learned))} to {value_text(max(learned))}")
        )
        rows.append(
            [
                parameter.name,
                "number" if single else shape_text(values[0]),
                where,
                value_text(float(classical.reshape(-1)[0])) if classical.size == 1 else "–",
                value,
                change,
            ]
        )
    return rows


def moved(value: NDArray, classical: NDArray) -> float:
    """‖value − classical‖ / ‖classical‖ (Frobenius); not a number where the shapes do not fit or the classical value is
    zero.
    """
    try:
        difference = value - classical
    except ValueError:
        return math.nan
    norm = float(np.linalg.norm(np.broadcast_to(classical, difference.shape)))
    return float(np.linalg.norm(difference)) / norm if norm else math.nan


def value_text(value: float, count: int = 3) -> str:
    """A value with at most three digits, without trailing zeros."""
    return tick_text(float(f"{value:.{count}g}")) if math.isfinite(value) else "–"


def shape_text(value: NDArray) -> str:
    """``250 × 500``."""
    return " × ".join(map(str, value.shape))


def _real(value: NDArray) -> NDArray:
    value = np.asarray(value)
    return np.abs(value) if np.iscomplexobj(value) else value.astype(np.float64)


@dataclass
class Image:
    """An image of the page, and the square of it that is shown enlarged."""

    caption: str
    alt: str
    uri: str
    width: int
    height: int
    detail: str = ""  # a data URI
    box: str = ""  # where the square lies: a style


@dataclass
class Gallery:
    """The panels of a picture."""

    name: str
    images: list[Image]
    words: str


def galleries(pictures: Sequence[Picture]) -> list[Gallery]:
    """Each picture's panels, reduced together where they would weigh more than a page should."""
    pictures = [picture for picture in pictures if picture.panels]
    levels = [[images.grey(panel) for _, panel in picture.panels] for picture in pictures]
    encoded, scale = images.png_within([panel for panels in levels for panel in panels], PICTURE_BYTES)
    result, position = [], 0
    for picture, panels in zip(pictures, levels, strict=True):
        shapes = {panel.shape for panel in panels}
        height, width = panels[0].shape
        side = max(32, min(height, width) // 5)
        window = images.busiest_window(panels[0], side) if len(shapes) == 1 and side < min(height, width) // 2 else None
        gallery = Gallery(picture.name, [], "")
        for (caption, _), panel in zip(picture.panels, panels, strict=True):
            image = Image(
                caption,
                f"{picture.name}: {caption}",
                images.data_uri(encoded[position]),
                panel.shape[1],
                panel.shape[0],
            )
            if window is not None:
                top, left = window
                image.detail = images.data_uri(images.png(panel[top : top + side, left : left + side]))
                place = (
                    ("left", left / width),
                    ("top", top / height),
                    ("width", side / width),
                    ("height", side / height),
                )
                image.box = ";".join(f"{name}:{value:.2%}" for name, value in place)
            gallery.images.append(image)
            position += 1
        if window is not None:
            gallery.words = (
                f"Below each, the framed {side} × {side} pixels enlarged: the part of the first image "
                "with the strongest edges."
            )
        if scale < 1:
            gallery.words += f" The large images are reduced to {scale:.0%} of their size to keep this page small."
        result.append(gallery)
    return result


def atom_images(atoms: Sequence[tuple[str, NDArray]]) -> list[Image]:
    """A mosaic for each dictionary."""
    result = []
    for caption, stack in atoms:
        stack = np.asarray(stack)
        if stack.ndim != 3 or not stack.size:
            continue
        sheet = images.mosaic(stack)
        result.append(
            Image(
                caption,
                f"{caption}: {min(len(stack), 400)} of {len(stack)} atoms of {stack.shape[1]} × {stack.shape[2]} "
                "pixels in a grid",
                images.data_uri(images.png(sheet, transparent=images.GAP)),
                sheet.shape[1],
                sheet.shape[0],
            )
        )
    return result


@dataclass
class Code:
    """A code as stems."""

    caption: str
    svg: str


@dataclass
class CodeGroup:
    """Codes of one sample, drawn to one scale."""

    name: str
    codes: list[Code]


def code_groups(codes: Sequence[tuple[str, NDArray]]) -> list[CodeGroup]:
    """Stem plots, grouped by what stands before a colon in the caption; in a group the first is the target, ringed
    behind the others.
    """
    grouped: dict[str, list[tuple[str, NDArray]]] = {}
    for caption, code in codes:
        head, colon, tail = caption.partition(":")
        grouped.setdefault(head.strip() if colon else "", []).append(
            (tail.strip() if colon else caption, _real(code).reshape(-1))
        )
    groups = []
    for name, members in grouped.items():
        finite = np.concatenate([c[np.isfinite(c)] for _, c in members])
        scale = float(np.abs(finite).max(initial=0)) or 1.0
        target = members[0][1] if name else None
        drawn = []
        for position, (caption, code) in enumerate(members):
            behind = target if position and target is not None and target.shape == code.shape else None
            label = f"{name}, {caption}" if name else caption
            drawn.append(
                Code(
                    caption,
                    stems(
                        code,
                        behind,
                        scale,
                        f"{label}: {np.count_nonzero(code):,} of {code.size:,} entries are not zero",
                    ),
                )
            )
        groups.append(CodeGroup(name, drawn))
    return groups


def stems(code: NDArray, target: NDArray | None, scale: float, description: str) -> str:
    """Entries as stems from a zero line; stretches to its box, so its strokes do not scale."""
    from html import escape

    def heads(values: NDArray) -> list[tuple[float, float]]:
        return [
            ((k + 0.5) / values.size * 1000, 50 - 44 * float(values[k]) / scale)
            for k in np.flatnonzero(values)
            if math.isfinite(values[k])
        ]

    parts = [
        '<svg class="stems" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(description)}">'
    ]
    parts.append('<path class="axis" d="M0 50H1000"/>')
    if target is not None:
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in heads(target))
        parts.append(f'<path class="ring-out" d="{dots}"/><path class="ring-in" d="{dots}"/>')
    own = heads(code)
    kind = "estimate" if target is not None else "target"
    parts.append(f'<path class="stem {kind}" d="{"".join(f"M{x:.1f} 50V{y:.1f}" for x, y in own)}"/>')
    parts.append(f'<path class="head {kind}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in own)}"/>')
    return "".join(parts) + "</svg>"
