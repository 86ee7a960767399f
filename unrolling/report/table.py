"""The table of a comparison, as Markdown and in a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.headlines import standing, stands
from unrolling.evaluation.records import Row
from unrolling.evaluation.significance import PERMUTATIONS
from unrolling.report.study import HEADS, coverage_words, criteria_rows, safeguard_words
from unrolling.report.text import (
    ABSENT,
    bytes_text,
    count_text,
    digits,
    interval_text,
    quality_text,
    ratio_text,
    seconds_text,
    work_text,
)
from unrolling.tasks.metrics import Metric

if TYPE_CHECKING:
    from rich.console import Console

NOT_COUNTED = "not counted"
LEAST_P = 1 / (1 + PERMUTATIONS) * (1 + 1e-9)  # of so many permutations

ROLE_WORDS = {
    "network": "unrolled network",
    "initial": "network before training",
    "parent": "algorithm it is unrolled from",
    "classical": "classical method",
    "library": "other library",
    "generic": "generic network",
}


def ratio(row: Row, network: Row | None) -> float | None:
    """How many times the network's time per sample in a batch a row takes."""
    if network is None or network.seconds is None or row.seconds is None or not network.seconds.batch > 0:
        return None
    return row.seconds.batch / network.seconds.batch


def network_row(comparison: Comparison) -> Row | None:
    """The row that the others are measured against."""
    return next((row for row in comparison.rows if row.role == "network"), None)


def contending(comparison: Comparison, values: Iterable[float | None]) -> list[float | None]:
    """Values of the rows that may be called the best of something; None of those that diverged, and of generic networks
    below the best linear estimate.
    """
    rows = comparison.rows
    return [value if stands(row, rows, comparison.metric) else None for row, value in zip(rows, values, strict=True)]


def best(values: Iterable[float | None], better: str = "lower") -> int | None:
    """The index of the best finite value."""
    finite = [(value, index) for index, value in enumerate(values) if value is not None and math.isfinite(value)]
    if not finite:
        return None
    return min(finite)[1] if better == "lower" else max(finite, key=lambda pair: pair[0])[1]


def best_quality(comparison: Comparison) -> int | None:
    """The index of the row with the best metric; one on a part of the samples stands where its difference from the
    network on those puts it.
    """
    network = network_row(comparison)
    values = [row.quality.mean if network is None else standing(row, network) for row in comparison.rows]
    return best(values, comparison.metric.better)


def batch_sizes(comparison: Comparison) -> set[int]:
    """The batch sizes that times were measured with."""
    return {row.seconds.batch_size for row in comparison.rows if row.seconds is not None}


def markdown_table(comparison: Comparison) -> str:
    """The rows as a GitHub-flavoured Markdown table; the best quality is bold."""
    metric, network = comparison.metric, network_row(comparison)
    sizes = batch_sizes(comparison)
    batch = f"a batch of {next(iter(sizes))}" if len(sizes) == 1 else "a batch"
    lines = [
        f"| method | role | {_cell(metric.name)} ({_cell(metric.unit)}, {metric.better} is better) | iterations | "
        f"learned parameters | time per sample in {batch} | alone | time / network's |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    winner = best_quality(comparison)
    for index, row in enumerate(comparison.rows):
        quality = quality_text(row.quality.mean, metric)
        quality = f"**{quality}**" if index == winner else quality
        seconds = row.seconds
        cells = [
            _cell(row.name),
            ROLE_WORDS.get(row.role, _cell(row.role)),
            f"{quality} {interval_text(row.quality, metric)}".strip(),
            count_text(row.iterations),
            count_text(row.parameters),
            seconds_text(seconds and seconds.batch),
            seconds_text(seconds and seconds.single),
            ratio_text(ratio(row, network)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown page: headline, table, Table III, where the network falls behind, how it was
    made.
    """
    parts = [
        f"# {comparison.title}: {comparison.task}",
        comparison.headline,
        comparison.summary,
        markdown_table(comparison),
    ]
    if spreads := spread_rows(comparison):
        heads = [_cell(head) for head in spread_heads(comparison)]
        lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
        parts.append("\n".join([*lines, *(f"| {' | '.join(map(_cell, cells))} |" for cells in spreads)]))
    if comparison.criteria:
        lines = [f"| criterion | measured by | {' | '.join(HEADS.values())} |", "|---|---|---:|---:|---:|"]
        for row in criteria_rows(comparison):
            cells = [f"**{text}**" if mark else text for text, mark in row["cells"]]  # pyright: ignore
            lines.append(f"| {_cell(str(row['name']))} | {_cell(str(row['measured']))} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    for shift in comparison.shifts:
        where = (
            f"falls behind {shift.parent} at about {digits(shift.crossing)}"
            if shift.crossing is not None
            else ("stays ahead of its parent")
        )
        parts.append(f"- {shift.name}: the network {where}.")
    parts += [safeguard_words(comparison), coverage_words(comparison), *(f"- {note}" for note in comparison.notes)]
    if comparison.command:
        parts.append(f"```\n{comparison.command}\n```")
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def spread_rows(comparison: Comparison) -> list[list[str]]:
    """Per row whose units have values of their own: name, mean, median, what 99 % are better than, the worst, the rate
    of failures, units.
    """
    rows = []
    for row in comparison.rows:
        own = row.spread
        if own is None:
            continue
        values = (quality_text(v, comparison.metric) for v in (own.mean, own.median, own.percentile, own.worst))
        failed = ABSENT if own.failures is None else f"{own.failures:,} ({100 * own.failures / own.count:.2g} %)"
        rows.append([row.name, *values, failed, count_text(own.count)])
    return rows


def spread_heads(comparison: Comparison) -> list[str]:
    """Of the columns of ``spread_rows``."""
    metric = comparison.metric
    limit = next((row.spread.limit for row in comparison.rows if row.spread and row.spread.limit is not None), None)
    failed = "failed" if limit is None else f"worse than {quality_text(limit, metric)}"
    return ["method", f"{metric.name}, all", "median", "99 % better than", "worst", failed, f"{metric.resampled}s"]


def paired_text(row: Row, metric: Metric) -> str:
    """How a row differs from the network on the same samples."""
    if row.paired is None:
        return ""
    sign = "+" if row.paired.difference > 0 else ""
    p = row.paired.p if row.paired.adjusted is None else row.paired.adjusted
    chance = f"p = {p:.2g}" if row.paired.p > LEAST_P else f"p ≤ {p:.2g}"  # no swap was as large: a bound
    low, high = quality_text(row.paired.low, metric), quality_text(row.paired.high, metric)
    return f"{sign}{quality_text(row.paired.difference, metric)} {metric.unit} [{low}, {high}], {chance}"


def cost_rows(comparison: Comparison) -> list[list[str]]:
    """Per row: name, difference from the network, multiply-adds, memory, stored bytes, training time, quartiles of the
    time in a batch.
    """
    rows = []
    for row in comparison.rows:
        quartiles = row.seconds.batch_quartiles if row.seconds else None
        between = f"{seconds_text(quartiles[0])} to {seconds_text(quartiles[1])}" if quartiles else ABSENT
        cost = row.cost
        rows.append(
            [
                row.name,
                paired_text(row, comparison.metric) or ABSENT,
                NOT_COUNTED if cost is None or cost.multiply_adds is None else work_text(cost.multiply_adds),
                bytes_text(cost.peak_bytes) if cost else ABSENT,
                bytes_text(cost.stored_bytes) if cost else ABSENT,
                seconds_text(row.training_seconds),
                between,
            ]
        )
    return rows


def print_table(comparison: Comparison, console: Console | None = None) -> None:
    """The rows in a terminal: the network's in bold, the best quality marked with a star; a narrow terminal gets fewer
    columns.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    metric, network = comparison.metric, network_row(comparison)
    table = Table(
        title=Text(f"{comparison.title}: {comparison.task}"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    columns: list[tuple[str, Callable[[int, Row], str]]] = [
        (
            f"{metric.name}, {metric.unit}",
            lambda index, row: ("* " if index == winner else "") + quality_text(row.quality.mean, metric),
        ),
        ("iterations", lambda _, row: count_text(row.iterations)),
        ("in a batch", lambda _, row: seconds_text(row.seconds and row.seconds.batch)),
        ("alone", lambda _, row: seconds_text(row.seconds and row.seconds.single)),
        ("/ network", lambda _, row: ratio_text(ratio(row, network))),
    ]
    if console.width >= 100:
        columns.insert(2, ("parameters", lambda _, row: count_text(row.parameters)))
    if console.width >= 120:
        columns.insert(1, ("95 % interval", lambda _, row: interval_text(row.quality, metric) or ABSENT))
    table.add_column("method", overflow="fold")
    for header, _ in columns:
        table.add_column(Text(header), justify="right", no_wrap=True)
    winner = best_quality(comparison)
    for index, row in enumerate(comparison.rows):
        cells = [row.name, *(write(index, row).replace("−", "-") for _, write in columns)]
        table.add_row(*map(Text, cells), style="bold" if row is network else "")
    console.print(table)
    console.print(
        Text(
            f"* the best; {metric.better} {metric.name} is better. Median times per sample; / network: in a batch, "
            "over the network's.",
            style="dim",
        )
    )
    if network is not None and network.spread is not None:
        heads, (_, *cells) = spread_heads(comparison), next(iter(spread_rows(comparison)))
        words = ", ".join(f"{head} {cell}" for head, cell in zip(heads[1:], cells, strict=True))
        console.print(Text(f"Of single {metric.resampled}s, the network: {words.replace('−', '-')}.", style="dim"))


def _cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
