"""LCoD: coordinate descent with learned matrices and thresholds (Gregor and LeCun 2010, section 4)."""

from __future__ import annotations

from unrolling.algorithms import CoordinateDescent, Decoded
from unrolling.operators.linear import learnable
from unrolling.systems.base import Recipe, System, Tying
from unrolling.tasks.images.blocks import block_decoder, block_dictionary, free_mean
from unrolling.tasks.images.photographs import BLOCK, Photographs
from unrolling.training.stages import Cosine, Schedule, Stage


def photograph_parent(task: Photographs) -> Decoded:
    """Coordinate descent over the DCT of disjoint blocks, the decoder learned with it."""
    return Decoded(
        CoordinateDescent(block_dictionary(task.sensing), free_mean(0.02, BLOCK)),
        learnable(block_decoder(task.sensing)),
    )


def _schedule(steps: int, batch: int) -> Schedule:
    return [Stage(steps, rate=1e-3, batch=batch, annealing=Cosine(0.05, 1e-2), clip=1.0)]


LEARNED = Tying(tied=("encoder", "inhibition", "threshold"))

SYSTEM = System(
    name="sparse_coding/lcod",
    title="LCoD",
    paradigm="objective",
    summary="sparse codes one coordinate at a time: coordinate descent with learned matrices and thresholds.",
    equations=(
        "z' = S_theta(b);  k = argmax |z' - z|;  b[t+1] = b + S[:, k] (z'_k - z_k);  z[t+1] = z with z_k = z'_k;  "
        "estimate S_theta(b)\n"
        "b = W_e y, z = 0 at first; at the start of training W_e = A^T, S = I - A^T A, theta = lambda: coordinate "
        "descent. A layer costs O(n), not O(n^2)."
    ),
    references=("gregor2010learning", "li2009coordinate"),
    recipes={
        "photographs": Recipe(
            parent=photograph_parent,
            tying=Tying(tied=("inner", "decoder")),
            depth=20,
            schedule=lambda depth: _schedule(2000, 4),
        ),
        "codes": Recipe(
            parent=lambda task: CoordinateDescent(task.dictionary, task.alpha),
            tying=LEARNED,
            depth=30,
            schedule=lambda depth: _schedule(3000, 250),
        ),
        "recovery": Recipe(
            parent=lambda task: CoordinateDescent(task.dictionary, 0.1),
            tying=LEARNED,
            depth=60,
            schedule=lambda depth: _schedule(2000, 128),
        ),
    },
)
