"""Denoising by convolutional sparse coding with a stride: one set of weights for noise of any level (Simon and Elad
2019; survey, section III-A).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from unrolling.algorithms.sparse.strided import StridedISTA
from unrolling.systems.base import Recipe, System
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._coding import DEPTH, EQUATIONS, TYING, cosines, schedule
from unrolling.systems.imaging._denoising import denoising, told_levels
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.training.optimizers import Adam

WEIGHT, WEIGHTS = 1.8, (1.2, 1.8, 2.4)  # lambda, chosen on validation photographs for as many steps; candidates
MARGIN, TILE = 48, 256  # pixels: of pieces of large pictures


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent, on towards its fixed point; at four of the positions, which differ little from all."""
    make = partial(cosines, StridedISTA, shifts=2)
    return [Iterative("cosines at every fourth pixel, ISTA", lambda w: make(weight=w), WEIGHTS, 40, tuning=15)]


SYSTEM = System(
    name="imaging/denoise",
    title="Convolutional sparse coding for denoising",
    paradigm="objective",
    summary="photographs without noise of any level: twelve steps of convolutional ISTA with a learned dictionary, "
    "averaged over 16 positions of its grid.",
    equations=EQUATIONS.format(level="l = sigma, the standard deviation of the noise; 79,813 numbers."),
    references=("simon2019rethinking",),
    recipes={
        "noise_levels": Recipe(
            parent=lambda task: cosines(StridedISTA, WEIGHT),
            tying=TYING,
            depth=DEPTH,
            schedule=schedule(20_000, optimizer=Adam(), rate=2e-3),
            range=lambda task: {"noise": Range(0, task.most)},
        )
    },
    baselines={"noise_levels": baselines},
    apply={"noise_levels": denoising(told_levels(MARGIN, TILE))},
)
