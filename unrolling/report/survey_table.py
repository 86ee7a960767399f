"""Table II of the survey from stored comparisons, and the ratios that its text states beside what was measured."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.records import Row
from unrolling.files.whole import write_bytes
from unrolling.report.collection import read_comparison
from unrolling.report.text import ABSENT, count_text, quality_text, rate_text, ratio_text, seconds_text
from unrolling.systems.survey_table import CLAIMS, TABLE_2, Claim, TableRow

TITLE = "Table II of the survey, measured again"
KINDS = ("unrolled network", "iterative algorithm", "deep network")
HEADS = ("", *KINDS)
CLAIM_HEADS = ("claim", "the survey's text", "its Table II", "here", "why")
NOT_STORED = "no comparison of it is stored"


def stored_comparisons(places: Iterable[Path]) -> list[Comparison]:
    """The comparisons in files, in folders that ``unroll compare`` wrote, and in folders of ``.json`` files.

    Raises:
        ValueError: a place that holds none, a file that is no comparison.
    """
    found = []
    for place in places:
        files = (
            sorted(place.glob("*.json")) if place.is_dir() and not (place / "comparison.json").is_file() else [place]
        )
        if not files:
            raise ValueError(f"{place} holds no comparison: name folders that `unroll compare` wrote, or their files")
        found += [read_comparison(file) for file in files]
    return found


def entries(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Both tables as plain data: ``rows`` and ``claims``.

    A row has the task, for each of three kinds of methods ``published`` and ``measured`` (name, seconds of one sample
    alone, learned parameters, quality), the computer, and why they differ. A claim has the ratio of the text, that of
    the survey's own table, and for each of our methods it is held against the ratio here.
    """
    return {
        "rows": [_row(row, comparisons) for row in TABLE_2],
        "claims": [_claim(claim, comparisons) for claim in CLAIMS],
    }


def markdown_survey_table(comparisons: Sequence[Comparison]) -> str:
    """Both tables as Markdown."""
    found = entries(comparisons)
    lines = [
        f"## {TITLE}",
        "Seconds are of one sample alone, on one computer; those of the survey are of theirs, and of other images.",
        _table(HEADS, [cells for row in found["rows"] for cells in _table_cells(row)]),
        *(f"- {row['system']}, {row['task']}: {row['remark']}" for row in found["rows"]),
        "## Ratios that the text states",
        _table(CLAIM_HEADS, [_claim_cells(claim) for claim in found["claims"]]),
    ]
    return "\n\n".join(lines[:3]) + "\n\n" + "\n".join(lines[3:-2]) + "\n\n" + "\n\n".join(lines[-2:]) + "\n"


def write_survey_table(comparisons: Sequence[Comparison], directory: str | Path) -> Path:
    """Write ``table-2.html`` with both tables.

    Args:
        comparisons: what ``stored_comparisons`` gave.
        directory: made when it does not exist.

    Returns:
        The path of the page.
    """
    from unrolling.report.page import environment

    found = entries(comparisons)
    text = (
        environment()
        .get_template("survey_table.html")
        .render(
            title=TITLE,
            heads=HEADS,
            rows=[(row, _table_cells(row)) for row in found["rows"]],
            claim_heads=CLAIM_HEADS,
            claims=[_claim_cells(claim) for claim in found["claims"]],
        )
    )
    path = Path(directory) / "table-2.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode("utf-8"))
    return path


def _of(comparisons: Sequence[Comparison], system: str, task: str) -> list[Comparison]:
    """Those of a system on a task at its defaults, shallow networks first."""
    own = [c for c in comparisons if (c.system, c.task) == (system, task) and "--set" not in shlex.split(c.command)]
    return sorted(own, key=lambda c: c.row("network").iterations or 0)


def _row(row: TableRow, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    own = _of(comparisons, row.system, row.task)
    measured: tuple[Row | None, ...] = (None, None, None)
    if own:
        rows = own[-1].rows
        classical = [r for r in rows if r.role in ("parent", "classical")]
        if row.methods:
            iterative = [r for r in classical if r.name.startswith(row.methods)]
        else:
            iterative = [r for r in classical if r.iterations is not None]
        deep = [r for r in rows if r.role == "generic" and r.parameters]
        measured = (own[-1].row("network"), _best(own[-1], iterative), _best(own[-1], deep))
    return {
        "system": row.system,
        "title": own[-1].title if own else row.network.name,
        "task": row.task,
        "computer": _computer(own[-1]) if own else "",
        "remark": row.remark,
        **{
            kind: {"published": published._asdict(), "measured": found and _measured(own[-1], found)}
            for kind, published, found in zip(KINDS, (row.network, row.iterative, row.deep), measured, strict=True)
        },
    }


def _best(comparison: Comparison, rows: list[Row]) -> Row | None:
    """The row with the best quality; of equals the one with the most iterations."""
    sign = -1 if comparison.metric.better == "lower" else 1
    finite = [row for row in rows if math.isfinite(row.quality.mean)]
    return max(finite, key=lambda row: (sign * row.quality.mean, row.iterations or 0), default=None)


def _measured(comparison: Comparison, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "seconds": row.seconds and row.seconds.single,
        "parameters": row.parameters or None,
        "quality": row.quality.mean if math.isfinite(row.quality.mean) else None,
        "quality_text": f"{_quality(comparison, row)} {comparison.metric.name}",
    }


def _quality(comparison: Comparison, row: Row) -> str:
    return f"{quality_text(row.quality.mean, comparison.metric)} {comparison.metric.unit}".rstrip()


def _computer(comparison: Comparison) -> str:
    known = comparison.environment
    cores = f"{known['threads']} of {known['cores']} cores" if {"threads", "cores"} <= known.keys() else ""
    return ", ".join(part for part in (str(known.get("processor", "")), cores) if part)


def _claim(claim: Claim, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    own = _of(comparisons, claim.system, claim.task)
    found = [
        {
            "layers": comparison.row("network").iterations,
            "against": row.name,
            "ratio": _ratio(claim, comparison.row("network"), row, "single"),
            "in_a_batch": _ratio(claim, comparison.row("network"), row, "batch") if claim.of == "time" else None,
            "quality": [_quality(comparison, comparison.row("network")), _quality(comparison, row)],
        }
        for comparison in own
        for row in comparison.rows
        if row.role != "network" and any(row.name.startswith(name) for name in claim.rivals)
    ]
    return {
        "claim": claim.words,
        "of": claim.of,
        "text": claim.least,
        "table": claim.table,
        "measured": found,
        "parameters": own[-1].row("network").parameters if own and claim.of == "parameters" else None,
        "stored": bool(own) or not claim.system,
        "why": claim.remark,
    }


def _ratio(claim: Claim, network: Row, row: Row, kind: str) -> float | None:
    if claim.of == "parameters":
        return row.parameters / network.parameters if row.parameters and network.parameters else None
    if network.seconds is None or row.seconds is None:
        return None
    own = getattr(network.seconds, kind)
    return getattr(row.seconds, kind) / own if own and own > 0 else None


def _table_cells(row: dict[str, Any]) -> list[tuple[str, ...]]:
    """Survey and here: reference, running time, parameter count, quality."""
    kinds = [row[kind] for kind in KINDS]
    name = f"{row['title']}, {row['task']}"
    ours = [kind["measured"] for kind in kinds]
    lines = [
        (f"**{name}**, the survey", *(f"{k['published']['name']}, {k['published']['paper']}" for k in kinds)),
        ("running time", *(f"{k['published']['seconds']:.2f} s" for k in kinds)),
        ("parameters", *(_rounded(k["published"]["parameters"]) for k in kinds)),
    ]
    if ours[0] is None:
        return [*lines, (f"**{name}**, here", NOT_STORED, "", "")]
    return [
        *lines,
        (f"**{name}**, here", *(ABSENT if m is None else m["name"] for m in ours)),
        ("running time", *(seconds_text(m and m["seconds"]) for m in ours)),
        ("parameters", *(count_text(m and m["parameters"]) for m in ours)),
        ("quality", *(ABSENT if m is None else m["quality_text"] for m in ours)),
        ("computer", row["computer"], "the same", "the same"),
    ]


def _rounded(count: float | None) -> str:
    return ABSENT if count is None else rate_text(count, 2)


def _claim_cells(claim: dict[str, Any]) -> tuple[str, ...]:
    unit = "times faster" if claim["of"] == "time" else "times fewer parameters"
    return (
        claim["claim"],
        f"{claim['text']:g} {unit}",
        ratio_text(claim["table"]),
        _here(claim),
        claim["why"],
    )


def _here(claim: dict[str, Any]) -> str:
    """What was measured, in words."""
    if not claim["stored"]:
        return NOT_STORED
    parts = []
    for each in claim["measured"]:
        own, other = each["quality"]
        layers = f"{each['layers']} layer{'s' * (each['layers'] != 1)}"
        where = f"{layers}, {own}, against {each['against']}, {other}"
        together = f" alone, {ratio_text(each['in_a_batch'])} in a batch" if each["in_a_batch"] is not None else ""
        parts.append(f"{ratio_text(each['ratio'])}{together} ({where})")
    if claim["parameters"] is not None and not parts:
        return f"not measured; {count_text(claim['parameters'])} parameters here"
    return "; ".join(parts) or "not measured"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])
