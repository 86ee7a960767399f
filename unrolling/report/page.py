"""One self-contained HTML page of a comparison."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from unrolling.core.drawing.letters import greek
from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import LEVEL
from unrolling.report import codes, figures, parameters, pictures, sounds, study, table, text, time_series
from unrolling.report.chart import y_range


def write_page(comparison: Comparison, directory: str | Path) -> Path:
    """Write ``index.html``: no script, nothing fetched from elsewhere; parts whose data are absent are left out.

    Args:
        comparison: what to show.
        directory: made when it does not exist.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written; a page that was there is as it was.
    """
    from unrolling.files.whole import write_bytes

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "index.html"
    write_bytes(path, render(comparison).encode("utf-8"))
    return path


def render(comparison: Comparison) -> str:
    """The page as text."""
    curves = [figures.error_by_iteration(comparison), figures.error_by_time(comparison)]
    return (
        environment()
        .get_template("template.html")
        .render(
            c=comparison,
            metric=comparison.metric,
            galleries=pictures.galleries(comparison.pictures),
            rows=table_rows(comparison),
            forest=_forest_limits(comparison),
            batch_sizes=table.batch_sizes(comparison),
            curves=[figure for figure in curves if figure is not None and any(figure.drawings)],
            parameters=parameters.parameter_figures(comparison.parameters),
            parameter_rows=parameters.parameter_rows(comparison.parameters),
            equations=greek(comparison.equations),
            atoms=pictures.atom_images(comparison.atoms),
            codes=codes.code_groups(comparison.codes),
            sounds=sounds.groups(comparison.sounds),
            time_series=time_series.charts(comparison.time_series),
            costs=table.cost_rows(comparison),
            singles=table.spread_rows(comparison),
            single_heads=table.spread_heads(comparison),
            level=LEVEL,
            spread=study.spread_words(comparison),
            criteria=study.criteria_rows(comparison),
            heads=list(study.HEADS.values()),
            layers=study.layer_figures(comparison),
            sliders=pictures.sliders(comparison.layer_pictures),
            shifts=study.shift_figures(comparison),
            sizes=study.size_figure(comparison),
            safeguard=study.safeguard_words(comparison),
            coverage=study.coverage_words(comparison),
            coverage_rows=study.coverage_rows(comparison),
            environment=_flat(comparison.environment),
        )
    )


def environment() -> Any:
    """Jinja with this folder's templates; values are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("unrolling.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def table_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The table's rows as text, with the positions of their intervals in percent of the column."""
    rows = comparison.rows
    network = table.network_row(comparison)
    quality = table.best_quality(comparison)
    batch = table.best(table.contending(comparison, [row.seconds and row.seconds.batch for row in rows]))
    single = table.best(table.contending(comparison, [row.seconds and row.seconds.single for row in rows]))
    limits = _forest_limits(comparison)

    def percent(value: float) -> float | None:
        (value,) = figures.drawn(comparison.metric, [value])
        if limits is None or not math.isfinite(value):
            return None
        place = 100 * (value - limits[0]) / (limits[1] - limits[0])
        return round(min(max(place, 0.0), 100.0), 2)

    result = []
    for index, row in enumerate(rows):
        low, high = percent(row.quality.low), percent(row.quality.high)
        result.append(
            {
                "name": row.name,
                "role": table.ROLE_WORDS.get(row.role, row.role),
                "network": row is network,
                "quality": text.quality_text(row.quality.mean, comparison.metric),
                "interval": text.interval_text(row.quality, comparison.metric),
                "best": index == quality,
                "place": percent(row.quality.mean),
                "bar": None if low is None or high is None else (low, round(high - low, 2)),
                "level": percent(network.quality.mean) if network is not None else None,
                "iterations": text.count_text(row.iterations),
                "parameters": text.count_text(row.parameters),
                "batch": text.seconds_text(row.seconds and row.seconds.batch),
                "batch_size": row.seconds.batch_size if row.seconds else None,
                "fastest_batch": index == batch,
                "single": text.seconds_text(row.seconds and row.seconds.single),
                "fastest_single": index == single,
                "ratio": text.ratio_text(table.ratio(row, network)),
                "note": row.note,
                "more": ", ".join(f"{name} {text.digits(value)}" for name, value in row.more.items()),
            }
        )
    return result


def _forest_limits(comparison: Comparison) -> tuple[float, float] | None:
    """The ends of the column that draws the intervals."""
    ends = [
        v
        for row in comparison.rows
        for v in figures.drawn(comparison.metric, (row.quality.mean, row.quality.low, row.quality.high))
    ]
    values = [v for v in ends if math.isfinite(v)]
    own = [row.quality for row in comparison.rows if row.role == "network"]
    inside = [v for q in own for v in figures.drawn(comparison.metric, (q.mean, q.low, q.high)) if math.isfinite(v)]
    return (
        y_range(values, figures.SPAN, "low" if comparison.metric.better == "lower" else "high", inside)
        if len(values) > 1
        else None
    )


def _flat(environment: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Keys and values as text; those of a nested record by both names."""
    result: list[tuple[str, str]] = []
    for key, value in environment.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            result += _flat(value, f"{name}, ")
        else:
            result.append(
                (
                    name,
                    text.ABSENT
                    if value is None
                    else ", ".join(map(str, value))
                    if isinstance(value, list | tuple)
                    else str(value),
                )
            )
    return result
