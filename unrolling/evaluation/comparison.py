"""What a comparison found, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from unrolling.evaluation.records import (
    CoverageReport,
    Criterion,
    Curve,
    LayerReport,
    Parameter,
    Row,
    SafeguardReport,
    ShiftReport,
    SizeCurve,
)
from unrolling.files.whole import write_bytes
from unrolling.tasks.base import Metric
from unrolling.tasks.exhibits import Claim, Panels, Sound, TimeSeries

SCHEMA = 1


@dataclass(repr=False)
class Comparison:
    """A finished comparison: ``to_json`` is what programs read, the page is what people read."""

    system: str
    title: str
    task: str
    summary: str
    metric: Metric
    rows: list[Row]
    environment: dict[str, Any]
    command: str = ""
    headline: str = ""
    curves: list[Curve] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    pictures: list[Panels] = field(default_factory=list)
    atoms: list[tuple[str, np.ndarray]] = field(default_factory=list)  # (caption, (count, height, width))
    # ("sample 1: target", (n,)): of each sample the target first, then estimates
    codes: list[tuple[str, np.ndarray]] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    time_series: list[TimeSeries] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)
    layers: LayerReport | None = None
    layer_pictures: list[Panels] = field(default_factory=list)  # estimates after each layer
    shifts: list[ShiftReport] = field(default_factory=list)
    sizes: list[SizeCurve] = field(default_factory=list)
    safeguard: SafeguardReport | None = None
    coverage: CoverageReport | None = None
    theory: list[Claim] = field(default_factory=list)
    bibliography: list[str] = field(default_factory=list)  # BibTeX entries
    equations: str = ""  # of a layer, as plain text
    drawing: str = ""  # of the network, an SVG
    interrupted: bool = False  # by Ctrl-C: what was not measured then says so

    def __repr__(self) -> str:
        rows = ", ".join(f"{row.name!r}: {self.metric.text(row.quality.mean)}" for row in self.rows[:3])
        more = f", and {len(self.rows) - 3} more" if len(self.rows) > 3 else ""
        return f"Comparison({self.system!r}, {self.task!r}, {{{rows}{more}}})"

    def _repr_html_(self) -> str:
        """The headline and the rows, for notebooks."""
        head = f"<tr><th>method</th><th>{escape(self.metric.name)}</th><th>iterations</th></tr>"
        body = "".join(
            f"<tr><td>{escape(row.name)}</td><td>{escape(self.metric.text(row.quality.mean))}</td>"
            f"<td>{'' if row.iterations is None else row.iterations}</td></tr>"
            for row in self.rows
        )
        return f"<p>{escape(self.headline)}</p><table>{head}{body}</table>"

    def save(self, folder: str | Path) -> Path:
        """Write ``comparison.json``, which ``unroll report`` and ``report.read_comparison`` read (``report.write_page``
        writes the page).

        Args:
            folder: made when it does not exist.

        Returns:
            The path of the file.

        Raises:
            OSError: the folder cannot be written; a file that was there is as it was.
        """
        path = Path(folder) / "comparison.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (json.dumps(self.to_json(), indent=1) + "\n").encode())
        return path

    def row(self, role: str) -> Row:
        """The first row of a role.

        Raises:
            KeyError: no such row.
        """
        for row in self.rows:
            if row.role == role:
                return row
        raise KeyError(f"no row has the role {role!r}")

    def to_json(self) -> dict[str, Any]:
        """The shape that ``comparison.json`` keeps; numbers that are not finite become null."""
        return {
            "schema": SCHEMA,
            "system": self.system,
            "task": self.task,
            "metric": {
                "name": self.metric.name,
                "unit": self.metric.unit,
                "better": self.metric.better,
                "resampled": self.metric.resampled,
                "logarithmic": self.metric.logarithmic,
                "places": self.metric.places,
            },
            "rows": [
                {
                    "name": row.name,
                    "role": row.role,
                    "quality": {
                        "mean": _finite(row.quality.mean),
                        "low": _finite(row.quality.low),
                        "high": _finite(row.quality.high),
                    },
                    "iterations": row.iterations,
                    "parameters": row.parameters,
                    "seconds": plain(row.seconds),
                    "cost": plain(row.cost),
                    "paired": plain(row.paired),
                    "training_seconds": row.training_seconds,
                    "more": plain(row.more),
                    "seeds": plain(row.seeds),
                    "spread": plain(row.spread),
                    "samples": row.samples,
                    "linear": row.linear,
                    "note": row.note,
                }
                for row in self.rows
            ],
            "curves": [
                {
                    "name": c.name,
                    "role": c.role,
                    "iterations": c.iterations,
                    "quality": [_finite(q) for q in c.quality],
                    "seconds": c.seconds,
                }
                for c in self.curves
            ],
            "criteria": plain(self.criteria),
            "layers": plain(self.layers),
            "shifts": plain(self.shifts),
            "sizes": plain(self.sizes),
            "safeguard": plain(self.safeguard),
            "coverage": plain(self.coverage),
            "theory": plain(self.theory),
            "bibliography": self.bibliography,
            "equations": self.equations,
            "title": self.title,
            "summary": self.summary,
            "headline": self.headline,
            "notes": self.notes,
            "command": self.command,
            "environment": self.environment,
        }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def plain(value: Any) -> Any:
    """Dataclasses as dicts, numbers that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _finite(value) if isinstance(value, float) else value
