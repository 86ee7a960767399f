"""Denoising with a learned multiscale prior: one set of weights for noise of any level."""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.images.multiscale_restoration import MultiscaleDenoising
from unrolling.networks.multiscale import MultiscaleResidual
from unrolling.systems.base import Recipe, System
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._denoising import denoising, told_levels
from unrolling.systems.imaging._multiscale import (
    DEPTH,
    EQUATIONS,
    MARGIN,
    OFTEN,
    REFERENCES,
    TILE,
    build,
    schedule,
    tying,
)
from unrolling.tasks.baselines import Baseline, Iterative


def parent(task: Any) -> MultiscaleDenoising:
    """Steps on the data alone, which without a prior give the picture back."""
    return MultiscaleDenoising(MultiscaleResidual())


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent."""
    return [Iterative("steps on the data alone", lambda _: parent(task), (0.0,), DEPTH)]


SYSTEM = System(
    name="imaging/denoise",
    title="Multiscale denoiser",
    paradigm="inductive-bias",
    summary="photographs without noise of any level: three steps of half-quadratic splitting, whose proximal "
    "operators are small networks on two scales, averaged over the picture and its mirror images.",
    equations=EQUATIONS.format(
        often=OFTEN,
        side="2 x 2",
        wide=24,
        deep=32,
        known="H(x) = (tau_k^2 y + sigma^2 x) / (tau_k^2 + sigma^2);    l = sigma, the standard deviation of the "
        "noise; 96,242 numbers.",
    ),
    references=REFERENCES,
    recipes={
        "noise_levels": Recipe(
            parent=parent,
            build=build(parent, "remainder"),
            tying=tying("remainder"),
            depth=DEPTH,
            schedule=schedule(14_000, 16_000, again=(10_000,), rates={"remainder": 1e-2}),
            range=lambda task: {"noise": Range(0, task.most)},
        )
    },
    baselines={"noise_levels": baselines},
    apply={"noise_levels": denoising(told_levels(MARGIN, TILE))},
)
