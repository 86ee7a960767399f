"""Several comparisons on one page, from what ``unroll compare`` wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from unrolling.evaluation.comparison import SCHEMA, Comparison
from unrolling.evaluation.records import ROLES, Curve, Interval, Row, Seconds
from unrolling.files import records
from unrolling.report import figures, table
from unrolling.tasks.metrics import Metric

LARGEST = 100_000_000  # bytes of a comparison
_TEXTS = records.listed(records.text())
_NUMBER = records.number.or_none()
_ROW = records.record(
    {
        "name": records.text(1000),
        "role": records.text(100),
        "quality": records.mapping(_NUMBER),
        "iterations": records.whole().or_none(),
        "parameters": records.whole().or_none(),
        "seconds": records.mapping().or_none(),
    },
    {"note": records.text(), "training_seconds": _NUMBER},
)
_CURVE = records.record(
    {
        "name": records.text(1000),
        "role": records.text(100),
        "iterations": records.listed(records.whole()),
        "quality": records.listed(_NUMBER),
        "seconds": _NUMBER,
    }
)
_FIELDS = {"system": records.text(1000), "metric": records.mapping(), "rows": records.listed(_ROW, 10_000)}
_OPTIONAL = {
    **dict.fromkeys(("title", "task", "summary", "command", "headline", "equations"), records.text()),
    "curves": records.listed(_CURVE, 10_000),
    "environment": records.mapping(),
    "notes": _TEXTS,
    "bibliography": _TEXTS,
}


def read_comparison(path: str | Path) -> Comparison:
    """From a folder or a ``comparison.json``.

    Raises:
        ValueError: no such file, not JSON, not a comparison, or of a newer schema.
    """
    path = Path(path)
    file = path / "comparison.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{path} holds no comparison.json: name folders that `unroll compare` wrote")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"{file} is larger than a comparison can be")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict) or "schema" not in content or "rows" not in content:
        raise ValueError(f"{file} is not a comparison that `unroll compare` wrote")
    if not isinstance(content["schema"], int) or content["schema"] > SCHEMA:
        raise ValueError(
            f"{file} has schema {content['schema']}, and this version of unrolling reads up to {SCHEMA}: "
            "update unrolling"
        )
    records.verify(file, content, _FIELDS, _OPTIONAL, "the comparison")
    try:
        return _comparison(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{file} lacks something that a comparison has: {error}") from error


def _metric(content: dict[str, Any]) -> Metric:
    known = {f.name: content[f.name] for f in fields(Metric) if f.name in content}
    # Of a file that does not say: rates were the only metrics that are not in dB.
    return Metric(**{"logarithmic": content["unit"] != "dB", **known})


def _comparison(content: dict[str, Any]) -> Comparison:
    metric = _metric(content["metric"])
    rows = [_row(row) for row in content["rows"]]
    curves = [
        Curve(
            c["name"],
            c["role"],
            c["iterations"],
            [float("nan") if q is None else q for q in c["quality"]],
            c["seconds"],
        )
        for c in content.get("curves", [])
    ]
    return Comparison(
        content["system"],
        content.get("title", content["system"]),
        content.get("task", ""),
        content.get("summary", ""),
        metric,
        rows,
        content.get("environment", {}),
        command=content.get("command", ""),
        headline=content.get("headline", ""),
        curves=curves,
        notes=content.get("notes", []),
        bibliography=content.get("bibliography", []),
        equations=content.get("equations", ""),
    )


def _row(row: dict[str, Any]) -> Row:
    if row["role"] not in ROLES:
        raise ValueError(f"the role {row['role']!r}, which is none of {', '.join(ROLES)}")
    known = {key: row["quality"][key] for key in ("mean", "low", "high")}
    mean, low, high = (float("nan") if value is None else float(value) for value in known.values())
    quality = Interval(mean, low, high)
    seconds = row["seconds"] and Seconds(
        row["seconds"]["batch"], row["seconds"]["batch_size"], row["seconds"]["single"]
    )
    own = Row(
        row["name"], row["role"], quality, row["iterations"], row["parameters"], seconds or None, row.get("note", "")
    )
    own.training_seconds, own.linear = row.get("training_seconds"), bool(row.get("linear", False))
    return own


def write_collection(comparisons: Sequence[Comparison], directory: str | Path) -> Path:
    """Write ``index.html`` with every comparison's headline, table and curves.

    Args:
        comparisons: what ``read_comparison`` gave, at least one.
        directory: made when it does not exist.

    Returns:
        The path of the page.
    """
    from unrolling.files.whole import write_bytes
    from unrolling.report.page import environment as make_environment
    from unrolling.report.page import table_rows

    if not comparisons:
        raise ValueError("there is no comparison to report")
    sections = []
    for number, comparison in enumerate(comparisons):
        drawn = [figures.error_by_iteration(comparison), figures.error_by_time(comparison)]
        sections.append(
            {
                "id": f"run{number + 1}",
                "c": comparison,
                "rows": table_rows(comparison),
                "batch_sizes": table.batch_sizes(comparison),
                "curves": [figure for figure in drawn if figure is not None and any(figure.drawings)],
            }
        )
    text = make_environment().get_template("collection.html").render(sections=sections)
    path = Path(directory) / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode("utf-8"))
    return path
