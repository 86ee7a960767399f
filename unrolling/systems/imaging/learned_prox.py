"""Learned proximal operators: one denoiser in a primal-dual method for all tasks (Meinhardt, Moeller, Hazirbas and
Cremers 2017; survey, reference [98]).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unrolling.algorithms.splitting.data_terms import KnownBlur
from unrolling.algorithms.splitting.denoised_primal_dual import DenoisedPrimalDual
from unrolling.networks.dncnn import DnCNN
from unrolling.operators import FiniteDifferences
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.opponent import OpponentProx
from unrolling.prox.plug_and_play import DenoiserProx
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging import _known_blur
from unrolling.systems.imaging._plug_and_play import CHANNELS, LAYERS, quiet, seeded, stage
from unrolling.tasks.baselines import Baseline, Iterative, ThreeRuns
from unrolling.tasks.images.demosaicking import CHROMA, Demosaicking
from unrolling.tasks.images.known_deblurring import KnownDeblurring
from unrolling.training.denoiser import DenoiserLoss
from unrolling.training.stages import Schedule

SIGMA = 0.02  # of the denoiser, for images in [0, 1]
DEPTH = 30
EXACT = 25.0  # fidelity of data without noise


def denoiser() -> DenoiserProx:
    """The same for all tasks."""
    return quiet(seeded(DnCNN, LAYERS, CHANNELS, normalise=False), SIGMA)


def deblurring(task: KnownDeblurring) -> DenoisedPrimalDual:
    """With alpha = (sigma / noise)^2: a denoiser of variance sigma^2 is the prox of sigma^2 times a prior."""
    return DenoisedPrimalDual(KnownBlur(), denoiser(), SIGMA**2, fidelity=(SIGMA / task.noise) ** 2).eval()


def demosaicking(task: Demosaicking) -> DenoisedPrimalDual:
    """Brightness and differences of colours by the one denoiser, from bilinear interpolation."""
    fidelity = min((SIGMA / task.noise) ** 2, EXACT) if task.noise else EXACT
    return DenoisedPrimalDual(task.term(), OpponentProx(denoiser()), SIGMA**2, fidelity=fidelity).eval()


def schedule(depth: int) -> Schedule:
    """The denoiser alone, on the task's pictures and noise of its own."""
    return stage(depth=1, loss=DenoiserLoss())


def variation(
    make: Callable[[AnalysisProx, float], DenoisedPrimalDual], weights: tuple[float, ...]
) -> Sequence[Baseline]:
    """The same method with the prox of total variation."""
    prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=10)
    return [Iterative("total variation, primal-dual", lambda w: make(prox, w), weights, 200, tuning=60)]


def deblurring_rivals(system: System, task: KnownDeblurring) -> Sequence[Baseline]:
    """Total variation."""
    weights = tuple(round(c * task.noise, 6) for c in (0.03, 0.06, 0.12, 0.25))
    return variation(lambda prox, w: DenoisedPrimalDual(KnownBlur(), prox, w, primal_step=5.0), weights)


def demosaicking_rivals(system: System, task: Demosaicking) -> Sequence[Baseline]:
    """Total variation of brightness and of differences of colours."""
    return variation(
        lambda prox, w: DenoisedPrimalDual(task.term(), OpponentProx(prox, chroma=CHROMA), w), (0.001, 0.003, 0.01)
    )


def contraction(step: DenoisedPrimalDual, data: Any) -> str:
    """Of no denoiser that is not a prox."""
    return "no contraction is known: the denoiser is no prox, and its Lipschitz constant nobody bounds"


def recipe(parent: Callable[..., DenoisedPrimalDual]) -> Recipe:
    """Only the data term changes with the task."""
    return Recipe(parent=parent, tying=Tying(tied=("prox",)), depth=DEPTH, schedule=schedule)


SYSTEM = System(
    name="imaging/learned_prox",
    title="Learned proximal operators",
    paradigm="inductive-bias",
    summary="one denoiser in the place of the prox of a primal-dual method: deblurring with a known kernel and "
    "demosaicking, neither of which it was trained for.",
    equations=(
        "p <- (p + sigma (A x' - y)) / (1 + sigma / alpha),    x+ <- D(x - tau A^T p),    x' <- 2 x+ - x\n"
        "D, a DnCNN of seven layers and 32 channels, was trained to remove white noise of standard deviation 0.02, and "
        "is the same for all tasks; A, y and alpha are the task's. Of colours D sees their mean and two differences."
    ),
    references=("meinhardt2017learning", "chambolle2011first"),
    recipes={"known_deblurring": recipe(deblurring), "demosaicking": recipe(demosaicking)},
    baselines={"known_deblurring": deblurring_rivals, "demosaicking": demosaicking_rivals},
    three_runs=dict.fromkeys(("known_deblurring", "demosaicking"), ThreeRuns(contraction)),
    apply={"known_deblurring": _known_blur.deblurring(SIGMA)},
)
