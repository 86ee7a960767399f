"""Unrolled ADMM for photographs in the rain: networks in the place of the proxes of background and rain (Ding, Xue,
Wang, Jiang, Fan and Luo 2018; survey, Table I).
"""

from __future__ import annotations

import torch

from unrolling.algorithms.images.deraining import LearnedProx, RainADMM
from unrolling.networks.conv_block import ConvBlock
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging._rain import RANGE, application
from unrolling.tasks.images.rain import Rain
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 5
WIDTH = 24  # channels between the three convolutions of a prox
STEPS = 5_000


def parent(task: Rain) -> RainADMM:
    """ADMM whose proxes are networks that change nothing before training: the photograph is taken for background."""
    nothing = torch.zeros(3, 3)
    return RainADMM(
        LearnedProx(ConvBlock(3, 3, WIDTH, linear=nothing, seed=1)),
        LearnedProx(ConvBlock(3, 3, WIDTH, linear=nothing, seed=2)),
        1.0,
        1.0,
    )


def schedule(depth: int) -> Schedule:
    """All layers at once."""
    weights = {"penalty": 1e-2, "background_weight": 1e-2, "rain_weight": 1e-2}
    return [Stage(STEPS, rate=2e-3, rates=weights, batch=4, annealing=Cosine(0.02, 1e-2), clip=1.0)]


SYSTEM = System(
    name="imaging/derain",
    title="Unrolled ADMM for rain removal",
    summary="photographs without rain, and the rain: ADMM that takes a photograph apart, with learned proxes.",
    equations=(
        "(B, R) = argmin 0.5 |O - B - R|^2 + (r/2) |B - P + u|^2 + (r/2) |R - Q + v|^2\n"
        "P <- B + u - (l_B / r) N_B(B + u),    Q <- max(R + v - (l_R / r) N_R(R + v), 0),    u <- u + B - P,    "
        "v <- v + R - Q;    P = O, Q = u = v = 0 at the start, the answer is P\n"
        "N_B, N_R: three convolutions of 3 x 3, 24 channels between them, PReLU, those of each layer its own, as r, "
        "l_B and l_R are; N = 0 before training."
    ),
    references=("ding2018domain", "jiang2019fastderain"),
    recipes={
        "rain": Recipe(
            parent=parent,
            tying=Tying(untied=("background_prox", "rain_prox", "background_weight", "rain_weight", "penalty")),
            depth=DEPTH,
            schedule=schedule,
            range=RANGE,
        )
    },
    apply={"rain": application("imaging/derain")},
    paradigm="inductive-bias",
)
