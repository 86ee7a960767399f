"""Learned Primal-Dual, Learned PDHG and Learned Primal: slices from few projections (Adler and Öktem 2018; survey,
section III-B and Table I).
"""

from __future__ import annotations

from typing import Any

import torch

from unrolling.algorithms.splitting.learned_primal_dual import LearnedPDHG, LearnedPrimalDual, least_squares_start
from unrolling.networks.conv_block import ConvBlock
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.medical._tomography import application, ranges
from unrolling.tasks.medical.tomography import Tomography
from unrolling.training.stages import Adam, Cosine, Schedule, Stage

DEPTH, MEMORY, SEED = 10, 5, 0
STEPS, PDHG_STEPS, PRIMAL_STEPS = 9_000, 2_000, 4_000
TYING = Tying(untied=("dual", "primal"))
PDHG_TYING = Tying(tied=("dual", "primal", "primal_step", "dual_step", "extrapolation"))
PRIMAL_TYING = Tying(untied=("primal",))
REFERENCES = ("adler2018learned", "chambolle2011first")


def parent(task: Tomography, *, slopes: Any = "channel") -> LearnedPrimalDual:
    """The primal-dual hybrid gradient method for 0.5 |A f - y|^2, which two or four of 32 hidden channels carry."""
    dual, primal = least_squares_start(MEMORY)
    return LearnedPrimalDual(
        task.radon,
        ConvBlock(MEMORY + 2, MEMORY, slopes=slopes, linear=dual, seed=SEED),
        ConvBlock(MEMORY + 1, MEMORY, slopes=slopes, linear=primal, seed=SEED + 1),
        memory=MEMORY,
    )


def pdhg_parent(task: Tomography) -> LearnedPDHG:
    """The same method, its proxes networks of one channel."""
    step = 0.5
    share = 1 / (1 + step)
    return LearnedPDHG(
        task.radon,
        ConvBlock(2, 1, linear=torch.tensor([[share, -step * share]]), seed=SEED),
        ConvBlock(1, 1, linear=torch.ones(1, 1), seed=SEED + 1),
        residual="none",
        primal_step=step,
        dual_step=step,
    )


def primal_parent(task: Tomography) -> LearnedPrimalDual:
    """Gradient descent on 0.5 |A f - y|^2."""
    _, primal = least_squares_start(MEMORY, extrapolation=0.0)
    block = ConvBlock(MEMORY + 1, MEMORY, linear=primal, seed=SEED + 1)
    return LearnedPrimalDual(task.radon, None, block, memory=MEMORY)


def trained(steps: int) -> Schedule:
    """All layers at once, a slice at a time."""
    return [
        Stage(
            steps,
            rate=1e-3,
            batch=1,
            optimizer=Adam(betas=(0.9, 0.99)),
            annealing=Cosine(0.02, 1e-3),
            clip=1.0,
        )
    ]


SYSTEM = System(
    name="medical/learned_primal_dual",
    title="Learned Primal-Dual",
    paradigm="inductive-bias",
    summary="slices from few, noisy projections: ten steps of the primal-dual hybrid gradient method with networks in "
    "the place of its proxes, and five channels of memory on both sides.",
    equations=(
        "h <- h + Gamma[t]([h, A f_1, y]),    f <- f + Lambda[t]([f, A^T h_0]),    t = 1 ... 10;    h = 0, f = 0 at "
        "the start, the answer is f_0\n"
        "f and h have five channels, A and y are divided by |A|. Gamma, Lambda: three convolutions of 3 x 3, 32 "
        "channels between them, PReLU; 25,322 numbers a step.\n"
        "At the start Gamma_0 = (-s h_0 + s A f_1 - s y) / (1 + s), Lambda_0 = -r A^T h_0, Lambda_1 = f_0 - f_1 - 2 r "
        "A^T h_0, the others 0: the primal-dual hybrid gradient method for 0.5 |A f - y|^2, s = 1, r = 0.99."
    ),
    references=REFERENCES,
    recipes={
        "tomography": Recipe(
            parent=parent,
            tying=TYING,
            depth=DEPTH,
            schedule=lambda depth: trained(STEPS),
            range=ranges,
        )
    },
    apply={"tomography": application(parent, TYING)},
    variants=(
        System(
            name="medical/learned_pdhg",
            title="Learned PDHG",
            paradigm="inductive-bias",
            summary="as medical/learned_primal_dual, but one channel on each side, and the same two networks in all "
            "steps: the method itself with learned proxes.",
            equations=(
                "h <- Gamma([h + s A f', y]),    f+ <- Lambda(f - r A^T h),    f' <- f+ + theta (f+ - f)\n"
                "Gamma, Lambda, s, r and theta are those of all ten steps; at the start Gamma = (u - s y) / (1 + s), "
                "Lambda = identity, s = r = 0.5, theta = 1."
            ),
            references=REFERENCES,
            recipes={
                "tomography": Recipe(
                    parent=pdhg_parent,
                    tying=PDHG_TYING,
                    depth=DEPTH,
                    schedule=lambda depth: trained(PDHG_STEPS),
                    range=ranges,
                )
            },
            apply={"tomography": application(pdhg_parent, PDHG_TYING)},
        ),
        System(
            name="medical/learned_primal",
            title="Learned Primal",
            paradigm="inductive-bias",
            summary="as medical/learned_primal_dual, without networks on sinograms: learned gradient descent with a "
            "memory of five channels.",
            equations=(
                "f <- f + Lambda[t]([f, A^T (A f_1 - y)]),    t = 1 ... 10;    at the start Lambda_0 = -r A^T (A f_1 "
                "- y): gradient descent."
            ),
            references=REFERENCES,
            recipes={
                "tomography": Recipe(
                    parent=primal_parent,
                    tying=PRIMAL_TYING,
                    depth=DEPTH,
                    schedule=lambda depth: trained(PRIMAL_STEPS),
                    range=ranges,
                )
            },
            apply={"tomography": application(primal_parent, PRIMAL_TYING)},
        ),
    ),
)
