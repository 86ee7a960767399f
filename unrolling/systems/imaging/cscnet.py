"""Denoising by convolutional sparse coding with a stride: one set of weights for noise of any level (Simon and Elad
2019; survey, section III-A).
"""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.sparse.strided import StridedISTA, cosine_atoms
from unrolling.operators.strided import StridedDictionary
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._denoising import denoising, told_levels
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.training.stages import Cosine, Schedule, Stage

ATOMS, SIZE, STRIDE, DEPTH = 175, 12, 4, 12
SHARED = ("dictionary", "encoder", "decoder", "remainder")
EACH = ("threshold", "slope", "momentum")
WEIGHT, WEIGHTS = 1.8, (1.2, 1.8, 2.4)  # lambda, chosen on validation photographs for as many steps; candidates
MARGIN, TILE = 48, 256  # pixels: of pieces of large pictures


def cosines(weight: float = WEIGHT, shifts: int = STRIDE) -> StridedISTA:
    """Overcomplete cosines of 12 x 12 pixels at every fourth pixel, scaled to |D| = 1: the step size is 1, and analysis
    and synthesis learn at the same pace.

    Args:
        weight: lambda for atoms of norm 1.
        shifts: positions of the grid along a side.
    """
    atoms = cosine_atoms(ATOMS, SIZE).unsqueeze(1)
    side = 4 * SIZE // STRIDE
    scale = 1 / StridedDictionary(atoms, STRIDE).norm(1e-3, shape=(ATOMS, side, side))
    return StridedISTA(StridedDictionary(scale * atoms, STRIDE), scale * weight, step_size=1.0, shifts=shifts)


def schedule(depth: int) -> Schedule:
    """The picture as it lies, which a random crop makes a random position; then the mean over all positions, as it is
    used.
    """
    rates = {"threshold": 5e-3, "slope": 5e-3, "remainder": 1e-2, "momentum": 2e-3}
    gentle = {name: each / 10 for name, each in rates.items()}
    alone, together = {"shifts": 1.0}, {"shifts": float(STRIDE)}
    return [
        Stage(20_000, rate=2e-3, batch=16, annealing=Cosine(0.01, 1e-2), settings=alone, rates=rates, clip=1.0),
        Stage(300, rate=1e-4, batch=2, annealing=Cosine(0.05, 1e-1), settings=together, rates=gentle, clip=1.0),
    ]


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent, on towards its fixed point; at four of the positions, which differ little from all."""
    title = "cosines at every fourth pixel, ISTA"
    return [Iterative(title, lambda weight: cosines(weight, shifts=2), WEIGHTS, 40, tuning=15)]


SYSTEM = System(
    name="imaging/cscnet",
    title="CSCNet",
    paradigm="objective",
    summary="photographs without noise of any level: twelve steps of convolutional ISTA with a learned dictionary, "
    "averaged over 16 positions of its grid.",
    equations=(
        "v[t] = z[t] + beta[t] (z[t] - z[t-1]),    z[t+1] = S_theta[t](l)(v[t] + E^T (y - D v[t])),    z[0] = 0;    "
        "the mean over 16 positions of the grid of C z[T], and tau^2 / (tau^2 + l^2) of y - C z[T]\n"
        "D, E, C: 175 atoms of 12 x 12 pixels at every fourth pixel, the same in all layers; theta[t] = t_i[t] l (l / "
        "25)^b_i[t], one t and b for each atom and layer; l = sigma, the standard deviation of the noise; 79,813 "
        "numbers.\n"
        "At the start the atoms are cosines, E = mu D, beta = b = 0: ISTA."
    ),
    references=("simon2019rethinking",),
    recipes={
        "noise_levels": Recipe(
            parent=lambda task: cosines(),
            tying=Tying(tied=SHARED, untied=EACH),
            depth=DEPTH,
            schedule=schedule,
            range=lambda task: {"noise": Range(0, task.most)},
        )
    },
    baselines={"noise_levels": baselines},
    apply={"noise_levels": denoising(told_levels(MARGIN, TILE))},
)
