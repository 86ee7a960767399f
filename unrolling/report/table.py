"""The table of a comparison: its numbers as words, as Markdown, and in a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import Interval, Row
from unrolling.tasks.base import Metric

if TYPE_CHECKING:
    from rich.console import Console

ABSENT = "–"
ROLE_WORDS = {
    "network": "unrolled network",
    "initial": "network before training",
    "parent": "algorithm it is unrolled from",
    "classical": "classical method",
    "peer": "other library",
    "generic": "generic network",
}


def decimals(value: float | None, places: int = 2) -> str:
    """A number with a real minus sign; a dash when there is none."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:,.{places}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 and text.startswith("-") else text).replace("-", "−")


def quality_text(value: float | None, metric: Metric) -> str:
    """A metric's value: two decimals in dB, three digits with an exponent for an error rate."""
    if metric.decibels or value is None or not math.isfinite(value):
        return decimals(value)
    return rate_text(value)


def rate_text(value: float, count: int = 3) -> str:
    """``2.54e−3``."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{count - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def interval_text(quality: Interval, metric: Metric) -> str:
    """``[low, high]``, or nothing when an end is missing."""
    finite = math.isfinite(quality.low) and math.isfinite(quality.high)
    return f"[{quality_text(quality.low, metric)}, {quality_text(quality.high, metric)}]" if finite else ""


def count_text(count: int | None) -> str:
    """A whole number with commas."""
    return ABSENT if count is None else f"{count:,}"


def seconds_text(seconds: float | None) -> str:
    """A duration with three digits, in ns, µs, ms or s."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return ABSENT
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * size:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds)} s"


def seconds_tick(seconds: float) -> str:
    """A duration without trailing zeros, for an axis."""
    number, unit = seconds_text(seconds).rsplit(" ", 1)
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def digits(value: float, count: int = 3) -> str:
    """A number rounded to ``count`` digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ABSENT
    value = float(f"{value:.{count}g}")
    return f"{value:,.{max(0, count - 1 - math.floor(math.log10(abs(value))))}f}".replace("-", "−")


def ratio(row: Row, network: Row | None) -> float | None:
    """How many times the network's time per sample in a batch a row takes."""
    if network is None or network.seconds is None or row.seconds is None or not network.seconds.batch > 0:
        return None
    return row.seconds.batch / network.seconds.batch


def ratio_text(value: float | None) -> str:
    """``0.42×``, ``17×``."""
    return (
        ABSENT
        if value is None or not math.isfinite(value)
        else f"{digits(value, 2) if value < 99.5 else f'{value:,.0f}'}×"
    )


def network_row(comparison: Comparison) -> Row | None:
    """The row that the others are measured against."""
    return next((row for row in comparison.rows if row.role == "network"), None)


def best(values: Iterable[float | None], better: str = "lower") -> int | None:
    """The index of the best finite value."""
    finite = [(value, index) for index, value in enumerate(values) if value is not None and math.isfinite(value)]
    if not finite:
        return None
    return min(finite)[1] if better == "lower" else max(finite, key=lambda pair: pair[0])[1]


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
    winner = best([row.quality.mean for row in comparison.rows], metric.better)
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
    from unrolling.report.study import HEADS, criteria_rows, safeguard_words

    parts = [
        f"# {comparison.title}: {comparison.task}",
        comparison.headline,
        comparison.summary,
        markdown_table(comparison),
    ]
    if comparison.criteria:
        lines = [f"| criterion | measured by | {' | '.join(HEADS.values())} |", "|---|---|---:|---:|---:|"]
        for row in criteria_rows(comparison):
            cells = [f"**{text}**" if mark else text for text, mark in row["cells"]]  # pyright: ignore[reportGeneralTypeIssues]
            lines.append(f"| {_cell(str(row['name']))} | {_cell(str(row['measured']))} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    for shift in comparison.shifts:
        where = (
            f"falls behind {shift.parent} at about {digits(shift.crossing)}"
            if shift.crossing is not None
            else ("stays ahead of its parent")
        )
        parts.append(f"- {shift.name}: the network {where}.")
    parts += [safeguard_words(comparison), *(f"- {note}" for note in comparison.notes)]
    if comparison.command:
        parts.append(f"```\n{comparison.command}\n```")
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def paired_text(row: Row, metric: Metric) -> str:
    """How a row differs from the network on the same samples."""
    if row.paired is None:
        return ""
    sign = "+" if row.paired.difference > 0 else ""
    p = "p < 0.002" if row.paired.p < 0.002 else f"p = {row.paired.p:.2g}"
    low, high = quality_text(row.paired.low, metric), quality_text(row.paired.high, metric)
    return f"{sign}{quality_text(row.paired.difference, metric)} {metric.unit} [{low}, {high}], {p}"


def bytes_text(size: int | None) -> str:
    """``1.2 MB``, in powers of ten."""
    if size is None:
        return ABSENT
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{digits(size / scale)} {unit}"
    return f"{size} B"


def work_text(count: int | None) -> str:
    """``4.13 M``."""
    if count is None:
        return ABSENT
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{digits(count / scale)} {unit}"
    return str(count)


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
                work_text(cost.multiply_adds) if cost else ABSENT,
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
    winner = best([row.quality.mean for row in comparison.rows], metric.better)
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


def _cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
