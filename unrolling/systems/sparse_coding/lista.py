"""LISTA: ISTA with learned matrices and thresholds (Gregor and LeCun 2010; survey, box "Learned ISTA")."""

from __future__ import annotations

from unrolling.algorithms import GramISTA, SynthesisISTA, ThinISTA
from unrolling.core import Iteration
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import on_pictures
from unrolling.tasks.images.blocks import PATCH, free_mean, patch_frame
from unrolling.tasks.images.photographs import Photographs
from unrolling.tasks.sparse.baselines import components
from unrolling.tasks.sparse.codes import Codes
from unrolling.training.stages import Cosine, Schedule, Stage


def photograph_parent(task: Photographs) -> SynthesisISTA:
    """ISTA over overlapping DCT patches, started at the linear estimate."""
    return SynthesisISTA(task.sensing, patch_frame(), free_mean(0.01, PATCH), initial=task.linear_estimate())


def codes_parent(task: Codes) -> Iteration:
    """The general form; for more atoms than pixels with the weights coupled, W_t = I - W_e A, which 100,000 patches
    determine better (validation).
    """
    return ThinISTA(task.dictionary, task.alpha) if _coupled(task) else GramISTA(task.dictionary, task.alpha)


def _coupled(task: Codes) -> bool:
    return task.dictionary.shape[1] > task.dictionary.shape[0]


def codes_tying(task: Codes) -> Tying:
    return Tying(untied=("encoder", "threshold") if _coupled(task) else ("encoder", "inhibition", "threshold"))


def codes_schedule(depth: int) -> Schedule:
    return [
        Stage(
            10_000, rate=3e-3 if depth < 5 else 2e-3, rates={"threshold": 3e-2}, batch=500, annealing=Cosine(0.05, 1e-3)
        )
    ]


def recovery_schedule(depth: int) -> Schedule:
    return [Stage(4000, rate=1e-3, rates={"threshold": 1e-2}, batch=128, annealing=Cosine(0.05, 1e-2), clip=1.0)]


def spikes_schedule(depth: int) -> Schedule:
    return [Stage(4000, rate=1e-3, rates={"inner.threshold": 1e-2}, batch=256, annealing=Cosine(0.05, 1e-2), clip=1.0)]


SYSTEM = System(
    name="sparse_coding/lista",
    title="LISTA",
    paradigm="objective",
    summary="sparse codes, and photographs from few measurements, in a few layers: ISTA with learned matrices and "
    "thresholds.",
    equations=(
        "x[t+1] = S_theta[t](W_e y + W_t x[t]),    S_theta(z) = sign(z) max(|z| - theta, 0)\n"
        "at the start W_e = mu A^T, W_t = I - mu A^T A, theta = mu lambda, mu = 1/|A|^2: ISTA for 0.5 |y - A x|^2 + "
        "lambda |x|_1.\n"
        "codes with more atoms than pixels: the weights are coupled, W_t = I - W_e A, x[t+1] = S_theta[t](x[t] + "
        "W_e[t] (y - A x[t])).\n"
        "photographs: z[t+1] = S_theta[t](z[t] + E[t] H[t] (y - Phi D[t] z[t])), picture D z; at the start E = mu "
        "D^T, H = Phi^T, D overlapping DCT patches."
    ),
    references=("gregor2010learning", "beck2009fast"),
    recipes={
        "photographs": Recipe(
            parent=photograph_parent,
            tying=Tying(tied=("initial", "analysis"), untied=("dictionary", "encoder", "back_projection", "threshold")),
            depth=5,
            schedule=on_pictures(2000, 3e-3, 1e-3),
        ),
        "codes": Recipe(parent=codes_parent, tying=codes_tying, depth=3, schedule=codes_schedule),
        "spikes": Recipe(
            parent=lambda task: components(task.dictionary),
            tying=Tying(untied=("inner",)),
            depth=6,
            schedule=spikes_schedule,
        ),
        "recovery": Recipe(
            parent=lambda task: GramISTA(task.dictionary, 0.1),
            tying=Tying(tied=("encoder", "inhibition"), untied=("threshold",)),
            depth=16,
            schedule=recovery_schedule,
        ),
    },
)
