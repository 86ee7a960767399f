"""Projections onto boxes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unrolling.core.arguments import check_range
from unrolling.core.execution import is_plain
from unrolling.core.refusals import explain_call, explained


@explain_call
@dataclass(frozen=True)
class Box:
    """min(max(z, low), high): the prox of the indicator of low <= x <= high, whatever the threshold.

    A value, to be given to an iteration as its ``prox``; ``Box()`` keeps images from becoming negative.

    Attributes:
        low: the least value; None for no bound.
        high: the largest value; None for no bound.

    Raises:
        ValueError: neither bound, or low above high.
    """

    low: float | None = 0.0
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError("a box has at least one bound; got low None and high None")
        for name in ("low", "high"):
            if (bound := getattr(self, name)) is not None:
                check_range(bound, name)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}: nothing lies between them")

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The nearest tensor in the box.

        Args:
            z: real.
            threshold: without effect.
        """
        return z.clamp(self.low, self.high)

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """0 of each sample, (batch,): of what lies in the box."""
        return x.new_zeros(x.shape[0])


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
