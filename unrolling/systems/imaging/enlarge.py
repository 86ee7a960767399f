"""Enlarging by two, three or four with one set of weights: iterative back-projection with a learned prior."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unrolling.algorithms.images.multiscale_restoration import FACTORS, MultiscaleEnlarging, SmallImage
from unrolling.files import pictures as pixels
from unrolling.networks.multiscale import MultiscaleResidual
from unrolling.systems.base import Recipe, System
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._enlarging import TRAINED, super_resolution
from unrolling.systems.imaging._multiscale import DEPTH, EQUATIONS, REFERENCES, TILE, schedule, tying
from unrolling.systems.options import Option
from unrolling.tasks.baselines import Baseline, Iterative

CHANNELS, BLOCKS = (32, 48), (3, 1)
MARGIN = 24  # pixels of the small picture: of its pieces
SLOPE = 0.1  # with rectifiers that give zero for negative numbers, three blocks of seven died in training
FACTOR = Option("factor", int, "by how much the picture becomes larger: 2, 3 or 4", default="2")


def _enlarger(network: Any, task: Any, luma: Tensor, factor: int) -> Tensor:
    def run(piece: Tensor) -> Tensor:
        return network(SmallImage(piece, factor))

    # A cell is a pixel of the small picture; the lower scale takes them in pairs.
    return pixels.in_tiles(run, luma.unsqueeze(0), margin=MARGIN, tile=TILE // factor, align=2, scale=factor)


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent: iterative back-projection."""
    return [Iterative("iterative back-projection", lambda _: MultiscaleEnlarging(_prior()), (0.0,), 10, tuning=10)]


def _prior() -> MultiscaleResidual:
    return MultiscaleResidual(channels=CHANNELS, blocks=BLOCKS, sides=FACTORS, slope=SLOPE)


SYSTEM = System(
    name="imaging/enlarge",
    title="Multiscale enlarging",
    paradigm="inductive-bias",
    summary="photographs of two, three or four times the size, with one set of weights: iterative back-projection in "
    "turn with small networks that work at the size of the small picture, averaged over its mirror images.",
    equations=EQUATIONS.format(
        often="twice",
        side="s x s",
        wide=CHANNELS[0],
        deep=CHANNELS[1],
        known="y = U f, the bicubic enlargement of f by s;    H: twice x <- x + c_k U (f - A x), A the antialiased "
        "bicubic reduction;    l = 2.5 s / 255. Cells of each factor have a first and a last convolution of their "
        "own; rectifiers have a slope of 0.1 for negative numbers.",
    ),
    references=(*REFERENCES, "irani1991improving"),
    recipes={
        "enlarging": Recipe(
            parent=lambda task: MultiscaleEnlarging(_prior()),
            tying=tying("feedback"),
            depth=DEPTH,
            schedule=schedule(7_000, rate=7e-3, rates={"feedback": 1e-2}),
            range={**TRAINED, "enlarged": Range(FACTORS[0], FACTORS[-1])},
        )
    },
    baselines={"enlarging": baselines},
    apply={"enlarging": super_resolution(_enlarger, (FACTOR,))},
)
