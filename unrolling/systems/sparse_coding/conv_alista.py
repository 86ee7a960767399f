"""Convolutional ALISTA: analytic weights for a convolutional dictionary on whole images (Liu, Chen, Wang and Yin
2019).
"""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.sparse.convolutional import ConvolutionalISTA, tight_frame
from unrolling.operators import dct_atoms
from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import baselines, conv_lista, family
from unrolling.tasks.images.photographs import Photographs
from unrolling.training.stages import Cosine, Schedule, Stage


def parent(task: Photographs) -> ConvolutionalISTA:
    """ISTA over a translation-invariant DCT, started at the linear estimate."""
    dictionary = tight_frame(dct_atoms(conv_lista.ATOM_SIDE), conv_lista.STRIDE)
    return ConvolutionalISTA(task.sensing, dictionary, conv_lista.weights(), initial=conv_lista.initial(task))


def schedule(depth: int) -> Schedule:
    return [Stage(1000, rate=3e-2, rates={"threshold": 1e-1}, batch=4, annealing=Cosine(0.1, 1e-2), clip=0.05)]


SYSTEM = System(
    name="sparse_coding/conv_alista",
    title="Convolutional ALISTA",
    summary="whole photographs from few measurements with a fixed convolutional dictionary: a step size and a "
    "threshold per atom are all that is learned.",
    equations=(
        "z[t+1] = S_theta[t](z[t] + gamma[t] W (y - Phi D z[t])),    picture D z; D: the DCT of 8 x 8 pixels at every "
        "second pixel, a tight frame\n"
        "W = D^T Phi^T, fixed: the analytic weights, up to the scale of their rows, of a tight frame behind "
        "measurements with orthonormal rows."
    ),
    references=(family.LIU, conv_lista.SRETER),
    home=Path(__file__).parent,
    recipes={
        "photographs": baselines.photographs_recipe(
            parent=parent,
            depth=6,
            tying=lambda task: Tying(untied=("step_size", "threshold")),
            schedule=schedule,
            parent_name="ISTA",
            generic_steps=5000,
            generic_batch=16,
        )
    },
)
