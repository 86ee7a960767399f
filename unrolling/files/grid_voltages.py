"""Files of the voltages of a power grid over time, and of forecasts."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.load_profiles import hours_of_stamp, regular_interval
from unrolling.files.trajectories import real_array
from unrolling.files.whole import write_bytes

FORMS = (("v",), ("voltage",), ("real", "imaginary"), ("magnitude", "angle"))
MOST = 1e3  # p.u.: what is more is in volts or kilovolts
LEAST = 1e-3


class VoltageSeries(NamedTuple):
    """Voltages of all buses over time."""

    states: Tensor  # (T, 2 N) double: [Re V; Im V], per unit
    time: np.ndarray  # (T,) hours
    stamped: bool  # whether the file has dates, and not numbers of hours


def read_voltage_series(path: Path, buses: int, least: int, interval: float) -> VoltageSeries:
    """Voltages of a ``.npz`` file: v (T, 2 N) as ``unroll apply power/psse`` writes it, or voltage (T, N), complex, or
    real and imaginary, or magnitude and angle in degrees, (T, N) each; with time (T,), hours or stamps such as
    2016-01-01 00:00. Of several forms the first is read.

    Args:
        path: of the file.
        buses: N.
        least: rows.
        interval: hours from row to row.

    Raises:
        ValueError: no voltages or no time; arrays of another kind or shape; another number of buses; too few rows;
            values that are not finite, or that are not per unit; stamps that are repeated or go back; a gap; another
            rate.
    """
    arrays = Arrays(path)
    form = next((form for form in FORMS if all(name in arrays for name in form)), None)
    if form is None:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; voltages are v (T, 2 N), voltage (T, N), real and "
            "imaginary, or magnitude and angle in degrees"
        )
    if "time" not in arrays:
        raise ValueError(f"{path} has no time (T,), hours or stamps: whether a row is missing cannot be told without")
    states = _states(arrays, form, buses)
    time, stamped = _time(arrays, len(states))
    if len(states) < least:
        raise ValueError(f"{path} holds {len(states)} rows; a forecast takes the {least} before it")
    bad = ~np.isfinite(states)
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        raise ValueError(
            f"{path}: {'/'.join(form)} is missing or infinite in row {row + 1} at bus {column % buses + 1}, the first "
            f"of {int(bad.any(1).sum())} such rows; fill gaps first, by a rule that is yours"
        )
    size = np.hypot(*np.split(states, 2, axis=1))
    if (size > MOST).any() or (size < LEAST).any():
        row, bus = map(int, np.argwhere((size > MOST) | (size < LEAST))[0])
        raise ValueError(
            f"{path}: the voltage of row {row + 1} at bus {bus + 1} is {size[row, bus]:.3g}; voltages are per unit, "
            "near 1"
        )
    regular_interval(path, time, interval)
    return VoltageSeries(torch.from_numpy(states), time, stamped)


def write_forecasts(path: Path, states: Tensor, series: VoltageSeries, hours: Tensor, labels: tuple[str, ...]) -> None:
    """v (count, 2 N), its ``magnitude`` and ``angle`` in degrees (count, N), ``time`` (count,) as the series has it,
    and ``bus``, the names. Whole or not at all.

    Raises:
        ValueError: voltages that are not finite.
    """
    v = checked(states.double(), "the forecasts").numpy()
    time = hours.numpy()
    if series.stamped:
        began = datetime(1970, 1, 1, tzinfo=UTC)
        stamps = [(began + timedelta(seconds=round(3600 * hour))).replace(tzinfo=None) for hour in time.tolist()]
        time = np.array([stamp.isoformat(" ", "minutes") for stamp in stamps])
    content = io.BytesIO()
    np.savez_compressed(content, time=time, bus=np.array(labels), **polar(v))  # pyright: ignore[reportArgumentType]
    write_bytes(path, content.getvalue())


def polar(v: np.ndarray) -> dict[str, np.ndarray]:
    """v (..., 2 N), its magnitudes and its angles in degrees, (..., N)."""
    real, imaginary = np.split(v, 2, axis=-1)
    return {"v": v, "magnitude": np.hypot(real, imaginary), "angle": np.degrees(np.arctan2(imaginary, real))}


def _states(arrays: Arrays, form: tuple[str, ...], buses: int) -> np.ndarray:
    """(T, 2 N)."""
    if form == ("voltage",):
        array = arrays["voltage"]
        if array.dtype.kind != "c":
            raise ValueError(f"{arrays.path}: voltage holds {array.dtype}, and not complex numbers")
        parts = [np.real(array).astype(np.float64), np.imag(array).astype(np.float64)]
    else:
        parts = [real_array(arrays, name) for name in form]
    width = 2 * buses if form == ("v",) else buses
    for name, part in zip(form if len(form) == len(parts) else form * 2, parts, strict=True):
        if part.ndim != 2 or part.shape[1] != width or part.shape != parts[0].shape:
            raise ValueError(
                f"{arrays.path}: {name} is (T, {width}), a row for each hour, for the {buses} buses of these weights; "
                f"got {part.shape}"
            )
    if form == ("magnitude", "angle"):
        angle = np.radians(parts[1])
        parts = [parts[0] * np.cos(angle), parts[0] * np.sin(angle)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _time(arrays: Arrays, rows: int) -> tuple[np.ndarray, bool]:
    """Hours, and whether they were stamps."""
    time = arrays["time"]
    if time.shape != (rows,):
        raise ValueError(f"{arrays.path}: time is ({rows},), one for each row; got {time.shape}")
    if time.dtype.kind in "iuf":
        return time.astype(np.float64), False
    if time.dtype.kind == "M":
        if np.isnat(time).any():
            raise ValueError(f"{arrays.path}: row {int(np.argmax(np.isnat(time))) + 1} has no time")
        return (time - np.datetime64(0, "s")).astype("timedelta64[s]").astype(np.float64) / 3600, True
    if time.dtype.kind not in "US":
        raise ValueError(f"{arrays.path}: time holds {time.dtype}; it is hours or stamps such as 2016-01-01 00:00")
    stamps = [str(each, "utf-8") if isinstance(each, bytes) else str(each) for each in time.tolist()]
    return np.array([hours_of_stamp(f"{arrays.path}, row {n}", each) for n, each in enumerate(stamps, 1)]), True
