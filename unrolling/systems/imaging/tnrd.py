"""TNRD: nonlinear diffusion whose filters and influence functions are learned, step by step (Chen and Pock 2017;
survey, section V-C).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unrolling.algorithms.images.diffusion import Diffusion
from unrolling.algorithms.splitting.data_terms import Linear
from unrolling.operators import Identity
from unrolling.systems.base import Recipe, System
from unrolling.systems.imaging import applications
from unrolling.systems.imaging.reaction_diffusion import (
    CHEN,
    PERONA,
    denoisers,
    directs,
    parent,
    rivals,
    schedule,
    tying,
)
from unrolling.tasks.images.denoising import Denoising

WEIGHT = 0.05  # of the data in the parent, chosen as its influence function was
EQUATIONS = (
    "u[t+1] = u[t] - sum_i K_i[t]^T phi_i[t](K_i[t] u[t]) - lambda[t] (u[t] - f),    u[0] = f\n"
    "phi_i(z) = sum_j w_ij exp(-(z - mu_j)^2 / (2 gamma^2)), 63 centres from -310 to 310 (grey levels); k_i = sum_j "
    "c_ij B_j / |c_i|, B the cosine patterns\n"
    "without the constant one: zero mean and unit norm, whatever c. Borders are mirrored. At the start k_i = B_i, "
    "phi(z) = (1.25 / m^2) z / (1 + (z / 20)^2)."
)


def denoising_parent(task: Any, size: int = 5) -> Diffusion:
    """Descent on a field of experts with the noisy image as data."""
    return parent(Linear(Identity()), size, WEIGHT)


def recipe(size: int, steps: int) -> Recipe:
    """For filters of so many pixels along a side."""
    return Recipe(
        task=Denoising,
        parent=lambda task: denoising_parent(task, size),
        depth=5,
        tying=tying,
        schedule=schedule(steps, batch=4),
        classical=denoisers,
        direct=directs,
        rivals=rivals(lambda data: data, steps),
        parent_name="Perona-Malik with reaction",
        generic_steps=steps,
        generic_batch=8,
        vectors=False,
        threads=1,
        atoms=lambda layer: layer.filters.taps().detach(),
        notes=(
            "The PSNR of each photograph counts equally; noise is neither clipped nor rounded, estimates are "
            "clipped to [0, 1].",
        ),
        apply=applications.denoising(),
        options={"sigma": 25.0},
        tag=lambda options: f"sigma{options['sigma']:g}",
    )


SYSTEM = System(
    name="imaging/tnrd",
    title="TNRD",
    summary="photographs without noise: five steps of nonlinear diffusion, each with 24 filters of 5 x 5 pixels and "
    "influence functions of its own.",
    equations=EQUATIONS,
    references=(CHEN, PERONA),
    home=Path(__file__).parent,
    recipes={"denoising": recipe(5, 4_500)},
)
