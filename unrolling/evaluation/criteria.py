"""The survey's Table III, measured: performance, efficiency, parameters, interpretability and generalisability of three
kinds of method.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.headlines import standing, stands
from unrolling.evaluation.records import Criterion, Row

KINDS = ("parent", "generic", "network")


def criteria(comparison: Comparison) -> list[Criterion]:
    """One line per criterion, from the measurements of a comparison. A kind of method that was not measured says
    "unknown", one that gave no number or diverged "fails", in every line; neither is ever the best. No generic network
    below the best linear estimate stands for its kind. A line with fewer than two numbers is left out.
    """
    metric = comparison.metric
    rows = {
        "parent": _best(comparison, [r for r in comparison.rows if r.role == "parent"]),
        "generic": _best(
            comparison,
            [
                r
                for r in comparison.rows
                # A network, which training took time: not the best linear estimate.
                if r.role == "generic" and r.training_seconds is not None and stands(r, comparison.rows, metric)
            ],
        ),
        "network": comparison.rows[0],
    }
    diverged = {
        kind
        for kind in KINDS
        if (own := [r for r in comparison.rows if r.role == kind]) and not any(isfinite(r.quality.mean) for r in own)
    }
    lines = []

    def add(
        name: str, measured: str, values: dict[str, float | None], better: str, write: str, missing: str = "unknown"
    ) -> None:
        known = {kind: value for kind, value in values.items() if value is not None}
        known |= dict.fromkeys(diverged, float("nan"))  # cheap and quick for having given nothing
        finite = {kind: value for kind, value in known.items() if isfinite(value)}
        if len(finite) < 2:
            return
        pick = min if better == "lower" else max
        top = pick(finite.values())
        best = tuple(kind for kind, value in finite.items() if value == top)
        text = {
            kind: write.format(finite[kind]) if kind in finite else "fails" if kind in known else missing
            for kind in KINDS
        }
        lines.append(Criterion(name, measured, text["parent"], text["generic"], text["network"], best))

    write = "{:.2e}" if metric.logarithmic else f"{{:.{metric.places}f}}"
    own = comparison.rows[0]
    quality = {kind: standing(row, own) if row else None for kind, row in rows.items()}
    add("performance", f"{metric.name} on the test set, {metric.unit}", quality, metric.better, write)
    seconds = {kind: row.seconds.batch * 1e3 if row and row.seconds else None for kind, row in rows.items()}
    add("efficiency", "time per sample in a batch, ms", seconds, "lower", "{:.3g}")
    work = {
        kind: row.cost.multiply_adds / 1e6 if row and row.cost and row.cost.multiply_adds is not None else None
        for kind, row in rows.items()
    }
    add("efficiency", "multiply-adds per sample, millions", work, "lower", "{:.3g}", "not counted")
    add(
        "parameters",
        "learned numbers",
        {kind: float(row.parameters or 0) if row else None for kind, row in rows.items()},
        "lower",
        "{:,.0f}",
    )
    add(
        "interpretability",
        "iterations or layers after which the estimate is better than before, %",
        _progress(comparison),
        "higher",
        "{:.0f}",
    )
    for shift in comparison.shifts:
        areas: dict[str, float | None] = dict.fromkeys(KINDS)
        for curve in shift.curves:
            if curve.role in areas and areas[curve.role] is None:
                areas[curve.role] = curve.area
        add("generalisability", f"mean {metric.name} over {shift.name}, {metric.unit}", areas, metric.better, write)
    if comparison.sizes:
        sizes = comparison.sizes[0].samples
        few: dict[str, float | None] = {"parent": None, **{curve.role: curve.quality[0] for curve in comparison.sizes}}
        add(
            "generalisability",
            f"{metric.name} after training on {sizes[0]} samples, {metric.unit}",
            few,
            metric.better,
            write,
        )
    return lines


def _best(comparison: Comparison, rows: Sequence[Row]) -> Row | None:
    usable = [row for row in rows if isfinite(row.quality.mean)]
    if not usable:
        return None
    return min(usable, key=lambda row: comparison.metric.rank(standing(row, comparison.rows[0])))


def _progress(comparison: Comparison) -> dict[str, float | None]:
    found: dict[str, float | None] = {"parent": None, "generic": None, "network": None}
    for curve in comparison.curves:
        if curve.role in found and found[curve.role] is None and len(curve.quality) > 1:
            steps = [comparison.metric.gain(b, a) > 0 for a, b in zip(curve.quality, curve.quality[1:], strict=False)]
            found[curve.role] = 100 * sum(steps) / len(steps)
    return found
