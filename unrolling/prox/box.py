"""Projections onto boxes."""

from __future__ import annotations

from torch import Tensor

from unrolling.core.execution import is_plain
from unrolling.core.refusals import explained


@explained
def clamp_coefficients(z: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """min(max(z, centre - half), centre + half): the projection onto what is known of quantised numbers.

    Args:
        z: any shape, real.
        centre: the dequantised numbers, broadcasts to ``z``.
        half: half a quantisation step, >= 0, broadcasts to ``z``.
    """
    if half.is_cpu and is_plain() and bool((half < 0).any()):
        raise ValueError(f"half is a half quantisation step, at least 0; the smallest is {float(half.min()):.4g}")
    return centre + (z - centre).clamp(-half, half)
