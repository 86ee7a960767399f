"""What the systems with a learned multiscale prior share: their networks, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unrolling.algorithms.images.multiscale_restoration import MultiscaleRestoration
from unrolling.core import Unrolled, unroll
from unrolling.systems.base import Tying
from unrolling.training.optimizers import Muon
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 2
PASSES = 2.0  # of the last layer, where it has several
MARGIN, TILE = 72, 384  # pixels: of pieces of large pictures, the margin as far as three steps see
AGAIN = 0.3  # of the first rate, where a schedule begins again
REFERENCES = ("diamond2017unrolled", "ronneberger2015u", "mohan2020robust")
OFTEN = "three times, the last two with the same R_k"
EQUATIONS = (
    "x <- H(x + R_k(x, y, l)),    x = y at the start, {often}\n"
    "R_k: cells of {side} pixels of x and y, and l, to {wide} channels; residual blocks of two convolutions of 3 x 3 "
    "at that scale, at half of it with {deep} channels, and at that scale again; no biases, R_k = 0 at the start.\n"
    "{known}"
)


def tying(*each: str) -> Tying:
    """Every layer has a network of its own."""
    return Tying(untied=("prior", *each))


def schedule(
    *steps: int, again: Sequence[int] = (), rate: float = 1e-2, batch: int = 16, **options: Any
) -> Callable[[int], Schedule]:
    """Stages by Muon on pictures as they lie: steps are a part of a kernel's norm and alike in all directions.

    The rate falls to nearly nothing in each, and begins the later ones at a part of the first (Loshchilov and Hutter
    2017, arXiv:1608.03983). At a rate of 2e-2 a training of the denoiser ran away after a thousand steps; so did one
    that began again at 1e-2.

    Args:
        steps: of each stage in which a layer takes one step.
        again: of later stages, in which layers take as many as they will.
        rate: of the first.
        batch: crops of a step.
        options: of all stages.
    """

    def made(depth: int) -> Schedule:
        common: dict[str, Any] = {"clip": 1.0, "optimizer": Muon(kernels=True), "batch": batch, **options}
        rates = [rate, *(AGAIN * rate for _ in (*steps[1:], *again))]
        settings = [{"views": 1.0, "passes": 1.0} for _ in steps] + [{"views": 1.0} for _ in again]
        return [
            Stage(each, rate=own, annealing=Cosine(0.01, 1e-2), settings=seen, **common)
            for each, own, seen in zip((*steps, *again), rates, settings, strict=True)
        ]

    return made


def build(parent: Callable[[Any], MultiscaleRestoration], *untied: str) -> Callable[[Any, int], Unrolled]:
    """Networks whose last layer takes its step twice."""

    def made(task: Any, depth: int) -> Unrolled:
        network = unroll(parent(task), depth, untied=("prior", *untied))
        last: Any = network.layers[-1]
        last.passes = PASSES
        return network

    return made
