"""LISTA: ISTA with learned matrices and thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unrolling.algorithms import FISTA, ISTA, CoordinateDescent, GramISTA
from unrolling.systems.base import Classical, Peer, Recipe, Reference, System
from unrolling.tasks.recovery import Recovery
from unrolling.training.stages import Schedule, Stage

WEIGHTS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def recovery(seed: int = 0, data: Any = None, **options: Any) -> Recovery:
    return Recovery(seed=seed, **options)


def recovery_schedule(depth: int) -> Schedule:
    return [Stage(2000, rate=1e-3, rates={"threshold": 1e-2}, batch=128, warmup=0.05, clip=1.0)]


SYSTEM = System(
    name="sparse_coding/lista",
    title="LISTA",
    summary="sparse codes in a few layers: ISTA with learned matrices and thresholds.",
    equations="x[t+1] = S_theta[t](W_e y + W_t x[t]),  S_theta(z) = sign(z) max(|z| - theta, 0)\nat the start W_e = mu A^T, W_t = I - mu A^T A, theta = mu lambda: ISTA with step size mu = 1/L",
    references=(
        Reference("Gregor, K. and LeCun, Y.", "Learning fast approximations of sparse coding", "ICML", 2010),
        Reference(
            "Beck, A. and Teboulle, M.",
            "A fast iterative shrinkage-thresholding algorithm for linear inverse problems",
            "SIAM J. Imaging Sciences 2(1)",
            2009,
            "10.1137/080716542",
        ),
    ),
    home=Path(__file__).parent,
    recipes={
        "recovery": Recipe(
            task=recovery,
            parent=lambda task: GramISTA(task.dictionary, 0.1),
            depth=16,
            tied=("encoder", "inhibition"),
            untied=("threshold",),
            schedule=recovery_schedule,
            classical=lambda task: [
                Classical("ISTA", "parent", lambda w: GramISTA(task.dictionary, w), WEIGHTS, 300),
                Classical("FISTA", "classical", lambda w: FISTA(GramISTA(task.dictionary, w)), WEIGHTS, 300),
                Classical(
                    "FISTA with continuation", "classical", lambda w: FISTA(GramISTA(task.dictionary, w), continuation=(max(1.0, 0.5 / w), 0.9)), WEIGHTS, 300
                ),
                Classical("coordinate descent", "classical", lambda w: CoordinateDescent(task.dictionary, w), WEIGHTS, 300),
            ],
            generic_steps=2000,
            generic_batch=128,
            peers=lambda task: [Peer("lasso_cd", "lasso_cd", {"alpha": 0.01}, 20)],
            dictionary=lambda task: task.dictionary,
            options={"m": 250, "n": 500, "probability": 0.1, "snr": float("inf")},
        )
    },
)
