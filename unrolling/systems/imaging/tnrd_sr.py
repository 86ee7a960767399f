"""TNRD for super-resolution: diffusion that stays true to the small image."""

from __future__ import annotations

from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.systems.base import Recipe, System
from unrolling.systems.imaging._common import EACH, parent, schedule
from unrolling.systems.imaging._enlarging import TRAINED, super_resolution

SYSTEM = System(
    name="imaging/tnrd_sr",
    title="TNRD, super-resolution",
    paradigm="objective",
    summary="photographs of two to four times the size: diffusion from the bicubic enlargement, drawn back to the "
    "small image in every step.",
    equations=(
        "u[t+1] = u[t] - sum_i K_i[t]^T phi_i[t](K_i[t] u[t]) - lambda[t] A^T (A u[t] - f),    u[0] the bicubic "
        "enlargement of f\nA: antialiased bicubic reduction. Filters and influence functions as in imaging/tnrd."
    ),
    references=("chen2017trainable", "perona1990scale"),
    recipes={
        "super_resolution": Recipe(
            parent=lambda task: parent(LeastSquares(task.operator), 7, 1.0, step=0.15, contrast=10.0),
            tying=EACH,
            depth=5,
            schedule=schedule(6000, batch=4),
            range=TRAINED,
        )
    },
    apply={"super_resolution": super_resolution()},
)
