"""LIHT: iterative hard thresholding with learned matrices and thresholds (Xin, Wang, Gao, Wipf and Wang 2016)."""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.sparse.learned_iht import GramHardISTA, GramIHT
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import COHERENT, expected_support
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.stages import Cosine, Power, Ramp, Schedule, Stage

FIRST_THRESHOLD = 0.1
REFERENCES = ("xin2016maximal", "blumensath2009iterative")


def parent(task: Recovery) -> GramHardISTA:
    """ISTA with a hard threshold."""
    return GramHardISTA(task.dictionary, FIRST_THRESHOLD)


def counting_parent(task: Recovery) -> GramIHT:
    """IHT that keeps somewhat more entries than there are on average, so that few are missed; the mean number is what
    it is told.
    """
    return GramIHT(task.dictionary, min(task.dictionary.shape[1], round(1.6 * expected_support(task))))


def stage(**options: Any) -> Stage:
    """All layers at once, layer k of K counting as (k / K)^2."""
    return Stage(
        6000, rate=2e-3, batch=128, loss=LogNMSE(), supervision=Power(2.0), annealing=Cosine(0.02, 0.01), **options
    )


def schedule(depth: int) -> Schedule:
    """The ramp whose gradient the thresholds are given narrows to half of them."""
    return [stage(rates={"threshold": 1e-2}, settings={"surrogate_width": Ramp(1.0, 0.5)})]


SYSTEM = System(
    name="sparse_coding/liht",
    title="LIHT",
    paradigm="objective",
    summary="the support of sparse signals with coherent dictionaries: hard thresholds, matrices and thresholds "
    "learned for each layer.",
    equations=(
        "x[t+1] = H_theta[t](W_e[t] y + W_t[t] x[t]),    H_theta(z) = z where |z| > theta, else 0\n"
        "at the start W_e = A^T / L, W_t = I - A^T A / L: proximal gradient descent on 0.5 |y - A x|^2 + lambda "
        "|x|_0, theta = sqrt(2 lambda / L).\n"
        "H_theta has no gradient to theta: the backward pass takes that of a ramp around it, which narrows while "
        "training goes on."
    ),
    references=REFERENCES,
    recipes={
        "recovery": Recipe(
            parent=parent,
            tying=Tying(untied=("encoder", "inhibition", "threshold")),
            depth=16,
            schedule=schedule,
            options=COHERENT,
        )
    },
    variants=(
        System(
            name="sparse_coding/liht_k",
            title="LIHT, k non-zeros",
            paradigm="objective",
            summary="sparse signals with coherent dictionaries: iterative hard thresholding that keeps k entries, "
            "matrices learned for each layer.",
            equations=(
                "x[t+1] = H_k(W_e[t] y + W_t[t] x[t]),    H_k(z): the k entries of largest magnitude, the others zero; "
                "k is fixed\nat the start W_e = A^T / L, W_t = I - A^T A / L: iterative hard thresholding. The layer "
                "of survey (32)."
            ),
            references=REFERENCES,
            recipes={
                "recovery": Recipe(
                    parent=counting_parent,
                    tying=Tying(untied=("encoder", "inhibition")),
                    depth=16,
                    schedule=lambda depth: [stage()],
                    options=COHERENT,
                )
            },
        ),
    ),
)
