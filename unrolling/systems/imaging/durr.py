"""DURR: a small restoration unit that is applied until a policy says that it is enough (Zhang, Lu, Liu and Dong 2019;
survey, Table I).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from unrolling.algorithms.images.diffusion import QuantisedBlocks
from unrolling.algorithms.images.halting import HaltingRestoration
from unrolling.algorithms.splitting.data_terms import DataTerm, LeastSquares
from unrolling.networks.restoration_unit import RestorationUnit, StoppingPolicy
from unrolling.operators import Identity
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._halting import application
from unrolling.training.halting_losses import DepthByLevel, ExpectedReward, TemporalDifference
from unrolling.training.losses import Loss
from unrolling.training.optimizers import Muon
from unrolling.training.stages import Cosine, Power, Schedule, Stage

DEPTH = 12  # steps at most
LEVEL, TRAINED = 6.0, 8  # grey levels that a step is to take away; steps at most in training, for noise of 50
JPEG_LEVEL = 1.3  # the same of the error of JPEG, which is 10 at a quality of 10 and 6 at 40
ENTROPY = 0.02  # dB, of the lots that soft halting draws
AFTER = 0.5  # what the step after the last one that is needed counts, when the unit is trained
DECIBELS = 5.0  # of the values of Q-learning
UNIT, POLICY = 3_000, (2_400, 2_400)  # training steps


def restorer(data_term: DataTerm, scale: float) -> HaltingRestoration:
    """A unit that changes nothing, and a policy that always goes on."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HaltingRestoration(data_term, RestorationUnit(), StoppingPolicy(scale=scale))


def schedule(loss: Loss, level: float) -> Callable[[int], Schedule]:
    """The unit, with more steps where there is more noise; then the policy, on the steps that the unit makes."""

    def made(depth: int) -> Schedule:
        first = min(TRAINED, depth)
        options: dict[str, Any] = {"supervision": Power(0), "clip": 1.0, "annealing": Cosine(0.03, 0.01)}
        return [
            Stage(
                UNIT,
                rate=5e-3,
                batch=8,
                depth=min(first + 1, depth),
                parameters=("unit",),
                loss=DepthByLevel(level, first, AFTER),
                optimizer=Muon(kernels=True),
                **options,
            ),
            *(
                Stage(steps, rate=rate, batch=8, parameters=("policy",), loss=loss, **options)
                for steps, rate in zip(POLICY, (5e-3, 2.5e-3), strict=True)
            ),
        ]

    return made


def recipes(loss: Loss, scale: float) -> dict[str, Recipe]:
    """On noise of any strength, and on JPEG of any quality, where every step ends with the projection onto what the
    file says.
    """
    tying = Tying(tied=("unit", "policy"))
    return {
        "blind_denoising": Recipe(
            parent=lambda task: restorer(LeastSquares(Identity()), scale),
            tying=tying,
            depth=DEPTH,
            schedule=schedule(loss, LEVEL),
            range=lambda task: {"noise": Range(*task.levels)},
        ),
        "blind_deblocking": Recipe(
            parent=lambda task: restorer(QuantisedBlocks(), scale),
            tying=tying,
            depth=DEPTH,
            schedule=schedule(loss, JPEG_LEVEL),
            range=lambda task: {"quality": Range(task.least_quality, task.most_quality)},
        ),
    }


EQUATIONS = (
    "x[t+1] = P(x[t] + f(x[t])),    x[0] = y,    until q[t] <= 0,    (q[t], h[t+1]) = policy(x[t], h[t]),    t < 12\n"
    "f: six convolutions of 3 x 3 with 32 channels and ReLU on pictures of half the size, the same in all steps; "
    "the policy: two convolutions, means over the picture and an LSTM cell.\n"
    "P: of JPEG files, the projection onto what the file says; else nothing. f is trained to be done after as many "
    "steps as there is error to take away, 6 of 255 each (1.3 of JPEG); then the policy "
)
REFERENCES = ("zhang2019dynamically", "perona1990scale")

SYSTEM = System(
    name="imaging/durr",
    title="DURR",
    paradigm="inductive-bias",
    summary="photographs without noise of a strength that nobody says: one small unit applied as often as each "
    "picture needs, by a policy that says when to stop.",
    equations=EQUATIONS + "to maximise the expected PSNR at the stop, going on with chance sigmoid(q).",
    references=REFERENCES,
    recipes=recipes(ExpectedReward(ENTROPY), 1.0),
    apply={"blind_denoising": application()},
    variants=(
        System(
            name="imaging/durr_q",
            title="DURR, Q-learning",
            paradigm="inductive-bias",
            summary="photographs without noise of a strength that nobody says: as imaging/durr, its policy learned as "
            "published, by Q-learning.",
            equations=EQUATIONS + "by Q-learning: q[t] = gain of PSNR in step t + max(q[t+1], 0).",
            references=REFERENCES,
            recipes=recipes(TemporalDifference(most=DEPTH), DECIBELS),
            apply={"blind_denoising": application()},
        ),
    ),
)
