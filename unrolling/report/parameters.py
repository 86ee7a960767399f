"""What was learned, layer by layer: its charts and its table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolling.core.drawing.letters import greek
from unrolling.evaluation.records import Parameter
from unrolling.report.chart import SMALL, Axes, Series, line_chart, tick_text
from unrolling.report.codes import magnitudes
from unrolling.report.figures import Figure
from unrolling.report.text import ABSENT, shape_text, value_text


def parameter_figures(parameters: Sequence[Parameter]) -> list[Figure]:
    """A chart for each parameter that every layer has for itself: its value, the middle of its entries, or how far a
    matrix has moved.
    """
    figures = []
    for parameter in parameters:
        pairs = [
            (layer, magnitudes(value))
            for layer, value in zip(parameter.layers, parameter.learned, strict=True)
            if layer is not None
        ]
        if pairs:
            figures.append(
                _parameter_figure(
                    f"{parameter.name} {greek(parameter.symbol)}".strip(),
                    [layer + 1 for layer, _ in pairs],
                    [v for _, v in pairs],
                    magnitudes(parameter.classical),
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


def parameter_rows(parameters: Sequence[Parameter]) -> list[dict[str, str]]:
    """Per learned quantity: name, symbol and meaning, shape, where it is, classical and learned values, relative
    change. Of arrays the values are the median and the range of the middle 80 % of all entries of all layers.
    """
    rows = []
    for parameter in parameters:
        values, classical = [magnitudes(v) for v in parameter.learned], magnitudes(parameter.classical)
        if not values:
            continue
        changes = [change for change in (moved(v, classical) for v in values) if math.isfinite(change)]
        change = ABSENT
        if changes:
            low, high = (f"{value_text(100 * c, 2)} %" for c in (min(changes), max(changes)))
            change = low if low == high else f"{low} to {high}"
        single = values[0].size == 1
        shared = all(layer is None for layer in parameter.layers)
        rows.append(
            {
                "name": parameter.name,
                "symbol": greek(parameter.symbol),
                "meaning": greek(parameter.meaning),
                "shape": "number" if single else shape_text(values[0]),
                "where": "shared by all layers" if shared else "one per layer",
                "classical": spread_text(classical),
                "learned": _range(values) if single else spread_text(np.concatenate([v.ravel() for v in values])),
                "change": change,
            }
        )
    return rows


def spread_text(values: NDArray) -> str:
    """A number, or of several their median and the range of the middle 80 %: ``0.12 [−0.3, 0.5]``."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return ABSENT
    if values.size == 1:
        return value_text(float(values.reshape(-1)[0]))
    quantiles = np.quantile(values, (0.1, 0.5, 0.9))
    noise = 1e-9 * np.abs(values).max()  # a middle of zero, but for rounding
    low, middle, high = (value_text(0.0 if abs(q) < noise else float(q)) for q in quantiles)
    return f"{middle} [{low}, {high}]"


def _range(values: Sequence[NDArray]) -> str:
    """One number of each layer: the least and the largest."""
    numbers = [float(v.reshape(-1)[0]) for v in values]
    low, high = value_text(min(numbers)), value_text(max(numbers))
    return low if low == high else f"{low} to {high}"


def moved(value: NDArray, classical: NDArray) -> float:
    """‖value − classical‖ / ‖classical‖ (Frobenius); not a number where the shapes do not fit or the
    classical value is zero.
    """
    try:
        difference = value - classical
    except ValueError:
        return math.nan
    norm = float(np.linalg.norm(np.broadcast_to(classical, difference.shape)))
    return float(np.linalg.norm(difference)) / norm if norm else math.nan
