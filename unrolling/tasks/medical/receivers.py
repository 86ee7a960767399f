"""Simulated receive coils of magnetic resonance imaging: smooth complex sensitivity maps, random like phantoms."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.operators.fourier import normalise_maps

RADIUS = (1.25, 1.6)  # of the ring that the coils lie on, in half sides of the image
OVERLAP = 1.1  # of neighbouring loops


def receive_coils(
    coils: int, height: int, width: int, generator: torch.Generator
) -> Complex[Tensor, "coils height width"]:
    """Maps of loops on a ring around the image, sum_c |S_c|^2 = 1 at every pixel.

    A loop is two opposite currents at right angles to the slice, at a and b of the complex plane, whose field there is
    1 / (z - a) - 1 / (z - b): magnitude and phase of a map are those of a field, and smooth. The ring's radius and
    turn, each loop's place and the phase of its receiver are random.

    Args:
        coils: their number, at least 1.
        height: rows of pixels.
        width: columns of pixels.
        generator: of all that is random.
    """
    check_count(coils, "coils")
    check_count(height, "height")
    check_count(width, "width")

    def uniform(low: float, high: float, count: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    each = 2 * math.pi / coils
    angle = uniform(0, each) + each * (torch.arange(coils) + uniform(-0.15, 0.15, coils))
    radius = uniform(*RADIUS) * uniform(0.95, 1.05, coils)
    half = uniform(0.9, OVERLAP, coils) * min(each / 2, math.pi / 4)
    first, last = torch.polar(radius, angle - half), torch.polar(radius, angle + half)
    side = max(height, width)
    y = (torch.arange(height, dtype=torch.float64) - (height - 1) / 2) * (2 / side)
    x = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2) * (2 / side)
    z = torch.complex(x.expand(height, width), y.unsqueeze(1).expand(height, width))
    field = 1 / (z - first.view(-1, 1, 1)) - 1 / (z - last.view(-1, 1, 1))
    field = field * torch.polar(torch.ones(coils, dtype=torch.float64), uniform(0, 2 * math.pi, coils)).view(-1, 1, 1)
    return normalise_maps(field).to(torch.complex64)
