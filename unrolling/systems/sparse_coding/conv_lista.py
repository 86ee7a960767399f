"""Convolutional LISTA: one learned convolutional dictionary for whole images (Sreter and Giryes 2018)."""

from __future__ import annotations

from pathlib import Path

import torch

from unrolling.algorithms import SynthesisISTA
from unrolling.algorithms.sparse.convolutional import tight_frame
from unrolling.operators import BlockSensing, dct_atoms
from unrolling.systems.base import Reference, System, Tying
from unrolling.systems.sparse_coding import baselines, family
from unrolling.tasks.images.photographs import Photographs
from unrolling.training.stages import Cosine, Schedule, Stage

ATOM_SIDE, STRIDE, WEIGHT = 8, 2, 0.01
SRETER = Reference(
    "Sreter, H. and Giryes, R.",
    "Learned convolutional sparse coding",
    "IEEE ICASSP",
    2018,
    "10.1109/ICASSP.2018.8462313",
)


def weights(weight: float = WEIGHT) -> torch.Tensor:
    """One weight for all atoms but the constant one, which is free."""
    values = torch.full((ATOM_SIDE**2,), weight)
    values[0] = 0
    return values


def initial(task: Photographs) -> BlockSensing:
    """The linear estimate, from measurements to images."""
    return BlockSensing(task.linear_gain().T.contiguous()).H  # pyright: ignore[reportReturnType]


def parent(task: Photographs) -> SynthesisISTA:
    """ISTA over a translation-invariant DCT, started at the linear estimate."""
    return SynthesisISTA(task.sensing, tight_frame(dct_atoms(ATOM_SIDE), STRIDE), weights(), initial=initial(task))


def schedule(depth: int) -> Schedule:
    return [Stage(2500, rate=2e-3, rates={"threshold": 1e-1}, batch=4, annealing=Cosine(0.1, 1e-2), clip=0.05)]


SYSTEM = System(
    name="sparse_coding/conv_lista",
    title="Convolutional LISTA",
    summary="whole photographs from few measurements: one learned convolutional dictionary and encoder, thresholds "
    "per layer and atom.",
    equations=(
        "z[t+1] = S_theta[t](z[t] + E Phi^T (y - Phi D z[t])),    picture D z; D: atoms of 8 x 8 pixels at every "
        "second pixel, across the whole image\n"
        "D and E are learned, the same in all layers; they start at the DCT as a tight frame and its adjoint, theta "
        "at lambda: ISTA."
    ),
    references=(SRETER, family.LIU),
    home=Path(__file__).parent,
    recipes={
        "photographs": baselines.photographs_recipe(
            parent=parent,
            depth=6,
            tying=lambda task: Tying(tied=("dictionary", "encoder"), untied=("threshold",)),
            schedule=schedule,
            parent_name="ISTA",
            generic_steps=5000,
            generic_batch=16,
            atoms=lambda layer: layer.dictionary.atoms(),
        )
    },
)
