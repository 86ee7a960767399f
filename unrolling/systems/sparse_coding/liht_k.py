"""LIHT with a fixed number of non-zeros, the layer of survey (32) (Xin, Wang, Gao, Wipf and Wang 2016)."""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.sparse.learned_iht import GramIHT
from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import coherent
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.stages import Cosine, Power, Schedule, Stage


def parent(task: Recovery) -> GramIHT:
    """IHT that keeps somewhat more entries than there are on average, so that few are missed; the mean number is what
    it is told.
    """
    return GramIHT(task.dictionary, min(task.dictionary.shape[1], round(1.6 * coherent.expected_support(task))))


def schedule(depth: int) -> Schedule:
    return [Stage(6000, rate=2e-3, batch=128, loss=LogNMSE(), supervision=Power(2.0), annealing=Cosine(0.02, 0.01))]


SYSTEM = System(
    name="sparse_coding/liht_k",
    title="LIHT, k non-zeros",
    summary="sparse signals with coherent dictionaries: iterative hard thresholding that keeps k entries, matrices "
    "learned for each layer.",
    equations=(
        "x[t+1] = H_k(W_e[t] y + W_t[t] x[t]),    H_k(z): the k entries of largest magnitude, the others zero; k is "
        "fixed\nat the start W_e = A^T / L, W_t = I - A^T A / L: iterative hard thresholding."
    ),
    references=(coherent.XIN, coherent.BLUMENSATH),
    home=Path(__file__).parent,
    recipes={
        "recovery": coherent.recipe(
            parent=parent, tying=lambda task: Tying(untied=("encoder", "inhibition")), schedule=schedule
        )
    },
)
