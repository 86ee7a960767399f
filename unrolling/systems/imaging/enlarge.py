"""Enlarging by two, three or four with one set of weights: convolutional sparse coding with a stride of the bicubic
enlargement, drawn back to the small picture.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from unrolling.algorithms.images.strided_restoration import FACTORS, SmallImage, StridedEnlarging
from unrolling.files import pictures as pixels
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._coding import DEPTH, EACH, EQUATIONS, SHARED, STRIDE, cosines, schedule
from unrolling.systems.imaging._enlarging import TRAINED, super_resolution
from unrolling.systems.options import Option
from unrolling.tasks.baselines import Baseline, Iterative

WEIGHT, WEIGHTS = 0.1, (0.05, 0.1, 0.3)
FACTOR = Option("factor", int, "by how much the picture becomes larger: 2, 3 or 4", default="2")
MARGIN, TILE = 48, 256  # pixels of the large picture


def _enlarger(network: Any, task: Any, luma: Tensor, factor: int) -> Tensor:
    def run(piece: Tensor) -> Tensor:
        return network(SmallImage(piece, factor))

    # Tiles begin at multiples of the grid in the large picture, whatever the factor.
    margin = -(-MARGIN // factor)
    return pixels.in_tiles(run, luma.unsqueeze(0), margin=margin, tile=TILE // factor, align=STRIDE, scale=factor)


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent, on towards its fixed point; at four of the positions, which differ little from all."""
    make = partial(cosines, StridedEnlarging, shifts=2)
    return [Iterative("cosines at every fourth pixel, ISTA", lambda w: make(weight=w), WEIGHTS, 40, tuning=15)]


SYSTEM = System(
    name="imaging/enlarge",
    title="Convolutional sparse coding for enlarging",
    paradigm="objective",
    summary="photographs of two, three or four times the size, with one set of weights: twelve steps of convolutional "
    "ISTA with a learned dictionary on the bicubic enlargement, drawn back to the small picture.",
    equations=EQUATIONS.format(
        level="y the bicubic enlargement U f, l = 2.5 times the factor; at last twice x <- x + c U (f - A x), A the "
        "antialiased bicubic reduction. 79,814 numbers."
    ),
    references=("simon2019rethinking", "irani1991improving"),
    recipes={
        "enlarging": Recipe(
            parent=lambda task: cosines(StridedEnlarging, WEIGHT),
            tying=Tying(tied=(*SHARED, "feedback"), untied=EACH),
            depth=DEPTH,
            schedule=schedule(12_000),
            range={**TRAINED, "enlarged": Range(FACTORS[0], FACTORS[-1])},
        )
    },
    baselines={"enlarging": baselines},
    apply={"enlarging": super_resolution(_enlarger, (FACTOR,))},
)
