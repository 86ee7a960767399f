"""Power grids: test cases, load over time, estimation and forecasts of the state."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.power.cases import case14, grid_from_pandapower, grid_of
    from unrolling.tasks.power.estimation import GridState, RootMeanSquare, squared_voltages
    from unrolling.tasks.power.forecasting import GridForecast
    from unrolling.tasks.power.profiles import generated_profiles, loaded_voltages

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".cases": ("case14 grid_from_pandapower grid_of"),
        ".estimation": ("GridState RootMeanSquare squared_voltages"),
        ".forecasting": ("GridForecast"),
        ".profiles": ("generated_profiles loaded_voltages"),
    },
)
# fmt: off
__all__ = [
    "GridForecast", "GridState", "RootMeanSquare", "case14", "generated_profiles", "grid_from_pandapower",
    "grid_of", "loaded_voltages", "squared_voltages",
]
# fmt: on
# End of what is written.
