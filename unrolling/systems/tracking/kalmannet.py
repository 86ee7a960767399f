"""KalmanNet: the Kalman filter with a gain that a recurrent network corrects, or brings forth (Revach et al. 2022)."""

from __future__ import annotations

from functools import partial
from typing import Any

from unrolling.algorithms.dynamics.kalman import Filter, SteadyKalmanFilter
from unrolling.algorithms.dynamics.kalman_net import GainNetwork, KalmanNet
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.tracking import _files
from unrolling.tasks.tracking.trajectories import Tracking
from unrolling.training.stages import Cosine, Schedule, Stage

UNITS = 32
REFERENCES = ("revach2022kalmannet", "kalman1960new", "rauch1965maximum")
NO_ONNX = "the gain needs a factor of a matrix at each moment (Cholesky), which ONNX has no operator for"


def parent(task: Tracking, *, steady: bool = False) -> KalmanNet:
    """The filter of the model that is told, with a network that adds nothing yet."""
    model = task.told
    filter: Filter = SteadyKalmanFilter(model) if steady else task.filter()
    scale = float(model.measurement_noise.diagonal().mean().sqrt())
    network = GainNetwork(model.size, model.measured, UNITS, scale)
    # The gain of a pendulum has another sign where it has turned over, of which the four differences tell nothing.
    return KalmanNet(filter, network, relative=task.model == "pendulum" and not steady)


def schedule(depth: int) -> Schedule:
    """The network through all moments, on new trajectories at every step."""
    return [Stage(600, rate=5e-3, batch=32, annealing=Cosine(0.03, 0.05), clip=1.0)]


def recipe(steady: bool = False) -> Recipe:
    """How the gain is corrected."""
    return Recipe(
        parent=partial(parent, steady=steady),
        tying=Tying(tied=("network",)),
        depth=50,
        schedule=schedule,
        range=_files.ranges,
    )


def system(name: str, title: str, summary: str, equations: str, steady: bool, **more: Any) -> System:
    """One of the two forms."""
    return System(
        name=name,
        title=title,
        summary=summary,
        equations=equations,
        references=REFERENCES,
        recipes={"tracking": recipe(steady)},
        apply={"tracking": _files.TRACKING},
        **more,
    )


SYSTEM = system(
    "tracking/kalmannet",
    "KalmanNet",
    "states of a moving system whose model or noise is not quite known: the Kalman filter with a gain that a recurrent "
    "network corrects.",
    (
        "m- = f(m), e = y - h(m-), m+ = m- + (K + D) e, a layer for each moment\n"
        "K: the gain of the (extended) Kalman filter of the model that is told, of a pendulum K exp(D) in the place of "
        "K + D, entry by entry;  D: a gated recurrent unit of asinh(d "
        "/ s), d the differences of measurements, innovation, and of the moment before evolution and update of m\n"
        "One network serves all moments; D = 0 at the start, where it is the filter."
    ),
    False,
    paradigm="correction",
    not_exported={"tracking": {"onnx": NO_ONNX}},
    variants=(
        system(
            "tracking/kalmannet_alone",
            "KalmanNet, the gain from the network alone",
            "states of a moving system whose noise is not known: the whole gain of a Kalman filter from a recurrent "
            "network.",
            (
                "m- = f(m), e = y - h(m-), m+ = m- + K e, a layer for each moment\n"
                "K: a gated recurrent unit of the four differences, as published (architecture #1); at the start the "
                "steady gain of the model that is told. No covariances are worked out."
            ),
            True,
            paradigm="inductive-bias",
        ),
    ),
)
