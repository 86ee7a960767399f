"""Files of load over time."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import Arrays, decoding

CLOSE = 0.01  # of an interval: how far a stamp may lie from its place


class LoadProfiles(NamedTuple):
    """Load over time, each column in units of its mean."""

    factors: Tensor  # (T, K) double
    interval: float  # hours from row to row
    names: tuple[str, ...]


def read_load_profiles(path: Path, interval: float | None = None, least: int = 2) -> LoadProfiles:
    """Load profiles of a ``.csv`` file with a first line of names, a column ``time`` (hours, or stamps such as
    2016-01-01 00:15) and a column for each profile; or of a ``.npz`` file with load (T, K) or (T,) and time (T,) in
    hours. Loads are in any unit: each column is divided by its mean.

    Args:
        path: of the file.
        interval: hours between two rows that are asked for; any by default, as long as it stays the same.
        least: rows.

    Raises:
        ValueError: no load or no time; values that are missing, infinite or negative; a column of zeros; stamps that
            are repeated or go back; a gap; another rate; fewer rows.
    """
    load, time, names = _from_csv(path) if path.suffix.lower() == ".csv" else _from_arrays(path)
    if len(load) < least:
        raise ValueError(f"{path} holds {len(load)} rows; it takes {least}")
    bad = ~np.isfinite(load)
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        raise ValueError(
            f"{path}: {names[column]} is missing or infinite in row {row + 1} (time {time[row]:g} h), the first of "
            f"{int(bad.sum())} gaps; fill them first, by a rule that is yours"
        )
    if (load < 0).any():
        row, column = map(int, np.argwhere(load < 0)[0])
        raise ValueError(f"{path}: {names[column]} is negative in row {row + 1}; a load profile is at least 0")
    mean = load.mean(0)
    if (mean <= 0).any():
        raise ValueError(f"{path}: {names[int(np.argmin(mean))]} is 0 throughout")
    step = regular_interval(path, time, interval)
    return LoadProfiles(torch.from_numpy(load / mean), step, names)


def regular_interval(path: Path, time: np.ndarray, wanted: float | None = None) -> float:
    """Hours from row to row of stamps that are evenly apart.

    Args:
        path: of the file, for messages.
        time: hours, one for each row, at least two where nothing is wanted.
        wanted: that are asked for; any by default.

    Raises:
        ValueError: a row without a time; stamps that are repeated or go back; a gap; another rate.
    """
    if not np.isfinite(time).all():
        raise ValueError(f"{path}: row {int(np.argmax(~np.isfinite(time))) + 1} has no time")
    steps = np.diff(time)
    if not len(steps):
        return wanted or 0.0
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        what = "repeats the time" if steps[row - 1] == 0 else f"goes back from {time[row - 1]:g} h to"
        raise ValueError(f"{path}: row {row + 1} {what} {time[row]:g} h; stamps rise from row to row")
    step = float(np.median(steps))
    away = np.abs(steps - step) > CLOSE * step
    if away.any():
        row = int(np.argmax(away)) + 1
        raise ValueError(
            f"{path}: rows are {step:g} h apart, and row {row + 1} comes {steps[row - 1]:g} h after the one before: "
            "there is a gap, or the rate changes"
        )
    if wanted is not None and abs(step - wanted) > CLOSE * wanted:
        raise ValueError(
            f"{path}: rows are {step:g} h apart, and this task works at {wanted:g} h: resample first (the mean of the "
            "rows of each interval)"
        )
    return step


def _from_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    arrays = Arrays(path)
    if missing := [name for name in ("load", "time") if name not in arrays]:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; load profiles are load (T, K) and time (T,) in hours: "
            f"{missing[0]} is missing"
        )
    load, time = (np.asarray(arrays[name]) for name in ("load", "time"))
    for name, array in (("load", load), ("time", time)):
        if array.dtype.kind not in "iuf":
            raise ValueError(f"{path}: {name} holds {array.dtype}, and not real numbers")
    load = load[:, None] if load.ndim == 1 else load
    if load.ndim != 2 or 0 in load.shape or time.shape != load.shape[:1]:
        raise ValueError(f"{path}: load is (T, K) beside time (T,); got {load.shape} and {time.shape}")
    return load.astype(np.float64), time.astype(np.float64), tuple(f"load {k + 1}" for k in range(load.shape[1]))


def _from_csv(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    with decoding(path, "a .csv file of load profiles"):
        lines = [line for line in csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))) if line]
    names = [name.strip() for name in lines[0]] if lines else []
    if "time" not in names or len(names) < 2 or len(set(names)) != len(names):
        raise ValueError(
            f"{path}: the first line names the columns, time and one for each profile, each once; it is "
            f"{','.join(names)[:80] or 'empty'}"
        )
    at = names.index("time")
    columns = [k for k in range(len(names)) if k != at]
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise ValueError(f"{path}, line {number}: {len(line)} fields, and the first line names {len(names)}")
    table = [[_number(path, n, line[k], names[k]) for k in columns] for n, line in enumerate(lines[1:], 2)]
    time = [hours_of_stamp(f"{path}, line {n}", line[at]) for n, line in enumerate(lines[1:], 2)]
    load = np.array(table, dtype=np.float64).reshape(len(time), len(columns))
    return load, np.array(time, dtype=np.float64), tuple(names[k] for k in columns)


def _number(path: Path, line: int, text: str, name: str) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError:
        raise ValueError(f"{path}, line {line}: {name} is {text.strip()[:40]!r}, and not a number") from None


def hours_of_stamp(where: str, text: str) -> float:
    """A number of hours, or a stamp as hours since 1970.

    Args:
        where: it stands, for the message.
        text: such as 12.5 or 2016-01-01 00:15.

    Raises:
        ValueError: it is neither.
    """
    text = text.strip()
    try:
        return float(text)
    except ValueError:
        pass
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{where}: time is {text[:40]!r}; it is a number of hours or a stamp such as 2016-01-01 00:15"
        ) from None
    # Stamps that say their zone are of one clock when it is changed to summer time, too.
    own = stamp.astimezone(UTC).replace(tzinfo=None) if stamp.tzinfo else stamp
    return (own - datetime(1970, 1, 1)).total_seconds() / 3600
