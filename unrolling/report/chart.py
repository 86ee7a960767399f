"""Line charts as small inline SVG: themed by the page's style sheet, labelled on the curves, told apart by dash and
marker as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from unrolling.report.labels import CHARACTER, Box, Point, Series, along, marker, name_beside, names_below

WIDE = (800, 430)
NARROW = (340, 330)
SMALL = (350, 250)

DASHES = ("7 3", "2 3", "9 3 2 3", "14 4", "6 2 1 2 1 2")
MARKERS = ("triangle", "ring", "diamond", "cross", "plus")


@dataclass
class Axes:
    """What the axes say.

    Attributes:
        x_label: below the chart.
        y_label: above the y axis.
        x_text: writes a tick of the x axis.
        y_text: writes a tick of the y axis.
        log: whether x is logarithmic.
        integers: whether ticks of a linear x axis are whole numbers.
        level: a y value with a dotted line across the chart.
        y_limits: what the y axis must hold.
        y_span: no more than this of y is drawn, counted from ``y_best``, but always all of the network.
        y_best: the end of y that is always in sight, "low" or "high".
    """

    x_label: str
    y_label: str
    x_text: Callable[[float], str]
    y_text: Callable[[float], str]
    log: bool = False
    integers: bool = False
    level: float | None = None
    y_limits: tuple[float, ...] = ()
    y_span: float = math.inf
    y_best: str = "low"


def line_chart(
    series: Sequence[Series], axes: Axes, size: tuple[int, int], description: str, extra_class: str = ""
) -> str:
    """An SVG element, or an empty string when no point can be drawn.

    Args:
        series: points that are not finite, and on a logarithmic axis those at or below zero, are left out.
        axes: labels, ticks and limits.
        size: of the view box; text is drawn at 12.5 of its units.
        description: what a screen reader says.
        extra_class: class names for the element.
    """
    points = [_points(s, axes.log) for s in series]
    drawn = [p for each in points for p in each]
    if not drawn:
        return ""
    width, height = size
    wide = width >= WIDE[0]
    x_low, x_high = _limits([x for x, _ in drawn], axes.log)
    edges = [v for s in series if s.band for edge in s.band for v in edge if math.isfinite(v)]
    own = [y for s, each in zip(series, points, strict=True) if s.role == "network" for _, y in each]
    own += [] if axes.level is None or not math.isfinite(axes.level) else [axes.level]
    y_low, y_high = y_range([y for _, y in drawn] + edges + list(axes.y_limits), axes.y_span, axes.y_best, own)
    y_ticks = linear_ticks(y_low, y_high, 6 if height > 300 else 4)
    left = 12 + max(len(axes.y_text(t)) for t in y_ticks) * CHARACTER
    right, top, bottom = (165 if wide else 14), 34, height - 44

    def to_x(value: float) -> float:
        if axes.log:
            value = math.log10(value)
        return left + (value - x_low) / (x_high - x_low) * (width - right - left)

    def to_y(value: float) -> float:
        return bottom - (value - y_low) / (y_high - y_low) * (bottom - top)

    parts = [
        f'<svg class="chart {extra_class}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(description)}">',
        f'<text class="axis-title" x="0" y="14">{escape(axes.y_label)}</text>',
    ]
    for tick in y_ticks:
        y = to_y(tick)
        parts.append(
            f'<path class="grid" d="M{left:.1f} {y:.1f}H{width - right}"/><text class="tick" '
            f'x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">'
        )
        parts.append(f"{escape(axes.y_text(tick))}</text>")
    room = (width - right - left) / 58
    x_ticks = (
        log_ticks(x_low, x_high, room)
        if axes.log
        else [t for t in linear_ticks(x_low, x_high, int(room)) if not axes.integers or t == int(t)]
    )
    for tick in x_ticks:
        x = to_x(tick)
        anchor = "end" if x > width - 16 else "middle"
        parts.append(
            f'<path class="axis" d="M{x:.1f} {bottom}v5"/><text class="tick" x="{x:.1f}" y="{bottom + 19}" '
            f'text-anchor="{anchor}">'
        )
        parts.append(f"{escape(axes.x_text(tick))}</text>")
    parts.append(f'<path class="axis" d="M{left:.1f} {bottom}H{width - right}"/>')
    parts.append(
        f'<text class="axis-title" x="{(left + width - right) / 2:.1f}" y="{height - 5}" '
        f'text-anchor="middle">{escape(axes.x_label)}</text>'
    )
    if axes.level is not None and y_low <= axes.level <= y_high:
        parts.append(f'<path class="level" d="M{left:.1f} {to_y(axes.level):.1f}H{width - right}"/>')

    lines = [[(to_x(x), to_y(y)) for x, y in each] for each in points]
    for s, line in zip(series, lines, strict=True):
        if s.band and line:
            low, high = (
                [(to_x(x), to_y(v)) for x, v in zip(s.x, edge, strict=True) if math.isfinite(v)] for edge in s.band
            )
            parts.append(f'<path class="band" d="M{_path(low + high[::-1])}Z"/>')
    # The network is drawn last, above the others.
    for s, line in sorted(zip(series, lines, strict=True), key=lambda pair: pair[0].role == "network"):
        parts += _draw(s, _thin(line), bottom, top)
    obstacles = [
        point
        for s, line in zip(series, lines, strict=True)
        for point in (along(line) if s.line else line)
        if top - 5 <= point[1] <= bottom + 5
    ]
    if axes.level is not None:
        obstacles += [(x, to_y(axes.level)) for x in range(int(left), width - right, 8)]
    crowd = np.asarray(obstacles or [(0.0, 0.0)])
    placed: list[Box] = []
    order = sorted(range(len(series)), key=lambda i: (series[i].role != "network", series[i].role != "parent"))
    canvas = (left + 2, top - 6, width - 2.0, bottom - 2.0)
    named = [i for i in order if series[i].label and any(top - 1 <= p[1] <= bottom + 1 for p in lines[i])]
    below = named if not wide and len(named) > 1 else []  # a narrow chart has no room for them between its curves
    for i in [i for i in named if i not in below]:
        text = name_beside(
            series[i], [p for p in lines[i] if top - 1 <= p[1] <= bottom + 1], crowd, placed, canvas, wide
        )
        parts.append(text)
        below += [] if text else [i]
    names, taken = names_below([series[i] for i in below], height + 6, width)
    parts += names
    parts[0] = (
        f'<svg class="chart {extra_class}" viewBox="0 0 {width} {height + taken:.0f}" role="img" '
        f'aria-label="{escape(description)}">'
    )
    return "".join(parts) + "</svg>"


def y_range(
    values: Sequence[float], span: float = math.inf, best: str = "low", inside: Sequence[float] = ()
) -> tuple[float, float]:
    """Limits with a margin around finite values; at most ``span`` from the best one, so that a method that diverged
    does not flatten the rest. What the chart is about is ``inside`` whatever the span.
    """
    finite = [v for v in values if math.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if high - low > span:
        low, high = (low, low + span) if best == "low" else (high - span, high)
        low, high = min([low, *inside]), max([high, *inside])
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers between two limits, about ``count`` of them."""
    raw = (high - low) / max(count, 2)
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(f * scale for f in (1, 2, 2.5, 5, 10) if f * scale >= 0.8 * raw)
    return [
        round(k * step, 12 - math.floor(math.log10(step)))
        for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def log_ticks(low: float, high: float, room: float) -> list[float]:
    """Ticks between powers of ten ``10**low`` and ``10**high``: decades, with 2 and 5 between them where there is
    room.
    """
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**d for d in decades for f in factors if low - 1e-9 <= math.log10(f) + d <= high + 1e-9]
        if len(ticks) <= room:
            break
    else:
        ticks = ticks[:: math.ceil(len(ticks) / max(room, 1))]
    return ticks or [10.0**low]


def tick_text(value: float) -> str:
    """A tick with a real minus sign; a power of ten only when very small or large."""
    if value and not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.2e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return (power if mantissa == "1" else f"{mantissa}·{power}").replace("-", "−")
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}").replace("-", "−")


def _points(s: Series, log: bool) -> list[Point]:
    return [
        (float(x), float(y))
        for x, y in zip(s.x, s.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not log)
    ]


def _limits(values: list[float], log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        low, high = math.log10(low), math.log10(high)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0 if log else 0.0):  # all the same, up to rounding
        margin = 0.5 * (abs(low) if low and not log else 1.0)
        return low - margin, high + margin
    margin = 0.015 * (high - low)
    return low - margin, high + margin


def _path(points: Sequence[Point]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _thin(points: list[Point]) -> list[Point]:
    """Points at least half a unit apart: no more than a screen can show."""
    kept = points[:1]
    for p in points[1:]:
        if abs(p[0] - kept[-1][0]) + abs(p[1] - kept[-1][1]) >= 0.75:
            kept.append(p)
    if kept[-1:] != points[-1:]:
        kept.append(points[-1])
    return kept


def _draw(s: Series, line: list[Point], bottom: float, top: float) -> list[str]:
    if not line:
        return []
    clipped = [(x, min(max(y, top - 4), bottom)) for x, y in line]
    parts = []
    if s.line and len(line) > 1:
        dash = f' stroke-dasharray="{s.dash}"' if s.dash else ""
        parts.append(f'<path class="line {s.role}"{dash} d="M{_path(clipped)}"/>')
    marked: list[Point] = []
    for p in line if s.marker else []:
        if top - 1 <= p[1] <= bottom and (s.every_point or not s.line or not marked or math.dist(p, marked[-1]) >= 70):
            marked.append(p)
    parts += [f'<path class="mark {s.role} {s.marker}" d="{marker(s.marker, p)}"/>' for p in marked]
    return parts
