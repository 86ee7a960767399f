"""LCoD: coordinate descent with learned matrices and thresholds (Gregor and LeCun 2010, section 4)."""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms import CoordinateDescent, Decoded
from unrolling.operators.linear import learnable
from unrolling.systems.base import Reference, System, Tying
from unrolling.systems.sparse_coding import baselines
from unrolling.tasks.images.photographs import Photographs
from unrolling.training.stages import Cosine, Schedule, Stage


def photograph_parent(task: Photographs) -> Decoded:
    """Coordinate descent over the DCT of disjoint blocks, the decoder learned with it."""
    return Decoded(
        CoordinateDescent(baselines.block_dictionary(task), baselines.block_weight(0.02)),
        learnable(baselines.block_decoder(task)),
    )


def _schedule(steps: int, batch: int) -> Schedule:
    return [Stage(steps, rate=1e-3, batch=batch, annealing=Cosine(0.05, 1e-2), clip=1.0)]


COST = (
    "A step of coordinate descent changes one coordinate and costs O(n), a step of ISTA O(m n) or O(n^2): compare "
    "times, not iterations."
)
LEARNED = Tying(tied=("encoder", "inhibition", "threshold"))

SYSTEM = System(
    name="sparse_coding/lcod",
    title="LCoD",
    summary="sparse codes one coordinate at a time: coordinate descent with learned matrices and thresholds.",
    equations=(
        "z' = S_theta(b);  k = argmax |z' - z|;  b[t+1] = b + S[:, k] (z'_k - z_k);  z[t+1] = z with z_k = z'_k;  "
        "estimate S_theta(b)\n"
        "b = W_e y, z = 0 at first; at the start of training W_e = A^T, S = I - A^T A, theta = lambda: coordinate "
        "descent. A layer costs O(n), not O(n^2)."
    ),
    references=(
        Reference("Gregor, K. and LeCun, Y.", "Learning fast approximations of sparse coding", "ICML", 2010),
        Reference(
            "Li, Y. and Osher, S.",
            "Coordinate descent optimization for l1 minimization with application to compressed sensing",
            "Inverse Problems and Imaging 3(3)",
            2009,
            "10.3934/ipi.2009.3.487",
        ),
    ),
    home=Path(__file__).parent,
    recipes={
        "photographs": baselines.photographs_recipe(
            parent=photograph_parent,
            depth=20,
            tying=lambda task: Tying(tied=("inner", "decoder")),
            schedule=lambda depth: _schedule(2000, 4),
            parent_name="coordinate descent, disjoint blocks",
            generic_steps=4000,
            generic_batch=16,
            notes=(COST,),
        ),
        "codes": baselines.codes_recipe(
            parent=lambda task: CoordinateDescent(task.dictionary, task.alpha),
            depth=30,
            tying=lambda task: LEARNED,
            schedule=lambda depth: _schedule(3000, 250),
            parent_name="coordinate descent",
            generic_steps=6000,
            generic_batch=500,
            notes=(COST,),
            atoms=400,
        ),
        "recovery": baselines.recovery_recipe(
            parent=lambda task: CoordinateDescent(task.dictionary, 0.1),
            depth=60,
            tying=lambda task: LEARNED,
            schedule=lambda depth: _schedule(2000, 128),
            parent_name="coordinate descent",
            generic_steps=4000,
            generic_batch=128,
            notes=(COST,),
        ),
    },
)
