"""Files of measurements over time, with the states they came from where somebody knows them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import Arrays, decoding
from unrolling.files.gate import checked
from unrolling.files.whole import check_place, write_bytes

SUFFIXES = (".npz", ".npy", ".csv")
CLOSE = 0.02  # of an interval: how far a stamp may lie from its moment
MOST = 1_000  # moments of a gap between two rows


class Trajectories(NamedTuple):
    """Measurements at the moments of a model, in double precision."""

    y: Tensor  # (batch, T, m), zero where nothing was measured
    present: Tensor | None  # (batch, T, m) bool; None where all was
    x: Tensor | None  # (batch, T, n)
    rows: Tensor  # (rows,) int64: the moments of the rows of the file
    time: Tensor | None  # (rows,): their stamps, as the file has them
    single: bool  # whether the file held one trajectory without a batch

    @property
    def gaps(self) -> float:
        """The part of the measurements that are missing."""
        return 0.0 if self.present is None else float((~self.present).double().mean())


def read_trajectories(path: Path, interval: float | None = None) -> Trajectories:
    """Trajectories of a ``.npz`` file with y (batch, T, m) or (T, m), x alike and time (T,); of a ``.npy`` file with y;
    or of a ``.csv`` file whose first line names its columns y1, y2, ... and, where there are such, x1, x2, ..., time
    and trajectory (a number for each).

    NaN, an empty field of a ``.csv`` file, or a moment without a row is a gap: nothing was measured there. Stamps that
    are a multiple of the interval apart leave gaps between them.

    Args:
        path: of the file.
        interval: between two moments of the model, in the unit of time; by default the smallest between two stamps.

    Raises:
        ValueError: no measurements; arrays whose shapes do not belong together; infinite numbers; nothing but gaps;
            states with gaps; stamps that are repeated, go back, or belong to another rate.
    """
    y, x, time, single = _from_csv(path) if path.suffix.lower() == ".csv" else _from_arrays(path)
    if np.isinf(y).any():
        raise ValueError(f"{path}: y holds infinite values, the first at {_first(np.isinf(y))}")
    if x is not None and not np.isfinite(x).all():
        raise ValueError(f"{path}: x holds NaN or infinite values, the first at {_first(~np.isfinite(x))}")
    if np.isnan(y).all():
        raise ValueError(f"{path}: y holds nothing but gaps (NaN)")
    rows = np.arange(y.shape[1]) if time is None else _moments(path, time, interval)
    length = int(rows[-1]) + 1
    if length > len(rows):
        if x is not None:
            raise ValueError(
                f"{path}: x is known at all moments, and {length - len(rows)} of {length} have no row; leave y empty "
                "where nothing was measured"
            )
        y, given = np.full((y.shape[0], length, y.shape[2]), np.nan), y
        y[:, rows] = given
    missing = np.isnan(y)
    present = torch.from_numpy(~missing) if missing.any() else None
    stamps = None if time is None else torch.from_numpy(time)
    states = None if x is None else torch.from_numpy(x)
    return Trajectories(
        torch.from_numpy(np.where(missing, 0.0, y)), present, states, torch.from_numpy(rows), stamps, single
    )


def check_states_output(path: Path) -> None:
    """Finds out before the work whether states can be written.

    Raises:
        ValueError: they cannot.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: states are written as {', '.join(SUFFIXES)}")
    check_place(path)


def write_states(path: Path, states: Tensor, time: Tensor | None, single: bool) -> None:
    """States (batch, T, n): x and, where it is known, time as ``.npz``; x alone as ``.npy``; columns trajectory, time
    and x1, x2, ... as ``.csv``. Whole or not at all.

    Raises:
        ValueError: no finite numbers, or none.
    """
    x = checked(states, "the states").numpy()
    suffix = path.suffix.lower()
    if suffix == ".csv":
        write_bytes(path, _csv_of(x, time, single).encode())
        return
    content, given = io.BytesIO(), x[0] if single else x
    if suffix == ".npy":
        np.save(content, given)
    else:
        more: dict[str, Any] = {} if time is None else {"time": time.numpy()}
        np.savez_compressed(content, x=given, **more)
    write_bytes(path, content.getvalue())


def _from_arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, bool]:
    arrays = Arrays(path)
    if "y" not in arrays:
        raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}; a filter needs y, (batch, T, m) or (T, m)")
    y = real_array(arrays, "y")
    single = y.ndim <= 2
    y = y[None, :, None] if y.ndim == 1 else y[None] if y.ndim == 2 else y
    if y.ndim != 3 or 0 in y.shape:
        raise ValueError(f"{path}: y is (batch, T, m), or (T, m) for one trajectory; got {arrays['y'].shape}")
    x = real_array(arrays, "x") if "x" in arrays else None
    if x is not None:
        x = x[None] if single and x.ndim == 2 else x
        if x.ndim != 3 or x.shape[:2] != y.shape[:2]:
            raise ValueError(
                f"{path}: x is (batch, T, n) beside y (batch, T, m), or (T, n) beside (T, m); got {arrays['x'].shape} "
                f"and {arrays['y'].shape}"
            )
    time = real_array(arrays, "time") if "time" in arrays else None
    if time is not None and time.shape != y.shape[1:2]:
        raise ValueError(f"{path}: time is (T,), a stamp for each of {y.shape[1]} moments; got {time.shape}")
    return y, x, time, single


def real_array(arrays: Arrays, name: str) -> np.ndarray:
    """An array in double precision.

    Raises:
        ValueError: no real numbers.
    """
    array = arrays[name]
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{arrays.path}: {name} holds {array.dtype}, and not real numbers")
    return array.astype(np.float64)


def _from_csv(path: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, bool]:
    with decoding(path, "a .csv file of measurements"):
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    while lines and not lines[-1]:
        lines.pop()
    names = [name.strip() for name in lines[0]] if lines else []
    columns = {kind: [i for i, name in enumerate(names) if _is_column(name, kind)] for kind in "yx"}
    if not columns["y"] or len(set(names)) != len(names):
        raise ValueError(
            f"{path}: the first line names the columns, y1, y2, ... and if known x1, x2, ..., time and trajectory, "
            f"each once; it is {','.join(names)[:80] or 'empty'}"
        )
    if len(lines) < 2:
        raise ValueError(f"{path} holds no measurements after its first line")
    table = np.array([_numbers(path, number + 1, line, len(names)) for number, line in enumerate(lines[1:], 1)])
    parts = [table]
    if "trajectory" in names:
        which = table[:, names.index("trajectory")]
        parts = [table[which == value] for value in dict.fromkeys(which.tolist())]
    if len({len(part) for part in parts}) > 1:
        counts = sorted({len(part) for part in parts})
        raise ValueError(
            f"{path}: all trajectories have one length; these have {counts[0]} to {counts[-1]} rows. Leave y empty "
            "where nothing was measured"
        )
    whole = np.stack(parts)
    time = whole[:, :, names.index("time")] if "time" in names else None
    if time is not None and not np.array_equal(time, np.broadcast_to(time[:1], time.shape), equal_nan=True):
        raise ValueError(f"{path}: all trajectories of a file have the same stamps; these differ")
    x = whole[:, :, columns["x"]] if columns["x"] else None
    return whole[:, :, columns["y"]], x, None if time is None else time[0], len(parts) == 1


def _is_column(name: str, kind: str) -> bool:
    return name[:1] == kind and (name[1:].isdigit() or name == kind)


def _numbers(path: Path, number: int, line: Sequence[str], wanted: int) -> list[float]:
    line = line or ([""] if wanted == 1 else [])  # of one column an empty line is an empty field
    if len(line) != wanted:
        raise ValueError(f"{path}, line {number}: {len(line)} fields, and the first line names {wanted}")
    try:
        return [float(field) if field.strip() else np.nan for field in line]
    except ValueError:
        wrong = next(field for field in line if not _is_number(field))
        raise ValueError(f"{path}, line {number}: {wrong.strip()[:40]!r} is not a number") from None


def _is_number(field: str) -> bool:
    try:
        float(field or "nan")
    except ValueError:
        return False
    return True


def _moments(path: Path, time: np.ndarray, interval: float | None) -> np.ndarray:
    """The moments of stamps, counted from the first."""
    if not np.isfinite(time).all():
        raise ValueError(f"{path}: row {int(np.argmax(~np.isfinite(time))) + 1} has no time")
    steps = np.diff(time)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        what = f"repeats the time {time[row]:g}" if steps[row - 1] == 0 else f"goes back from {time[row - 1]:g}"
        raise ValueError(f"{path}: row {row + 1} {what} ({time[row]:g}); stamps rise from row to row")
    if not len(steps):
        return np.zeros(1, dtype=np.int64)
    unit = float(steps.min()) if interval is None else interval
    moments = (time - time[0]) / unit
    rows = np.rint(moments).astype(np.int64)
    if (np.abs(moments - rows) > CLOSE).any() or (np.diff(rows) < 1).any():
        told = "the smallest step" if interval is None else "the model's interval"
        raise ValueError(
            f"{path}: the stamps are {np.median(steps):g} apart (median), and {told} is {unit:g}: a filter knows "
            "moments that are whole multiples of it apart. Another rate needs another model, or resampling"
        )
    if (np.diff(rows) > MOST).any():
        row = int(np.argmax(np.diff(rows) > MOST)) + 1
        raise ValueError(
            f"{path}: {int(np.diff(rows)[row - 1]) - 1} moments are missing before row {row + 1}; cut it there"
        )
    return rows


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.argwhere(wrong)[0]))


def _csv_of(x: np.ndarray, time: Tensor | None, single: bool) -> str:
    content = io.StringIO()
    out = csv.writer(content, lineterminator="\n")
    names = [f"x{i + 1}" for i in range(x.shape[2])]
    out.writerow([*([] if single else ["trajectory"]), *([] if time is None else ["time"]), *names])
    stamps = None if time is None else time.tolist()
    for number, path in enumerate(x.tolist()):
        for t, row in enumerate(path):
            out.writerow([*([] if single else [number]), *([] if stamps is None else [stamps[t]]), *row])
    return content.getvalue()
