"""Quantities over time: what was true, what was measured, and what methods made of it."""

from __future__ import annotations

from collections.abc import Sequence

from unrolling.report.chart import DASHES, Axes, Series, tick_text
from unrolling.report.figures import Figure, both_widths
from unrolling.report.text import value_text
from unrolling.tasks.exhibits import TimeSeries


def charts(found: Sequence[TimeSeries]) -> list[Figure]:
    """A chart for each, with its numbers as a table."""
    return [_chart(each) for each in found]


def _chart(found: TimeSeries) -> Figure:
    time = found.time.tolist()
    series = [Series("true", time, found.truth.tolist(), "truth", marker="")]
    if found.measured is not None:
        series.append(Series("measured", time, found.measured.tolist(), "classical", line=False))
    dashes = iter(DASHES)
    for name, role, values in found.estimates:
        series.append(Series(name, time, values.tolist(), role, "" if role == "network" else next(dashes), marker=""))
    axes = Axes(found.time_label, found.quantity, tick_text, tick_text)
    names = ", ".join(name for name, _, _ in found.estimates)
    words = f"{found.quantity[:1].upper()}{found.quantity[1:]} over {len(time)} moments: {names}."
    figure = Figure(found.name, words, both_widths(series, axes, f"{found.name}. {words}"))
    figure.header = [found.time_label, *(each.name for each in series)]
    figure.numbers = [
        [value_text(t), *map(value_text, row)] for t, *row in zip(time, *(s.y for s in series), strict=True)
    ]
    return figure
