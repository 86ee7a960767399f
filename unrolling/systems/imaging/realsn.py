"""Plug-and-play with real spectral normalisation (Ryu, Liu, Wang, Chen, Wang and Yin 2019; survey, reference [101])."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unrolling.algorithms.splitting.convergence_conditions import plug_and_play_conditions
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.networks.spectral_normalisation import LipschitzDnCNN
from unrolling.operators import FiniteDifferences, Identity
from unrolling.prox.analysis import AnalysisProx
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._denoising import denoising
from unrolling.systems.imaging._plug_and_play import BATCH, CHANNELS, LAYERS, quiet, seeded
from unrolling.tasks.baselines import Baseline, Iterative, ThreeRuns
from unrolling.tasks.images.denoising import Denoising
from unrolling.training.optimizers import Muon
from unrolling.training.stages import Cosine, Schedule, Stage

SIGMA = 5.0  # of 255
STEPS = 8000
EPSILON = 0.8  # of D - I; each layer has the norm EPSILON^(1 / LAYERS). Near 1 the steps of PnP-DRS would be endless


def parent(task: Denoising) -> ProximalGradient:
    """PnP-FBS for denoising with steps of 1, which is one application of the denoiser to the picture."""
    sigma = task.sigma / 255
    shape = (task.crop, task.crop)
    network = seeded(LipschitzDnCNN, LAYERS, CHANNELS, epsilon=EPSILON, shape=shape, activation="sort")
    return ProximalGradient(LeastSquares(Identity()), quiet(network, sigma), sigma**2).eval()


def schedule(depth: int) -> Schedule:
    """The denoiser by itself, one layer, by Muon: kernels whose norm is divided by have directions alone to learn."""
    annealing = Cosine(0.02, 1e-2)
    return [Stage(STEPS, rate=5e-3, batch=BATCH, annealing=annealing, clip=1.0, optimizer=Muon(kernels=True), depth=1)]


def classical(system: System, task: Denoising) -> Sequence[Baseline]:
    """Proximal gradient with total variation: its prox, in one step."""
    prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=60)
    weights = tuple(round(factor * task.sigma / 255, 5) for factor in (0.3, 0.5, 0.7))
    name = "total variation, proximal gradient"
    return [Iterative(name, lambda w: ProximalGradient(LeastSquares(Identity()), prox, w), weights, 2)]


def contraction(step: ProximalGradient, data: Any) -> str:
    """PnP-FBS with the layers' own bound of epsilon."""
    found = plug_and_play_conditions(step.data_term, data, step.prox.denoiser)
    rate = found.gradient_rate(float(step.step_size))
    if rate is None or rate >= 1:
        return f"no contraction is known: a step multiplies distances by up to {rate}"
    return f"a contraction: a step multiplies distances by at most {rate:.2g}"


SYSTEM = System(
    name="imaging/realsn",
    title="Plug-and-play with real spectral normalisation",
    paradigm="inductive-bias",
    summary="a denoiser whose change of an image is Lipschitz by construction, so that plug-and-play methods with it "
    "converge, and say when.",
    equations=(
        "D(x) = x - R(x),    R seven convolutions of 3 x 3, each divided by its norm as an operator on images, and "
        "between them pairs of channels in order, (max, min), so that |R(x) - R(y)| <= epsilon |x - y|, epsilon = 0.8\n"
        "PnP-FBS: x <- D(x - alpha A^T (A x - y)) contracts for epsilon / (mu (1 + epsilon)) < alpha < 2 / L - epsilon "
        "/ (L (1 + epsilon))\n"
        "PnP-DRS: v = prox_{alpha f}(z),    x = D(2 v - z),    z <- z + x - v contracts for alpha > epsilon / "
        "((1 + epsilon - 2 epsilon^2) mu), epsilon < 1\n"
        "mu and L the smallest and largest eigenvalue of A^T A. The recipe trains D: for denoising, A = I and alpha = "
        "1, a step of PnP-FBS is D itself."
    ),
    references=("ryu2019plug", "venkatakrishnan2013plug", "anil2019sorting"),
    recipes={
        "denoising": Recipe(
            parent=parent,
            tying=Tying(tied=("prox",)),
            depth=1,
            schedule=schedule,
            options={"sigma": SIGMA},
            range=lambda task: {"noise": Range(task.sigma / 2, 2 * task.sigma)},
        )
    },
    baselines={"denoising": classical},
    three_runs={"denoising": ThreeRuns(contraction, iterations=50)},
    apply={"denoising": denoising()},
)
