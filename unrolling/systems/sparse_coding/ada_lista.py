"""Ada-LISTA: one network for many dictionaries, which are part of its data (Aberdam, Golts and Elad 2020)."""

from __future__ import annotations

from unrolling.algorithms.sparse.dictionary import lipschitz
from unrolling.algorithms.sparse.varying import VaryingISTA
from unrolling.systems.base import Recipe, System, Tying
from unrolling.tasks.sparse.varying import MARGIN, VaryingDictionary
from unrolling.training.losses import LogNMSE
from unrolling.training.stages import Cosine, Power, Schedule, Stage

WEIGHT = 0.4  # as LISTA-CP begins


def parent(task: VaryingDictionary, weight: float = WEIGHT) -> VaryingISTA:
    """ISTA whose step is safe for all variations of A."""
    return VaryingISTA(task.dictionary.shape[0], weight, MARGIN * lipschitz(task.dictionary))


def schedule(depth: int) -> Schedule:
    return [
        Stage(
            1500,
            rate=2e-3,
            rates={"threshold": 3e-2, "step_size": 3e-2},
            batch=128,
            loss=LogNMSE(),
            supervision=Power(1.0),
            annealing=Cosine(0.05, 0.02),
        )
    ]


SYSTEM = System(
    name="sparse_coding/ada_lista",
    title="Ada-LISTA",
    paradigm="objective",
    summary="sparse recovery with a dictionary that is part of the data: one network for many dictionaries.",
    equations=(
        "x[t+1] = S_theta[t](x[t] + gamma[t] A^T (W2^T y - W1^T W1 A x[t])),    A the sample's own dictionary; W1, W2 "
        "shared by all layers\nat the start W1 = W2 = I, gamma = 1/L, theta = lambda/L: ISTA for 0.5 |y - A x|^2 + "
        "lambda |x|_1."
    ),
    references=("aberdam2022ada",),
    recipes={
        "varying_dictionary": Recipe(
            parent=parent,
            tying=Tying(tied=("mixing",), untied=("step_size", "threshold")),
            depth=16,
            schedule=schedule,
        )
    },
)
