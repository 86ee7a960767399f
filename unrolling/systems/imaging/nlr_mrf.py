"""NLR-MRF: gradient descent on a Markov random field whose cliques are groups of similar patches, a fixed number of
steps learned end to end (Sun and Tappen 2011; survey, section IV-C).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.images.experts import FieldOfExperts, NonLocalExperts
from unrolling.algorithms.images.inpainting import KnownPixels
from unrolling.algorithms.splitting.data_terms import DataTerm, LeastSquares
from unrolling.operators import Identity
from unrolling.operators.filters import zero_mean_atoms
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._denoising import denoising
from unrolling.systems.imaging._inpainting import RANGE, inpainting
from unrolling.training.stages import Cosine, Schedule, Stage

SIZE, MATCHES, DEPTH = 5, 5, 10
CONTRAST = 20.0  # of 255, the response from which on an edge is kept
PULL = 0.05  # of the data in a step of the parent
FORCE = 1.25 / SIZE**2  # of the field in it, on each filter
TYING = Tying(tied=("filters", "amplitude"), untied=("step_size",))


def filters(matches: int) -> Tensor:
    """The zero-mean cosine patterns on the pixel's own patch, and zeros on the others: the local field."""
    atoms = zero_mean_atoms(SIZE)
    groups = torch.zeros(len(atoms), matches, SIZE, SIZE)
    groups[:, 0] = atoms
    return groups


def field(data_term: DataTerm, weight: float, step_size: float, matches: int) -> FieldOfExperts:
    """The field before training, local or not."""
    scale = 255 / CONTRAST
    amplitude = FORCE / step_size
    return NonLocalExperts(
        data_term, filters(matches), amplitude=amplitude, weight=weight, step_size=step_size, scale=scale
    )


def denoiser(matches: int) -> Any:
    """The parent for noise of the task's strength: E times s^2 is minus the logarithm of the posterior density."""

    def parent(task: Any) -> FieldOfExperts:
        weight = (task.sigma / CONTRAST) ** -2
        return field(LeastSquares(Identity()), weight, PULL / weight, matches)

    return parent


def filler(matches: int) -> Any:
    """The parent for missing pixels; those that are known stay."""
    return lambda task: field(KnownPixels(), 1.0, 0.1, matches)


def schedule(depth: int) -> Schedule:
    """All together."""
    return [Stage(1_200, rate=1e-2, batch=2, annealing=Cosine(0.03, 0.01), clip=1.0)]


def recipes(matches: int) -> dict[str, Recipe]:
    """On both tasks."""
    return {
        "denoising": Recipe(
            parent=denoiser(matches),
            tying=TYING,
            depth=DEPTH,
            schedule=schedule,
            range=lambda task: {"noise": Range(task.sigma / 12.5, 3 * task.sigma)},
        ),
        "inpainting": Recipe(parent=filler(matches), tying=TYING, depth=DEPTH, schedule=schedule, range=RANGE),
    }


APPLY = {"denoising": denoising(), "inpainting": inpainting()}
REFERENCES = ("sun2011learning", "roth2009fields")
EQUATIONS = (
    "x[t+1] = P(x[t] - eta[t] grad E(x[t])),    t < 10\n"
    "E(x) = (lambda / 2) |A x - y|^2 + s^-2 sum_p sum_i alpha_i log(1 + (J_i^T s X_p)^2 / 2)\n"
    "X_p: the 5 x 5 patch around pixel p and those around the four pixels of the window of 17 x 17 that look most like "
    "it (patches of 7 x 7 are compared, once, on the noisy or the filled image), stacked; J_i: 24 filters of 125 "
    "numbers, each of mean zero.\n"
    "Denoising: A = I, lambda = (s sigma)^-2. Inpainting: P puts the known pixels back. At the start J_i are the "
    "cosine patterns on the pixel's own patch, zero on the others: a local field of experts."
)

SYSTEM = System(
    name="imaging/nlr_mrf",
    title="NLR-MRF",
    paradigm="objective",
    summary="photographs without noise, or with their missing pixels filled: ten gradient steps on a random field "
    "whose cliques are groups of five similar patches, wherever they lie.",
    equations=EQUATIONS,
    references=REFERENCES,
    recipes=recipes(MATCHES),
    apply=APPLY,
    variants=(
        System(
            name="imaging/local_mrf",
            title="Local field of experts",
            paradigm="objective",
            summary="photographs without noise, or with their missing pixels filled: as imaging/nlr_mrf, with one "
            "patch in a clique, a field of experts.",
            equations=EQUATIONS.replace("24 filters of 125", "24 filters of 25"),
            references=("roth2009fields", "sun2011learning"),
            recipes=recipes(1),
            apply=APPLY,
        ),
    ),
)
