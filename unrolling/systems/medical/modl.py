"""MoDL: least squares that alternate with a learned denoiser, for magnetic resonance with several coils."""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.splitting.data_terms import CoilSampling
from unrolling.algorithms.splitting.denoised_least_squares import DenoisedLeastSquares
from unrolling.networks.residual import ComplexResidual
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.medical._coils import application, coil_by_coil
from unrolling.tasks.medical.coils import Coils
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 10
WEIGHT = 0.05
CROP = 128  # pixels along a side that are trained on
STEPS = (800, 500, 250)  # with one layer, with five, with all
RANGE = {
    "acceleration": Range(4, 8),
    "mask": ("lines",),
    "coils": (8,),
    "noise": Range(0.005, 0.02),
}


def parent(task: Coils) -> DenoisedLeastSquares:
    """Iterated Tikhonov regularisation: the last normalisation starts at zero, so that the denoiser is the identity."""
    return DenoisedLeastSquares(CoilSampling(), ComplexResidual(), WEIGHT)


def schedule(depth: int) -> Schedule:
    """One layer, then five, then all, with the same weights; one slice at a time, of accelerations up to twice that of
    the task.
    """
    options: dict[str, Any] = {
        "batch": 1,
        "clip": 1.0,
        "rates": {"weight": 1e-2},
        "draw": {"spread": 2.0, "crop": CROP},
    }
    first, middle, last = STEPS
    return [
        Stage(first, rate=2e-3, depth=1, annealing=Cosine(0.05, 0.2), **options),
        Stage(middle, rate=1e-3, depth=min(5, depth), annealing=Cosine(0.05, 0.2), **options),
        Stage(last, rate=3e-4, annealing=Cosine(0.05, 1e-2), **options),
    ]


SYSTEM = System(
    name="medical/modl",
    title="MoDL",
    paradigm="inductive-bias",
    summary="magnetic resonance images from part of the k-space of several coils: least squares solved in every layer, "
    "in turn with one small network.",
    equations=(
        "z = x + N(x),    x <- (E^H E + lambda I)^-1 (E^H y + lambda z),    x = E^H y at the start\n"
        "E x = (m . F S_c x)_c; the equation by at most ten conjugate gradients, differentiated implicitly.\n"
        "N: five convolutions of 3 x 3 with batch normalisation, 64 channels, real and imaginary part as two; at the "
        "start N = 0, lambda = 0.05. N and lambda are the same in all layers."
    ),
    references=("aggarwal2019modl", "pruessmann1999sense", "uecker2014espirit"),
    recipes={
        "multicoil": Recipe(
            parent=parent,
            tying=Tying(tied=("weight", "denoiser")),
            depth=DEPTH,
            schedule=schedule,
            range=RANGE,
        )
    },
    baselines={"multicoil": coil_by_coil},
    apply={"multicoil": application()},
    not_exported={
        "multicoil": {
            "onnx": "ten conjugate gradients in each of ten layers are a graph that is not written within four minutes "
            "of a processor; torch does"
        }
    },
)
