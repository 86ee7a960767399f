"""Denoising by convolutional sparse coding with a stride: one set of weights for noise of any level (Simon and Elad
2019; survey, section III-A).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from unrolling.algorithms.sparse.strided import StridedISTA, cosine_atoms
from unrolling.operators.strided import StridedDictionary
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._denoising import denoising, told_levels
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.training.stages import Cosine, Schedule, Stage

ATOMS, SIZE, STRIDE, DEPTH = 175, 12, 4, 12
WEIGHT = 1.8  # lambda of the parent for atoms of norm 1, chosen on validation photographs for as many steps
MARGIN, TILE = 48, 256  # pixels: of pieces of large pictures
TYING = Tying(tied=("dictionary", "encoder", "decoder", "remainder"), untied=("threshold", "slope", "momentum"))


WEIGHTS = (1.2, 1.8, 2.4)


def parent(task: Any, weight: float = WEIGHT, shifts: int = STRIDE) -> StridedISTA:
    """Overcomplete cosines of 12 x 12 pixels at every fourth pixel, scaled to |D| = 1: the step size is 1 and analysis
    and synthesis learn at the same pace.
    """
    atoms = cosine_atoms(ATOMS, SIZE).unsqueeze(1)
    side = 4 * SIZE // STRIDE
    scale = 1 / StridedDictionary(atoms, STRIDE).norm(1e-4, shape=(ATOMS, side, side))
    return StridedISTA(StridedDictionary(scale * atoms, STRIDE), scale * weight, step_size=1.0, shifts=shifts)


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent, on towards its fixed point; at four of the positions, which differ little from all."""
    make = partial(parent, task, shifts=2)
    return [Iterative("cosines at every fourth pixel, ISTA", lambda w: make(weight=w), WEIGHTS, 40, tuning=15)]


def schedule(depth: int, steps: int = 20_000, last: int = 300) -> Schedule:
    """The picture as it lies, a crop at a time; then the mean over all positions, as it is used."""
    options: dict[str, Any] = {"clip": 1.0, "rates": {"threshold": 5e-3, "slope": 5e-3, "remainder": 1e-2}}
    return [
        Stage(steps, rate=2e-3, batch=16, annealing=Cosine(0.01, 1e-2), settings={"shifts": 1.0}, **options),
        Stage(last, rate=1e-4, batch=2, annealing=Cosine(0.05, 1e-1), settings={"shifts": float(STRIDE)}, **options),
    ]


SYSTEM = System(
    name="imaging/denoise",
    title="Convolutional sparse coding for denoising",
    paradigm="objective",
    summary="photographs without noise of any level: twelve steps of convolutional ISTA with a learned dictionary, "
    "averaged over 16 positions of its grid.",
    equations=(
        "z[t+1] = S_theta[t](sigma)(z[t] + E^T (y - D z[t])),    z[0] = 0;    x = mean over positions of C z[T], and "
        "tau^2 / (tau^2 + sigma^2) of what is left\n"
        "D, E, C: 175 atoms of 12 x 12 pixels at every fourth pixel, the same in all layers; theta[t] = t_i[t] sigma "
        "(sigma / 25)^b_i[t], one t and b for each atom and layer: 79,813 numbers.\n"
        "At the start the atoms are cosines, E = mu D, b = 0: ISTA."
    ),
    references=("simon2019rethinking",),
    recipes={
        "noise_levels": Recipe(
            parent=parent,
            tying=TYING,
            depth=DEPTH,
            schedule=schedule,
            range=lambda task: {"noise": Range(0, task.most)},
        )
    },
    baselines={"noise_levels": baselines},
    apply={"noise_levels": denoising(told_levels(MARGIN, TILE))},
)
