"""What the random fields behind a network have in common: the network, the widths of kernels, how both are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unrolling.networks.fully_convolutional import FullyConvolutional
from unrolling.tasks.vision.segmentation import KERNELS, Segmentation
from unrolling.training.scoring import ScoringLoss
from unrolling.training.stages import Cosine, Schedule, Stage

SMALL, LARGE = 6, 27  # widths of the network for drawn shapes and for photographs
ALONE, TOGETHER = 1500, 300  # steps
BATCH = 8
# Chosen on validation pictures of street scenes, as are w_s and w_b at the start.
KERNELS_OF_SCENES: Mapping[str, Any] = {**KERNELS, "colour_width": 8.0}
WEIGHTS_OF_SCENES = 0.0, 4.0


def front(task: Segmentation) -> FullyConvolutional:
    """The network, small for drawn shapes."""
    return FullyConvolutional(task.classes, LARGE if task.own else SMALL, seed=task.seed)


def joint(depth: int, learned: Sequence[str] = ()) -> Schedule:
    """The network alone, then all of it; what is learned of the field faster."""
    slow = Cosine(0.05, 0.05)
    alone = Stage(ALONE, rate=3e-3, batch=BATCH, parameters=("potentials",), loss=ScoringLoss(), annealing=slow)
    rates = dict.fromkeys(learned, 3e-3)
    return [alone, Stage(TOGETHER, rate=1e-4, rates=rates, batch=BATCH, annealing=slow, clip=1.0)]
