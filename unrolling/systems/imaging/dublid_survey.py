"""DUBLID as the survey writes it: (10) and (11), with filters of their own in every layer and a ridge in the kernel's
step.
"""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.images.blind_deblurring import BlindDeblurring
from unrolling.operators.filters import zero_mean_atoms
from unrolling.systems.base import System, Tying
from unrolling.systems.imaging.blind import LI, recipe
from unrolling.tasks.images.deblurring import Deblurring
from unrolling.training.stages import Cosine, Schedule, Stage

STEPS = 2000
SIZE = 7  # of the filters


def parent(task: Deblurring) -> BlindDeblurring:
    """Half-quadratic splitting with the sixteen lowest zero-mean patterns of the cosine transform."""
    atoms = zero_mean_atoms(SIZE).reshape(-1, SIZE, SIZE)
    frequency = sorted(range(len(atoms)), key=lambda i: ((i + 1) // SIZE) ** 2 + ((i + 1) % SIZE) ** 2)
    filters = atoms[frequency[:16]].unsqueeze(1)
    return BlindDeblurring(filters.repeat(1, 3, 1, 1) / 3 if task.colour else filters, weight=0.003, retrieval=0.05)


def schedule(depth: int) -> Schedule:
    """All layers at once, on the image and the kernel."""
    return [
        Stage(
            STEPS,
            rate=1e-3,
            rates={"weight": 1e-2, "coupling": 1e-2, "retrieval": 1e-2},
            batch=2,
            annealing=Cosine(0.02, 1e-2),
            clip=1.0,
        )
    ]


SYSTEM = System(
    name="imaging/dublid_survey",
    title="DUBLID, the survey's equations",
    summary="as imaging/dublid, but exactly (10) and (11) of the survey: filters of each layer's own, a ridge in the "
    "kernel's step.",
    equations=(
        "g_i = F^-1[(zeta_i conj(k) f_i y + z_i) / (zeta_i |k|^2 + 1)],    z_i <- S_{lambda_i zeta_i}(g_i)   "
        "(products in frequency)\n"
        "k <- N_1 [F^-1(sum_i conj(z_i) f_i y / (sum_i |z_i|^2 + eps))]_+,    x = argmin 0.5 |y - k * x|^2 + sum_i "
        "(eta_i / 2) |f_i[L] * x - g_i|^2\n"
        "f, lambda, zeta in each layer; at the start the sixteen lowest zero-mean patterns of the 7 x 7 cosine "
        "transform."
    ),
    references=(LI,),
    home=Path(__file__).parent,
    recipes={
        "deblurring": recipe(
            parent, Tying(tied=("retrieval",), untied=("filters", "weight", "coupling")), schedule, steps=STEPS, batch=2
        )
    },
)
