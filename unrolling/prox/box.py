"""Projections onto boxes."""

from __future__ import annotations

from torch import Tensor


def clamp_coefficients(z: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """min(max(z, centre - half), centre + half): the projection onto what is known of quantised numbers.

    Args:
        z: any shape, real.
        centre: the dequantised numbers, broadcasts to ``z``.
        half: half a quantisation step, >= 0, broadcasts to ``z``.
    """
    return centre + (z - centre).clamp(-half, half)
