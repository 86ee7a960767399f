"""Prox-linear networks for the state of a power grid (Zhang, Wang and Giannakis 2019; survey, section V-B)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from unrolling.algorithms.power.dense_prox import DenseProxLinear, DenseProxMaps
from unrolling.algorithms.power.prox_linear import LinearProx, ProxLinear
from unrolling.core import Iteration
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.power import _files
from unrolling.tasks.power.estimation import GridState
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, INNER = 8, 2
DENSE_DEPTH, DENSE_INNER = 4, 3  # of dense layers, which have many more numbers each
REFERENCES = ("zhang2019real", "duchi2019solving", "schweppe1970power")
NUMBERS = ("step_size", "clip", "radius", "pull")
MAPS = ("influence", "feedback", "offset", "mixing", "clip", "readout", "transition", "shift")


def parent(task: GridState) -> ProxLinear:
    """Prox-linear descent from the mean of past states."""
    return task.parent(INNER)


def frozen(task: GridState) -> LinearProx:
    """The same with the derivative at the mean state."""
    return LinearProx(task.parent(DENSE_INNER))


def free(task: GridState) -> DenseProxLinear:
    """The released network."""
    h = task.metering
    return DenseProxLinear(h, task.nominal, DenseProxMaps(h.measured, h.size), *task.scales())


def schedule(depth: int) -> Schedule:
    """A few numbers, on new states at every step."""
    return [Stage(1000, rate=5e-2, batch=32, annealing=Cosine(0.05, 0.05), clip=1.0)]


def dense_schedule(depth: int, rate: float = 1e-4, steps: int = 1500) -> Schedule:
    """Dense maps, all layers at once."""
    return [Stage(steps, rate=rate, batch=64, annealing=Cosine(0.03, 0.05), clip=1.0)]


def system(
    name: str,
    title: str,
    summary: str,
    equations: str,
    parent: Callable[[GridState], Iteration],
    tying: Tying,
    depth: int,
    schedule: Callable[[int], Schedule],
    **more: Any,
) -> System:
    """One of the three forms."""
    return System(
        name=name,
        title=title,
        summary=summary,
        equations=equations,
        references=REFERENCES,
        recipes={"grid_state": Recipe(parent=parent, tying=tying, depth=depth, schedule=schedule, range=_files.ranges)},
        apply={"grid_state": _files.GRID_STATE},
        **more,
    )


SYSTEM = system(
    "power/psse",
    "prox-linear network",
    "the voltages of a power grid from meters of which some are wrong: a few robust steps with learned step sizes, "
    "clip levels, radii and weights of past states, and the physics of the grid in each.",
    (
        "r = (z - h(v)) / sigma, A = dh/dv / sigma;  w = rho[t] C (A^T u + kappa[t] P^-1 (m - v)), u = 0 at first, K "
        "times u <- clip(u + eta[t,k] (r - A w), -tau[t,k], tau[t,k]);  v <- v + w\n"
        "v: real and imaginary parts of all voltages, at first m; m, P: mean and covariance of past states; C: (A^T A "
        "+ P^-1)^-1 at m. 2 K + 2 numbers a layer are learned.\n"
        "At the start it is prox-linear descent on |z - h(v)|_1 / sigma + kappa (v - m)^T P^-1 (v - m) / 2."
    ),
    parent,
    Tying(untied=NUMBERS),
    DEPTH,
    schedule,
    paradigm="hyperparameters",
    variants=(
        system(
            "power/psse_frozen",
            "prox-linear network, dense layers",
            "as power/psse, with the derivative at the mean state: dense maps that begin as the algorithm's and are "
            "then free.",
            (
                "m = B[t] z + E[t] v + b[t],  u <- clip(m), K - 1 times u <- clip(m + W[t,k] u),  v <- v + D[t] u + "
                "F[t] v + f[t]\n"
                "At the start B = eta / sigma, E = -eta A (1 + F), W = I - eta rho A C A^T, D = rho C A^T, F = -rho "
                "kappa C P^-1, A at the mean of past states. It knows the grid that it was made for."
            ),
            frozen,
            Tying(untied=MAPS),
            DENSE_DEPTH,
            partial(dense_schedule, rate=3e-5),
            paradigm="objective",
        ),
        system(
            "power/psse_free",
            "prox-linear network, as released",
            "as power/psse, with no physics: the shape of two outer steps of three inner ones, all maps learned from "
            "nothing.",
            (
                "m = B1 z, u = s(m), u = s(m + W1 u), u = s(m + W2 u);  m = W3 u + B2 z, u = s(m), u = s(m + W4 u), "
                "u = s(m + W5 u);  v = P (u + D z)\n"
                "s: ReLU; every map has a bias. 8 (M^2 + M) + 2 N (M + 1) numbers; one layer of the catalogue is the "
                "whole of it."
            ),
            free,
            Tying(tied=("maps",)),
            1,
            partial(dense_schedule, rate=1e-3, steps=3000),
            paradigm="inductive-bias",
        ),
    ),
)
