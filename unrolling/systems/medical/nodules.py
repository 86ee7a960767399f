"""Detection of nodules in the lungs, straight from a sinogram of few views: Learned Primal-Dual and a detector, trained
apart and then together (Wu et al. 2018; survey, Table I).
"""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.images.blobs import Detected
from unrolling.algorithms.splitting.learned_primal_dual import LearnedPrimalDual, least_squares_start
from unrolling.networks.conv_block import ConvBlock
from unrolling.networks.detector import PixelDetector
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.medical._findings import RANGE, application
from unrolling.tasks.medical.findings import DetectionLoss
from unrolling.tasks.medical.nodules import Nodules
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, MEMORY = 5, 5
WIDTH = 16  # channels of the networks of the reconstruction
TYING = Tying(tied=("detector",), untied=("reconstruction",))
TOGETHER = DetectionLoss(1.0, 1.0)


def parent(task: Nodules) -> Detected:
    """PDHG for least squares, whose proxes are networks that learn, and a detector of 16 channels."""
    dual, primal = least_squares_start(MEMORY)
    reconstruction = LearnedPrimalDual(
        task.radon,
        ConvBlock(MEMORY + 2, MEMORY, WIDTH, linear=dual, seed=1),
        ConvBlock(MEMORY + 1, MEMORY, WIDTH, linear=primal, seed=2),
        memory=MEMORY,
    )
    return Detected(reconstruction, PixelDetector())


def schedule(depth: int) -> Schedule:
    """The reconstruction on the images, the detector on its reconstructions, then both on images and nodules."""
    options: dict[str, Any] = {"clip": 1.0, "annealing": Cosine(0.05, 1e-2)}
    return [
        Stage(1200, rate=2e-3, batch=2, parameters=("reconstruction",), loss=DetectionLoss(1, 0), **options),
        Stage(1000, rate=4e-3, batch=4, parameters=("detector",), loss=DetectionLoss(0, 1), **options),
        Stage(800, rate=1e-3, batch=2, loss=TOGETHER, **options),
    ]


SYSTEM = System(
    name="medical/nodules",
    title="Nodules, end to end",
    paradigm="inductive-bias",
    summary="simulated nodules in the lungs, found in a sinogram of few views: Learned Primal-Dual and a detector, "
    "trained together.",
    equations=(
        "h <- h + Gamma[i]([h, A f_1, y]),    f <- f + Lambda[i]([f, A^T h_0]),    i = 1 ... 5, f = h = 0 at the "
        "start, A divided by |A|; Gamma and Lambda begin as the steps of PDHG for least squares\n"
        "image x = f_0,    scores s = D(x), D six convolutions with ReLU\n"
        "loss w_r 100 |x - x*|^2 / n + w_d F(s, nodules), F the focal loss of peaks; (w_r, w_d) = (1, 0), then (0, 1) "
        "for D alone, then both"
    ),
    references=("wu2018end", "adler2018learned"),
    recipes={
        "nodules": Recipe(
            parent=parent,
            tying=TYING,
            depth=DEPTH,
            schedule=schedule,
            range=RANGE,
        )
    },
    apply={"nodules": application(parent, TYING)},
)
