"""Densely connected proximal gradient descent: an unrolled step that begins at a learned combination of all images so
far (Hosseini et al. 2020; survey, section III-B), with a momentum and with no memory as variants.
"""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.splitting.data_terms import CoilSampling, SampledFourier
from unrolling.algorithms.splitting.dense_gradient import DenseProximalGradient, History
from unrolling.core import Unrolled, unroll
from unrolling.networks.residual_cnn import ResidualCNN
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.medical._coils import application, coil_by_coil
from unrolling.tasks.medical.coils import Coils
from unrolling.tasks.medical.mri import MRI
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, LAYERS, CHANNELS = 10, 5, 24  # of the unrolled network, of the convolutional one and between its layers
STEPS, CROP = 600, 128
RANGE = {"acceleration": Range(4, 8), "mask": ("lines",), "coils": (8,), "noise": Range(0.005, 0.02)}
RATE, FASTER = 2e-3, 5e-3


def parent(task: Coils | MRI, history: History, depth: int = DEPTH) -> DenseProximalGradient:
    """Proximal gradient descent with a step of 1, the largest for which |E| <= 1 promises descent."""
    term = CoilSampling() if isinstance(task, Coils) else SampledFourier(real=task.real)
    return DenseProximalGradient(term, ResidualCNN(LAYERS, CHANNELS), depth, history=history)


def schedule(history: History, **draw: float) -> Schedule:
    """All layers at once, an image at a time; of several coils squares out of them, of accelerations up to twice that
    of the task.
    """
    rates: dict[str, float] = {"step_size": FASTER, **({} if history == "none" else {"combination": FASTER})}
    return [Stage(STEPS, rate=RATE, rates=rates, batch=1, annealing=Cosine(0.02, 1e-2), clip=1.0, draw=draw)]


def recipes(history: History) -> dict[str, Recipe]:
    """Of one way to remember."""
    tying = Tying(tied=("prox",) if history == "none" else ("prox", "combination"), untied=("step_size",))

    def build(task: Any, depth: int) -> Unrolled:
        return unroll(parent(task, history, depth), depth, tied=tying.tied, untied=tying.untied)

    def recipe(**changes: Any) -> Recipe:
        return Recipe(parent=lambda task: parent(task, history), tying=tying, depth=DEPTH, build=build, **changes)

    return {
        "multicoil": recipe(schedule=lambda depth: schedule(history, crop=CROP, spread=2.0), range=RANGE),
        "mri": recipe(schedule=lambda depth: schedule(history)),
    }


STEP = "x[k+1] = R(u - mu[k] E^H (E u - y)),    x[0] = E^H y,    k = 0 ... 9"
NETWORK = (
    "R a residual network of five convolutions (24 channels) on real and imaginary part, shared by all layers; at the "
    "start R = I, mu = 1"
)
REFERENCES = ("hosseini2020dense", "beck2009fast")


def variant(history: History, name: str, title: str, summary: str, combination: str) -> System:
    """One way to remember."""
    return System(
        name=f"medical/{name}",
        title=title,
        paradigm="inductive-bias",
        summary=summary,
        equations=f"u = {combination},    {STEP}\n{NETWORK}.",
        references=REFERENCES,
        recipes=recipes(history),
        baselines={"multicoil": coil_by_coil},
        apply={"multicoil": application()},
    )


SYSTEM = System(
    name="medical/dense_pgd",
    title="Densely connected PGD",
    paradigm="inductive-bias",
    summary="magnetic resonance images from several coils: proximal gradient descent with a learned prox, each step "
    "from a learned combination of all images so far.",
    equations=f"u = sum_{{j <= k}} b[k, j] x[j],    {STEP}\n{NETWORK}, b = I.",
    references=REFERENCES,
    recipes=recipes("dense"),
    baselines={"multicoil": coil_by_coil},
    apply={"multicoil": application()},
    variants=(
        variant(
            "momentum",
            "momentum_pgd",
            "PGD with learned momentum",
            "as medical/dense_pgd, but each step from a combination of the last two images alone.",
            "b[k, 0] x[k] + b[k, 1] x[k-1]",
        ),
        variant(
            "none",
            "plain_pgd",
            "Unrolled PGD",
            "as medical/dense_pgd, but each step from the last image: what the connections are measured against.",
            "x[k]",
        ),
    ),
)
