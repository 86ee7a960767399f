"""What the systems for pictures share: the parent of the reaction-diffusion networks and how they are trained"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from unrolling.algorithms.images.diffusion import Diffusion
from unrolling.algorithms.splitting.data_terms import DataTerm
from unrolling.operators import FilterBank
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.prox.influence import RadialBasis, fit_radial_basis
from unrolling.systems.base import Tying
from unrolling.training.stages import Cosine, Schedule, Stage

# What is learned in each layer of the reaction-diffusion networks
EACH = Tying(untied=("filters", "influence", "weight"))
CENTRES, LAST = 63, 310.0  # of the radial basis, on the scale of 8 bits
# of the parent's influence function, chosen on validation photographs for five steps; STEP is divided by the filters'
# area
CONTRAST, STEP = 20.0, 1.25


def parent(
    data_term: DataTerm, size: int, weight: float, *, step: float = STEP, contrast: float = CONTRAST
) -> Diffusion:
    """Descent on a field of experts: the zero-mean cosine patterns of size x size pixels, phi(z) = (step / size^2) z /
    (1 + (z / contrast)^2).
    """
    points = torch.linspace(-LAST, LAST, 1241, dtype=torch.float64)
    values = step / size**2 * points / (1 + (points / contrast).square())
    weights = fit_radial_basis(values, points, CENTRES, -LAST, LAST).float()
    filters = FilterBank(BasisFilters(zero_mean_atoms(size)), "symmetric")
    return Diffusion(data_term, filters, RadialBasis(weights.repeat(size**2 - 1, 1), -LAST, LAST), weight, scale=255.0)


def schedule(steps: int, batch: int = 8) -> Callable[[int], Schedule]:
    """A fifth of the steps layer after layer, then all together."""

    def made(depth: int) -> Schedule:
        each = max(1, steps // (5 * depth))
        options: dict[str, Any] = {"batch": batch, "clip": 1.0}
        grown = [
            Stage(each, rate=5e-3, depth=k + 1, layers=(k,), inherit={}, annealing=Cosine(0.05, 0.3), **options)
            for k in range(depth)
        ]
        return [*grown, Stage(max(1, steps - each * depth), rate=4e-3, annealing=Cosine(0.02, 1e-2), **options)]

    return made
