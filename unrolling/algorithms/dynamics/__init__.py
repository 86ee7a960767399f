"""Systems that move: state-space models, Kalman filters and smoothers, KalmanNet."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.dynamics.kalman import (
        ExtendedKalmanFilter,
        Filter,
        Forecast,
        KalmanFilter,
        SteadyKalmanFilter,
        Track,
        corrected,
        place,
        steady_gain_of,
        track,
        written,
    )
    from unrolling.algorithms.dynamics.kalman_net import GainNetwork, KalmanNet, Tracked
    from unrolling.algorithms.dynamics.motions import Lorenz, Pendulum
    from unrolling.algorithms.dynamics.smoother import RauchTungStriebel, Smoothed
    from unrolling.algorithms.dynamics.state_space import (
        FunctionModel,
        LinearModel,
        Recording,
        StateSpace,
        check_covariance,
        check_recording,
        root,
    )
    from unrolling.algorithms.dynamics.stream import FilterStream

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".kalman": (
            "ExtendedKalmanFilter Filter Forecast KalmanFilter SteadyKalmanFilter Track corrected place steady_gain_of "
            "track written"
        ),
        ".kalman_net": ("GainNetwork KalmanNet Tracked"),
        ".motions": ("Lorenz Pendulum"),
        ".smoother": ("RauchTungStriebel Smoothed"),
        ".state_space": ("FunctionModel LinearModel Recording StateSpace check_covariance check_recording root"),
        ".stream": ("FilterStream"),
    },
)
# fmt: off
__all__ = [
    "ExtendedKalmanFilter", "Filter", "FilterStream", "Forecast", "FunctionModel", "GainNetwork",
    "KalmanFilter", "KalmanNet", "LinearModel", "Lorenz", "Pendulum", "RauchTungStriebel", "Recording",
    "Smoothed", "StateSpace", "SteadyKalmanFilter", "Track", "Tracked", "check_covariance",
    "check_recording", "corrected", "place", "root", "steady_gain_of", "track", "written",
]
# fmt: on
# End of what is written.
