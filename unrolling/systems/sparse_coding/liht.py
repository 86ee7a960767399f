"""LIHT: iterative hard thresholding with learned matrices and thresholds (Xin, Wang, Gao, Wipf and Wang 2016)."""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.sparse.learned_iht import GramHardISTA
from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import coherent
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.stages import Cosine, Power, Ramp, Schedule, Stage

FIRST_THRESHOLD = 0.1


def parent(task: Recovery) -> GramHardISTA:
    """ISTA with a hard threshold."""
    return GramHardISTA(task.dictionary, FIRST_THRESHOLD)


def schedule(depth: int) -> Schedule:
    """All layers at once, layer k of K counting as (k / K)^2, the ramp whose gradient the thresholds are given
    narrowing to half of them.
    """
    return [
        Stage(
            6000,
            rate=2e-3,
            rates={"threshold": 1e-2},
            batch=128,
            loss=LogNMSE(),
            supervision=Power(2.0),
            annealing=Cosine(0.02, 0.01),
            settings={"surrogate_width": Ramp(1.0, 0.5)},
        )
    ]


SYSTEM = System(
    name="sparse_coding/liht",
    title="LIHT",
    summary="the support of sparse signals with coherent dictionaries: hard thresholds, matrices and thresholds "
    "learned for each layer.",
    equations=(
        "x[t+1] = H_theta[t](W_e[t] y + W_t[t] x[t]),    H_theta(z) = z where |z| > theta, else 0\n"
        "at the start W_e = A^T / L, W_t = I - A^T A / L: proximal gradient descent on 0.5 |y - A x|^2 + lambda "
        "|x|_0, theta = sqrt(2 lambda / L).\n"
        "H_theta has no gradient to theta: the backward pass takes that of a ramp around it, which narrows while "
        "training goes on."
    ),
    references=(coherent.XIN, coherent.BLUMENSATH),
    home=Path(__file__).parent,
    recipes={
        "recovery": coherent.recipe(
            parent=parent, tying=lambda task: Tying(untied=("encoder", "inhibition", "threshold")), schedule=schedule
        ),
    },
)
