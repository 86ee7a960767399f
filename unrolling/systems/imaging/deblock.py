"""JPEG artefacts of any quality by convolutional sparse coding with a stride; what the file says of every coefficient
stays true.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from unrolling.algorithms.images.strided_restoration import StridedDeblocking
from unrolling.systems.base import Recipe, System
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._coding import DEPTH, EQUATIONS, TYING, cosines, schedule
from unrolling.systems.imaging._files import JPEGWay, deblocking
from unrolling.tasks.baselines import Baseline, Iterative

WEIGHT, WEIGHTS = 0.6, (0.3, 0.6, 1.2)
MARGIN, TILE = 48, 256  # pixels: of pieces of large pictures
# The part of the network's change that is taken, by quality: at high ones a few photographs of those that are held out
# from training would lose thousandths of a dB by all of it. Above, the file comes back.
PARTS = ((90.0, 1.0), (95.0, 0.5))


def _part(quality: float) -> float:
    """All of the change up to quality 90, none above 95."""
    if quality > PARTS[-1][0]:
        return 0.0
    return float(np.interp(quality, [x for x, _ in PARTS], [part for _, part in PARTS]))


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent, on towards its fixed point; at four of the positions, which differ little from all."""
    make = partial(cosines, StridedDeblocking, shifts=2)
    return [Iterative("cosines at every fourth pixel, ISTA", lambda w: make(weight=w), WEIGHTS, 40, tuning=15)]


SYSTEM = System(
    name="imaging/deblock",
    title="Convolutional sparse coding against JPEG",
    paradigm="objective",
    summary="photographs without the blocks and ringing of JPEG, whatever the quality: twelve steps of convolutional "
    "ISTA with a learned dictionary; what the file says of every coefficient stays true.",
    equations=EQUATIONS.format(
        level="y the decoded picture, l the root mean square of its nine lowest quantisation steps over 12^(1/2); at "
        "last each cosine coefficient is brought into [q - 1/2, q + 1/2] Q. 79,813 numbers."
    ),
    references=("simon2019rethinking", "chen2017trainable"),
    recipes={
        "deblocking_qualities": Recipe(
            parent=lambda task: cosines(StridedDeblocking, WEIGHT),
            tying=TYING,
            depth=DEPTH,
            schedule=schedule(12_000),
            range=lambda task: {"quality": Range(task.lowest, task.highest)},
        )
    },
    baselines={"deblocking_qualities": baselines},
    apply={
        "deblocking_qualities": deblocking(
            JPEGWay(_part, lambda network: MARGIN, lambda task: f"{task.lowest} to {task.highest}", TILE)
        )
    },
)
