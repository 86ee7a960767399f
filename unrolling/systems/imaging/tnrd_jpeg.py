"""TNRD against the artefacts of JPEG: diffusion between projections onto what the file says of its coefficients."""

from __future__ import annotations

from unrolling.algorithms.images.diffusion import QuantisedBlocks
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging import _files
from unrolling.systems.imaging._common import parent, schedule

SYSTEM = System(
    name="imaging/tnrd_jpeg",
    title="TNRD, JPEG",
    paradigm="objective",
    summary="photographs without the blocks and ringing of JPEG compression; what the file says of every coefficient "
    "stays true.",
    equations=(
        "u[t+1] = P(u[t] - sum_i K_i[t]^T phi_i[t](K_i[t] u[t])),    u[0] the decoded image\n"
        "P: of each block of 8 x 8 pixels every cosine coefficient is brought into [q - 1/2, q + 1/2] Q, q and Q from "
        "the file.\nFilters and influence functions as in imaging/tnrd."
    ),
    references=("chen2017trainable", "perona1990scale"),
    recipes={
        "deblocking": Recipe(
            parent=lambda task: parent(QuantisedBlocks(), 7, 0.0, step=0.5, contrast=10.0),
            tying=Tying(untied=("filters", "influence")),  # where the data enter by a projection there is no weight
            depth=4,
            schedule=schedule(1200, batch=4),
            range={"quality": _files.HELPED},
        )
    },
    apply={"deblocking": _files.deblocking()},
)
