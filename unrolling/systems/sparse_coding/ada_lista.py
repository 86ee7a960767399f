"""Ada-LISTA: one network for many dictionaries, which are part of its data (Aberdam, Golts and Elad 2020)."""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms import FISTA
from unrolling.algorithms.sparse.dictionary import lipschitz
from unrolling.algorithms.sparse.varying import VaryingISTA
from unrolling.systems.base import Classical, Recipe, Reference, System, Tying
from unrolling.systems.sparse_coding import baselines
from unrolling.tasks.sparse.varying import VaryingDictionary
from unrolling.training.losses import LogNMSE
from unrolling.training.stages import Cosine, Power, Schedule, Stage

WEIGHT = 0.4  # as LISTA-CP begins
MARGIN = 1.05  # of the step size: noise on A raises |A|^2 a little


def parent(task: VaryingDictionary, weight: float = WEIGHT) -> VaryingISTA:
    """ISTA whose step is safe for all variations of A."""
    return VaryingISTA(task.dictionary.shape[0], weight, MARGIN * lipschitz(task.dictionary))


def classical(task: VaryingDictionary) -> list[Classical]:
    """The lasso of each dictionary: ISTA and FISTA know every dictionary that they are given, at no cost."""
    weights = (0.001, 0.003, 0.01, 0.03, 0.1)
    return [
        Classical("ISTA", lambda w: parent(task, w), weights, 3000, tuning=1000),
        Classical("FISTA", lambda w: FISTA(parent(task, w)), weights, 1000),
        Classical(
            "FISTA with continuation",
            lambda w: FISTA(parent(task, w), continuation=(max(baselines.FIRST_WEIGHT / w, 1.0), baselines.RATE)),
            weights,
            1000,
        ),
    ]


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
    summary="sparse recovery with a dictionary that is part of the data: one network for many dictionaries.",
    equations=(
        "x[t+1] = S_theta[t](x[t] + gamma[t] A^T (W2^T y - W1^T W1 A x[t])),    A the sample's own dictionary; W1, W2 "
        "shared by all layers\nat the start W1 = W2 = I, gamma = 1/L, theta = lambda/L: ISTA for 0.5 |y - A x|^2 + "
        "lambda |x|_1."
    ),
    references=(
        Reference(
            "Aberdam, A., Golts, A. and Elad, M.",
            "Ada-LISTA: Learned solvers adaptive to varying models",
            "IEEE TPAMI, arXiv:2001.08456",
            2022,
        ),
    ),
    home=Path(__file__).parent,
    recipes={
        "varying_dictionary": Recipe(
            task=VaryingDictionary,
            parent=parent,
            depth=16,
            tying=lambda task: Tying(tied=("mixing",), untied=("step_size", "threshold")),
            schedule=schedule,
            classical=classical,
            parent_name="ISTA",
            generic_steps=4000,
            generic_batch=128,
            vectors=False,
            options={"m": 250, "n": 500, "probability": 0.1, "snr": float("inf"), "permute": 1, "dictionary_snr": 25.0},
            tag=lambda options: (
                f"{options['m']}x{options['n']}-p{options['probability']:g}-snr{options['snr']:g}"
                f"{'-permuted' if options['permute'] else ''}-dictionary{options['dictionary_snr']:g}"
            ),
        )
    },
)
