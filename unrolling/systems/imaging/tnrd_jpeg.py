"""TNRD against the artefacts of JPEG: diffusion between projections onto what the file says of its coefficients."""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.images.diffusion import QuantisedBlocks
from unrolling.systems.base import Direct, Recipe, System
from unrolling.systems.imaging import applications
from unrolling.systems.imaging.reaction_diffusion import (
    CHEN,
    PERONA,
    deblockers,
    decoded,
    parent,
    rivals,
    schedule,
    tying_without_reaction,
)
from unrolling.tasks.images.deblocking import Deblocking

STEPS = 1200

SYSTEM = System(
    name="imaging/tnrd_jpeg",
    title="TNRD, JPEG",
    summary="photographs without the blocks and ringing of JPEG compression; what the file says of every coefficient "
    "stays true.",
    equations=(
        "u[t+1] = P(u[t] - sum_i K_i[t]^T phi_i[t](K_i[t] u[t])),    u[0] the decoded image\n"
        "P: of each block of 8 x 8 pixels every cosine coefficient is brought into [q - 1/2, q + 1/2] Q, q and Q from "
        "the file.\nFilters and influence functions as in imaging/tnrd."
    ),
    references=(CHEN, PERONA),
    home=Path(__file__).parent,
    recipes={
        "deblocking": Recipe(
            task=Deblocking,
            parent=lambda task: parent(QuantisedBlocks(), 7, 0.0, step=0.5, contrast=10.0),
            depth=4,
            tying=tying_without_reaction,
            schedule=schedule(STEPS, batch=4),
            classical=deblockers,
            direct=lambda task: [Direct("the decoded image", decoded)],
            rivals=rivals(decoded, STEPS),
            parent_name="Perona-Malik with projection",
            generic_steps=STEPS,
            generic_batch=4,
            vectors=False,
            threads=1,
            atoms=lambda layer: layer.filters.taps().detach(),
            notes=("Images are of 8 bits before and after; the PSNR of each photograph counts equally.",),
            apply=applications.deblocking(),
            options={"quality": 10},
            tag=lambda options: f"q{options['quality']}",
        )
    },
)
