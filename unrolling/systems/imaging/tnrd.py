"""TNRD: nonlinear diffusion whose filters and influence functions are learned, step by step (Chen and Pock 2017;
survey, section V-C).
"""

from __future__ import annotations

from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.operators import Identity
from unrolling.systems.base import Recipe, System
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._common import EACH, parent, schedule
from unrolling.systems.imaging._denoising import denoising

WEIGHT = 0.05  # of the data in the parent, chosen as its influence function was
REFERENCES = ("chen2017trainable", "perona1990scale")
EQUATIONS = (
    "u[t+1] = u[t] - sum_i K_i[t]^T phi_i[t](K_i[t] u[t]) - lambda[t] (u[t] - f),    u[0] = f\n"
    "phi_i(z) = sum_j w_ij exp(-(z - mu_j)^2 / (2 gamma^2)), 63 centres from -310 to 310 (grey levels); k_i = sum_j "
    "c_ij B_j / |c_i|, B the cosine patterns\n"
    "without the constant one: zero mean and unit norm, whatever c. Borders are mirrored. At the start k_i = B_i, "
    "phi(z) = (1.25 / m^2) z / (1 + (z / 20)^2)."
)


def recipe(size: int, steps: int) -> Recipe:
    """Descent on a field of experts with the noisy image as data, filters of so many pixels along a side."""
    return Recipe(
        parent=lambda task: parent(LeastSquares(Identity()), size, WEIGHT),
        tying=EACH,
        depth=5,
        schedule=schedule(steps, batch=4),
        # Scaling the picture to the weights' noise is exact; where it was measured to help:
        # python -m benchmarks.found_conditions
        range=lambda task: {"noise": Range(task.sigma / 12.5, 3 * task.sigma)},
    )


SYSTEM = System(
    name="imaging/tnrd",
    title="TNRD",
    paradigm="objective",
    summary="photographs without noise: five steps of nonlinear diffusion, each with 24 filters of 5 x 5 pixels and "
    "influence functions of its own.",
    equations=EQUATIONS,
    references=REFERENCES,
    recipes={"denoising": recipe(5, 4_500)},
    apply={"denoising": denoising()},
    variants=(
        System(
            name="imaging/tnrd_7x7",
            title="TNRD, 7 x 7",
            paradigm="objective",
            summary="photographs without noise: as imaging/tnrd, with 48 filters of 7 x 7 pixels in every step; about "
            "three times the work.",
            equations=EQUATIONS,
            references=REFERENCES,
            recipes={"denoising": recipe(7, 20_000)},
            apply={"denoising": denoising()},
        ),
    ),
)
