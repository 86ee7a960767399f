"""Forecasts of the state of a power grid by a recurrent network (Zhang, Wang and Giannakis 2019)."""

from __future__ import annotations

from unrolling.algorithms.power.forecast import RecurrentForecaster, StateCells
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.power import _series
from unrolling.tasks.power.forecasting import GridForecast
from unrolling.training.stages import Cosine, Schedule, Stage


def parent(task: GridForecast) -> RecurrentForecaster:
    """Persistence, with a network that adds nothing yet."""
    return RecurrentForecaster(StateCells(2 * task.grid.size), *task.moments())


def schedule(depth: int) -> Schedule:
    """Windows of the training part."""
    return [Stage(2000, rate=1e-3, batch=64, annealing=Cosine(0.03, 0.02), clip=1.0)]


SYSTEM = System(
    name="power/forecast",
    title="recurrent state forecast",
    paradigm="inductive-bias",
    summary="the voltages of a power grid an hour ahead: recurrent layers in the place of a linear transition.",
    equations=(
        "h_l <- ReLU(W_l h_(l-1) + U_l h_l + b_l), l = 1, 2, 3, h_0 = (v[t] - m) / s, for each hour t of the window\n"
        "forecast: v + s (W h_3 + b), v the last state; m, s: mean and standard deviations of past states\n"
        "At the start W = b = 0: persistence. 3 (2 d^2 + d) + d^2 + d numbers, d = 2 N."
    ),
    references=("zhang2019real",),
    recipes={
        "grid_forecast": Recipe(
            parent=parent, tying=Tying(tied=("cells",)), depth=10, schedule=schedule, range=_series.ranges
        ),
    },
    apply={"grid_forecast": _series.GRID_FORECAST},
)
