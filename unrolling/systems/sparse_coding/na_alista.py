"""Neurally Augmented ALISTA: a recurrent network gives each signal its step sizes and thresholds (Behrens, Sauder and
Jung 2021).
"""

from __future__ import annotations

from unrolling.algorithms.sparse.augmented import AugmentedISTA
from unrolling.algorithms.sparse.coupled import Selection
from unrolling.prox import soft_threshold
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import NOISY_SELECTION
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.stages import Cosine, Power, Schedule, Stage

STEPS = 3000


def parent(task: Recovery) -> AugmentedISTA:
    """Coupled ISTA with analytic weights and thresholds in a fixed ratio to what is left, chosen on validation data, as
    was the little that is selected.
    """
    prox = task.prox
    return AugmentedISTA(
        task.dictionary, 2.0, selection=NOISY_SELECTION if prox is soft_threshold else Selection(), prox=prox
    )


def schedule(depth: int) -> Schedule:
    """All layers, which share their numbers, at once; with the last layer alone supervised, the error of earlier ones
    rises and falls.
    """
    return [
        Stage(
            STEPS, rate=2e-3, batch=128, loss=LogNMSE(), supervision=Power(2.0), annealing=Cosine(0.02, 1e-2), clip=1.0
        )
    ]


SYSTEM = System(
    name="sparse_coding/na_alista",
    title="NA-ALISTA",
    paradigm="hyperparameters",
    summary="sparse recovery of signals of different density: a small recurrent network chooses every signal's step "
    "sizes and thresholds.",
    equations=(
        "x[t+1] = S_theta,p[t](x[t] + gamma W (y - A x[t])),    W the analytic weights of ALISTA\n"
        "(h, c) <- LSTM((log |r|_1 / |y|_1, log |W r|_1 / |W y|_1), (h, c)),    r = y - A x[t]\n"
        "(a, b) = U2 max(U1 c + b1, 0) + b2,    gamma = softplus(a),    theta = softplus(b) |W r|_1 / n"
    ),
    references=("behrens2021neurally", "liu2019alista"),
    recipes={
        "recovery": Recipe(
            parent=parent,
            tying=Tying(tied=("cell", "inner", "outer", "hidden", "memory")),
            depth=16,
            schedule=schedule,
            options={"probability": 0.05, "densest": 0.2},
        )
    },
)
