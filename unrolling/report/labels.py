"""The names of curves in a chart: beside the curve where that is free, else in a legend below the chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from numpy.typing import NDArray

FONT = 12.5
CHARACTER = 0.53 * FONT  # mean width of a letter in a sans-serif face
LINE = 15

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom
COVERED = 100.0  # the cost of a place where another name stands
SAMPLE = 30  # width of a piece of a curve beside its name in the legend


@dataclass
class Series:
    """One curve, or single marks where ``line`` is false."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    role: str = "classical"  # a class of the style sheet
    dash: str = ""
    marker: str = "circle"  # none when empty
    line: bool = True
    every_point: bool = False  # a marker on each point, not on a few
    label: bool = True
    band: tuple[Sequence[float], Sequence[float]] | None = None  # lower and upper edge


def name_beside(s: Series, line: list[Point], obstacles: NDArray, placed: list[Box], canvas: Box, wide: bool) -> str:
    """The name of a curve beside it, where it covers least: after its end if that is free, else along it; empty where
    it would cover another name.
    """
    lines = wrap(s.name, 22 if wide else 17)
    w, h = max(map(len, lines)) * CHARACTER + 2, len(lines) * LINE
    end, points = line[-1], along(line)
    options: list[tuple[float, Box, str]] = [
        (abs(shift) * 0.35, (x, end[1] - h / 2 + shift, x + w, end[1] + h / 2 + shift), "start")
        for shift in (0, -10, 10, -20, 20, -30, 30, -44, 44)
        for x in [end[0] + 9 + min(10, abs(shift) / 2)]
    ]
    for k in range(20):
        x, y = points[round((len(points) - 1) * (1 - k / 20))]
        options += [
            (2 + 0.35 * k + abs(dx) / 20 + gap / 4, (x + dx - w / 2, top, x + dx + w / 2, top + h), "middle")
            for gap in (7, 14)
            for dx in (0.0, w / 2, -w / 2)
            for top in (y - gap - h, y + gap)
        ]
    best: tuple[float, Box, str] | None = None
    for cost, box, anchor in options:
        if box[0] < canvas[0] or box[2] > canvas[2] or box[1] < canvas[1] or box[3] > canvas[3]:
            continue
        cost += 4.0 * _covered(obstacles, box, 2, 1) + 0.2 * _covered(obstacles, box, 9, 9)
        cost += sum(
            COVERED
            for o in placed
            if box[0] < o[2] + 4 and o[0] < box[2] + 4 and box[1] < o[3] + 2 and o[1] < box[3] + 2
        )
        if best is None or cost < best[0]:
            best = (cost, box, anchor)
    if best is None or best[0] >= COVERED:
        return ""
    _, box, anchor = best
    placed.append(box)
    x = box[0] if anchor == "start" else (box[0] + box[2]) / 2
    leader = ""
    middle = (box[1] + box[3]) / 2
    if anchor == "start" and abs(middle - end[1]) > 9:
        leader = f'<path class="leader" d="M{end[0] + 3:.1f} {end[1]:.1f}L{box[0] - 2:.1f} {middle:.1f}"/>'
    rows = "".join(
        f'<tspan x="{x:.1f}" y="{box[1] + LINE * (k + 1) - 4:.1f}">{escape(text)}</tspan>'
        for k, text in enumerate(lines)
    )
    return f'{leader}<text class="label {s.role}" text-anchor="{anchor}">{rows}</text>'


def names_below(series: Sequence[Series], top: float, width: float) -> tuple[list[str], float]:
    """Pieces of curves, each with its name, in lines as wide as the chart; and the height that they take."""
    parts: list[str] = []
    x, y = 0.0, top
    for s in series:
        lines = wrap(s.name, int((width - SAMPLE - 8) / CHARACTER))
        room = SAMPLE + 8 + max(map(len, lines)) * CHARACTER * (1.15 if s.role == "network" else 1.0) + 18
        if x and x + room > width:
            x, y = 0.0, y + LINE + 3
        middle = y + 8
        if s.line:
            dash = f' stroke-dasharray="{s.dash}"' if s.dash else ""
            parts.append(f'<path class="line {s.role}"{dash} d="M{x:.1f} {middle:.1f}h{SAMPLE}"/>')
        if s.marker:
            place = (x + SAMPLE / 2, middle)
            parts.append(f'<path class="mark {s.role} {s.marker}" d="{marker(s.marker, place)}"/>')
        rows = "".join(
            f'<tspan x="{x + SAMPLE + 8:.1f}" y="{middle + 4 + LINE * k:.1f}">{escape(text)}</tspan>'
            for k, text in enumerate(lines)
        )
        parts.append(f'<text class="label {s.role}">{rows}</text>')
        if len(lines) > 1:
            x, y = 0.0, y + LINE * len(lines) + 3
        else:
            x += room
    return parts, (y - top + (LINE + 9 if x else 6)) if series else 0.0


def _covered(points: NDArray, box: Box, dx: float, dy: float) -> int:
    x, y = points[:, 0], points[:, 1]
    return int(((x > box[0] - dx) & (x < box[2] + dx) & (y > box[1] - dy) & (y < box[3] + dy)).sum())


def along(points: list[Point]) -> list[Point]:
    """Points along the polyline, at most six units apart."""
    result = points[:1]
    for (x0, y0), (x1, y1) in pairwise(points):
        count = min(200, max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / 6)))
        result += [(x0 + (x1 - x0) * k / count, y0 + (y1 - y0) * k / count) for k in range(1, count + 1)]
    return result


def marker(kind: str, p: Point, radius: float = 4) -> str:
    """The path of a marker."""
    x, y, r = *p, radius
    match kind:
        case "square":
            return f"M{x - r + 0.5:.1f} {y - r + 0.5:.1f}h{2 * r - 1}v{2 * r - 1}h{1 - 2 * r}z"
        case "triangle":
            return f"M{x:.1f} {y - r - 0.5:.1f}l{r + 0.5} {2 * r}h{-2 * r - 1}z"
        case "diamond":
            return f"M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z"
        case "cross":
            return f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}"
        case "plus":
            return f"M{x - r - 1:.1f} {y:.1f}h{2 * r + 2}M{x:.1f} {y - r - 1:.1f}v{2 * r + 2}"
        case _:
            return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"


def wrap(text: str, length: int) -> list[str]:
    """At most two lines of about ``length`` characters; what does not fit ends in an ellipsis."""
    if len(text) <= length:
        return [text]
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > length:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    if len(lines) > 2:
        lines = [lines[0], lines[1] + " …"]
    return [line if len(line) <= length + 2 else line[:length] + "…" for line in lines]
