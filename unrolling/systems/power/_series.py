"""How forecasters are applied to files of voltages over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms.power.forecast import Window
from unrolling.algorithms.power.prox_linear import turned
from unrolling.files.grid_readings import check_voltages_output
from unrolling.files.grid_voltages import read_voltage_series, write_forecasts
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.tasks.power.forecasting import GridForecast

HOUR = 1.0
CHUNK = 4096  # windows at a time
FURTHER = 1.25  # than any state of training: what still counts as like them


def ranges(task: GridForecast) -> dict[str, Any]:
    """What weights trained on a task are good for."""
    seen = task.series[: task.train.stop]
    return {"distance from training states": Range(0, round(FURTHER * float(task.away(seen).max()), 2))}


@torch.no_grad()
def _apply(network: nn.Module, task: GridForecast, path: Path, outputs: Sequence[Path], **_: Any) -> Mapping[str, Any]:
    series = read_voltage_series(path, task.grid.size, task.past, HOUR)
    # The weights are for states whose slack has the angle 0; so are the forecasts.
    states = turned(series.states, task.grid.slack).float()
    windows = states.unfold(0, task.past, 1).transpose(1, 2)  # (T - past + 1, past, 2 N)
    # A network does not look at the state of the day before; where there is none, the first of the window stands there.
    forecasts = torch.cat([network(Window(part, part[:, 0])) for part in windows.split(CHUNK)])
    hours = torch.from_numpy(series.time[task.past - 1 :]) + HOUR
    write_forecasts(outputs[0], forecasts, series, hours, tuple(task.grid.labels))
    known = states[task.past :]  # what came after all windows but the last
    found: dict[str, Any] = {"rows": len(states), "forecasts": len(forecasts), "network": task.network}
    if len(known):
        found["RMSE where the file has the hour"] = _rmse(forecasts[:-1] - known)
        found["RMSE of persistence there"] = _rmse(states[task.past - 1 : -1] - known)
    away = round(float(task.away(states).max()), 2)
    effect = "the grid or its loads are others than in training"
    condition = Condition("distance from training states", away, "estimated", "standard deviations", effect=effect)
    return {**found, "conditions": [condition]}


def _rmse(error: Tensor) -> float:
    return round(float(error.double().square().mean().sqrt()), 6)


GRID_FORECAST = Application(
    "a .npz file of the voltages of the last hours, by the hour: v (T, 2 N), voltage (T, N), complex, real and "
    "imaginary, or magnitude and angle in degrees, with time (T,), hours or stamps",
    ("the forecasts",),
    lambda path, options: path,
    _apply,
    suffixes=(".npz",),
    default_suffixes=("-forecast.npz",),
    check=check_voltages_output,
)
