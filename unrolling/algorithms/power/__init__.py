"""Power grids: what meters read, power flows, and estimators of the state."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.power.dense_prox import DenseProxLinear, DenseProxMaps
    from unrolling.algorithms.power.flows import power_flow
    from unrolling.algorithms.power.forecast import (
        Ahead,
        Forecaster,
        RecurrentForecaster,
        StateCells,
        VectorAutoregression,
        Window,
        moment_of,
    )
    from unrolling.algorithms.power.gauss_newton import GaussNewton, metric_of
    from unrolling.algorithms.power.grid import Grid, admittances, outages, phasors, rectangular, unconnected
    from unrolling.algorithms.power.meters import (
        Linearised,
        Meters,
        PowerMeasurement,
        all_meters,
        check_meters,
        check_observable,
        chosen_meters,
        metered,
        unseen_buses,
    )
    from unrolling.algorithms.power.priors import StatePrior, check_prior, precision_of_prior, whole_precision
    from unrolling.algorithms.power.prox_linear import (
        Estimated,
        LinearProx,
        ProxLinear,
        StateEstimator,
        safe_radius,
        turned,
    )
    from unrolling.algorithms.power.topology import Outage, suspected_outage

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".dense_prox": ("DenseProxLinear DenseProxMaps"),
        ".flows": ("power_flow"),
        ".forecast": ("Ahead Forecaster RecurrentForecaster StateCells VectorAutoregression Window moment_of"),
        ".gauss_newton": ("GaussNewton metric_of"),
        ".grid": ("Grid admittances outages phasors rectangular unconnected"),
        ".meters": (
            "Linearised Meters PowerMeasurement all_meters check_meters check_observable chosen_meters metered "
            "unseen_buses"
        ),
        ".priors": ("StatePrior check_prior precision_of_prior whole_precision"),
        ".prox_linear": ("Estimated LinearProx ProxLinear StateEstimator safe_radius turned"),
        ".topology": ("Outage suspected_outage"),
    },
)
# fmt: off
__all__ = [
    "Ahead", "DenseProxLinear", "DenseProxMaps", "Estimated", "Forecaster", "GaussNewton", "Grid",
    "LinearProx", "Linearised", "Meters", "Outage", "PowerMeasurement", "ProxLinear", "RecurrentForecaster",
    "StateCells", "StateEstimator", "StatePrior", "VectorAutoregression", "Window", "admittances",
    "all_meters", "check_meters", "check_observable", "check_prior", "chosen_meters", "metered", "metric_of",
    "moment_of", "outages", "phasors", "power_flow", "precision_of_prior", "rectangular", "safe_radius",
    "suspected_outage", "turned", "unconnected", "unseen_buses", "whole_precision",
]
# fmt: on
# End of what is written.
