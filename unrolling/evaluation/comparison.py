"""What a comparison found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unrolling.tasks.base import Metric

SCHEMA = 1
ROLES = ("network", "initial", "parent", "classical", "peer", "generic")


@dataclass
class Interval:
    """A value with a 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass
class Seconds:
    """Median time per sample."""

    batch: float
    batch_size: int
    single: float


@dataclass
class Row:
    """One method in the table."""

    name: str
    role: str  # one of ROLES
    quality: Interval
    iterations: int | None  # None where the word does not apply
    parameters: int | None  # learned ones
    seconds: Seconds | None
    note: str = ""


@dataclass
class Curve:
    """Quality after each iteration (or layer) on the test set."""

    name: str
    role: str
    iterations: list[int]
    quality: list[float]
    seconds: float | None  # per iteration and sample, in a batch


@dataclass
class Parameter:
    """One learned quantity over the layers, for the page."""

    name: str
    layers: list[int | None]
    learned: list[np.ndarray]
    classical: np.ndarray


@dataclass
class Picture:
    """Images shown side by side, of one held-out photograph; grey, in [0, 1]."""

    name: str
    panels: list[tuple[str, np.ndarray]]  # (caption, (height, width))


@dataclass
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
    pictures: list[Picture] = field(default_factory=list)
    atoms: list[tuple[str, np.ndarray]] = field(default_factory=list)  # (caption, (count, height, width))
    codes: list[tuple[str, np.ndarray]] = field(default_factory=list)  # ("sample 1: target", (n,)): of each sample the target first, then estimates
    notes: list[str] = field(default_factory=list)

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
            "metric": {"name": self.metric.name, "unit": self.metric.unit, "better": self.metric.better},
            "rows": [
                {
                    "name": row.name,
                    "role": row.role,
                    "quality": {"mean": _finite(row.quality.mean), "low": _finite(row.quality.low), "high": _finite(row.quality.high)},
                    "iterations": row.iterations,
                    "parameters": row.parameters,
                    "seconds": None
                    if row.seconds is None
                    else {"batch": row.seconds.batch, "batch_size": row.seconds.batch_size, "single": row.seconds.single},
                    "note": row.note,
                }
                for row in self.rows
            ],
            "curves": [
                {"name": c.name, "role": c.role, "iterations": c.iterations, "quality": [_finite(q) for q in c.quality], "seconds": c.seconds}
                for c in self.curves
            ],
            "headline": self.headline,
            "notes": self.notes,
            "command": self.command,
            "environment": self.environment,
        }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
