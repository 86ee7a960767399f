"""TNRD for super-resolution: diffusion that stays true to the small image."""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.splitting.data_terms import Linear
from unrolling.systems.base import Direct, Recipe, System
from unrolling.systems.imaging import applications
from unrolling.systems.imaging.reaction_diffusion import (
    CHEN,
    PERONA,
    enlarged,
    enlargers,
    parent,
    rivals,
    schedule,
    tying,
)
from unrolling.tasks.images.super_resolution import SuperResolution

STEPS = 6000

SYSTEM = System(
    name="imaging/tnrd_sr",
    title="TNRD, super-resolution",
    summary="photographs of two to four times the size: diffusion from the bicubic enlargement, drawn back to the "
    "small image in every step.",
    equations=(
        "u[t+1] = u[t] - sum_i K_i[t]^T phi_i[t](K_i[t] u[t]) - lambda[t] A^T (A u[t] - f),    u[0] the bicubic "
        "enlargement of f\nA: antialiased bicubic reduction. Filters and influence functions as in imaging/tnrd."
    ),
    references=(CHEN, PERONA),
    home=Path(__file__).parent,
    recipes={
        "super_resolution": Recipe(
            task=SuperResolution,
            parent=lambda task: parent(Linear(task.operator), 7, 1.0, step=0.15, contrast=10.0),
            depth=5,
            tying=tying,
            schedule=schedule(STEPS, batch=4),
            classical=enlargers,
            direct=lambda task: [Direct("bicubic interpolation", enlarged(task))],
            rivals=lambda task, parameters: rivals(enlarged(task), STEPS)(task, parameters),
            parent_name="Perona-Malik with reaction",
            generic_steps=STEPS,
            generic_batch=4,
            vectors=False,
            threads=1,
            atoms=lambda layer: layer.filters.taps().detach(),
            notes=("A border as wide as the factor is left out; the small images are rounded to 8 bits.",),
            apply=applications.super_resolution(),
            options={"factor": 3},
            tag=lambda options: f"x{options['factor']}",
        )
    },
)
