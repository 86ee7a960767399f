"""Learned SPARCOM: emitters four times finer than the camera's pixels, from a movie of them blinking
(Dardikman-Yoffe and Eldar 2020; survey, Table I).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from unrolling.algorithms.images.sparcom import Sparcom
from unrolling.operators.radial import RadialConvolution, gaussian_profile, radius_index
from unrolling.prox.percentile import PercentileGate, SoftPositive
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.medical._stacks import application
from unrolling.tasks.medical.microscopy import FACTOR, Microscopy
from unrolling.training.stages import Adam, Cosine, Schedule, Stage

DEPTH = 10
ANALYSIS, INTERACTION = 25, 29  # pixels of the kernels along a side
STEPS = 5_000
ALPHA, STEEPNESS = 0.1, 4.0  # of the published prox
WEIGHT = 0.08  # of the sum of x, for the plain one
TYING = Tying(tied=("analysis.profile", "last", "scale"), untied=("interaction.profile", "prox"))
NO_ONNX = (
    "its model differed from the network by 1.1e-4 of the largest value, where 1e-4 is the most: Fourier transforms "
    "that are rounded otherwise, which steps towards finer pixels enlarge"
)
REFERENCES = ("dardikmanyoffe2020learned", "solomon2019sparcom")


def gate() -> PercentileGate:
    """The published prox."""
    return PercentileGate(ALPHA, STEEPNESS)


def plain() -> SoftPositive:
    """The prox of the classical algorithm."""
    return SoftPositive(WEIGHT)


def parent(make: Callable[[], nn.Module]) -> Callable[[Microscopy], Sparcom]:
    """Proximal gradient steps with the square of the task's point spread function: A has a sum of 1, so that the step
    size is 1 and x is in units of the sum of that square.
    """

    def built(task: Microscopy) -> Sparcom:
        width = FACTOR * task.psf / math.sqrt(2.0)
        kernels: list[RadialConvolution] = []
        for size, deviation in ((ANALYSIS, width), (INTERACTION, width * math.sqrt(2.0))):
            profile = gaussian_profile(size, deviation)
            kernels.append(RadialConvolution(nn.Parameter((profile / profile[radius_index(size)].sum()).float())))
        unit = 2 * math.pi * width**2
        return Sparcom(kernels[0], kernels[1], make(), make(), factor=FACTOR, scale=1 / unit)

    return built


def schedule(depth: int) -> Schedule:
    """All layers at once."""
    return [
        Stage(
            STEPS,
            rate=1e-2,
            rates={"analysis.profile": 1e-3, "interaction.profile": 1e-3},
            batch=8,
            optimizer=Adam(betas=(0.9, 0.99)),
            annealing=Cosine(0.05, 0.01),
            clip=1.0,
        )
    ]


def ranges(task: Microscopy) -> dict[str, Any]:
    """What weights that were trained on a task are good for."""
    return {"psf": Range(round(0.85 * task.psf, 2), round(1.15 * task.psf, 2)), "frames": Range(100, 1000)}


def recipe(make: Callable[[], nn.Module]) -> dict[str, Recipe]:
    """With one of the proxes."""
    return {"microscopy": Recipe(parent=parent(make), tying=TYING, depth=DEPTH, schedule=schedule, range=ranges)}


SYSTEM = System(
    name="medical/sparcom",
    title="Learned SPARCOM",
    summary="images of super-resolution, four times finer than the camera's pixels, from a movie of blinking emitters: "
    "ten steps on the variance of each pixel, with kernels of radial symmetry.",
    equations=(
        "t = prox[k](x),    x <- G - W[k] * t + t,    k = 1 ... 10;    x = G = W_A * g at the start, the answer is s "
        "prox(x)\n"
        "g: the variance over time of each pixel, interpolated to four times as many. prox(x) = max(x, 0) / (1 + "
        "exp(-(tau / theta) (|x| - theta))), theta = q_1 + alpha (q_99 - q_1), q the image's percentiles.\n"
        "W_A has 25 x 25 pixels, W[k] 29 x 29, one number for each distance from the middle: 1,166 in all. At the "
        "start W_A = A^T, W[k] = A^T A, A the convolution with the square of the point spread function, with a sum of "
        "1; alpha = 0.1, tau = 4."
    ),
    references=REFERENCES,
    paradigm="objective",
    recipes=recipe(gate),
    apply={"microscopy": application()},
    not_exported={"microscopy": {"onnx": NO_ONNX}},
    variants=(
        System(
            name="medical/sparcom_plain",
            title="Learned SPARCOM, plain prox",
            summary="as medical/sparcom, with the prox of the classical algorithm, a threshold for each step: before "
            "training it is ISTA on the variances.",
            equations="as medical/sparcom, with prox[k](x) = max(x - theta[k], 0); 1,155 numbers.",
            references=REFERENCES,
            paradigm="objective",
            recipes=recipe(plain),
            apply={"microscopy": application()},
            not_exported={"microscopy": {"onnx": NO_ONNX}},
        ),
    ),
)
