"""Shrinkage of images to what is bright in them, whatever their scale."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core import Positive, constrain
from unrolling.core.refusals import explain_call
from unrolling.prox.denoisers import parameter
from unrolling.prox.thresholds import nonnegative

LEAST = 1e-14  # a smaller threshold counts as none
Ranks = Literal["keras", "matlab"]


@explain_call
class SoftPositive(nn.Module):
    """max(z - theta, 0): the prox of theta |.|_1 for z >= 0, its threshold a parameter.

    Parameters: ``threshold`` theta, positive.

    Args:
        threshold: theta >= 0.
    """

    threshold: Tensor

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = parameter(torch.tensor(float(threshold)), "threshold")
        constrain(self, "threshold", Positive())

    def forward(self, z: Tensor) -> Tensor:
        """max(z - theta, 0)."""
        return nonnegative(z, self.threshold)


@explain_call
class PercentileGate(nn.Module):
    """max(z, 0) / (1 + exp(-(tau / theta) (|z| - theta))), theta = q_1 + alpha (q_99 - q_1), q the percentiles of each
    image: pixels below theta fade, those above stay.

    Dardikman-Yoffe and Eldar 2020, doi:10.1364/OE.401925. G(c z) = c G(z) for c > 0, as long as theta exceeds 1e-14;
    a smaller one counts as 0, and tau is then not divided by it. alpha is free: percentiles may be left on either side.
    The percentiles make all pixels of an image depend on each other.

    Parameters: ``alpha``; ``steepness`` tau, positive.

    Args:
        alpha: 0 for the first percentile, 1 for the 99th.
        steepness: tau >= 0.
        ranks: which pixel is a percentile q of L, in falling order: the one at floor((1 - q) L), counted from 0
            (``keras``), or at round((1 - q) L), counted from 1 (``matlab``).

    Raises:
        ValueError: other ranks, a negative steepness.
    """

    alpha: Tensor
    steepness: Tensor

    def __init__(self, alpha: float = 0.95, steepness: float = 8.0, *, ranks: Ranks = "keras") -> None:
        super().__init__()
        if ranks not in ("keras", "matlab"):
            raise ValueError(f"ranks is {ranks!r}; it is keras or matlab")
        self.alpha = parameter(torch.tensor(float(alpha)), "alpha")
        self.steepness = parameter(torch.tensor(float(steepness)), "steepness")
        constrain(self, "steepness", Positive())
        self.ranks: Ranks = ranks

    def forward(self, z: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The shrunk images."""
        low, high = percentiles(z, self.ranks)
        theta = (low + self.alpha * (high - low)).reshape(-1, *[1] * (z.ndim - 1))
        none = theta < LEAST
        theta = torch.where(none, 0, theta)
        rate = self.steepness / torch.where(none, 1, theta)
        kept = torch.relu(z)  # where |z| is another number than this, the result is 0
        return kept * torch.sigmoid(rate * (kept - theta))


def percentiles(
    z: Float[Tensor, "batch ..."], ranks: Ranks = "keras"
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """The first and the 99th percentile of each image, as pixels of it; see ``PercentileGate``."""
    rows = z.flatten(1)
    smallest, largest = ranks_of_percentiles(rows.shape[1], ranks)
    low = rows.topk(smallest, dim=1, largest=False).values[:, -1]
    high = rows.topk(largest, dim=1).values[:, -1]
    return low, high


def ranks_of_percentiles(count: int, ranks: Ranks = "keras") -> tuple[int, int]:
    """Of so many pixels the first percentile is the so many smallest, and the 99th the so many largest."""
    return count - _place(count, 99, ranks), _place(count, 1, ranks) + 1


def _place(count: int, percent: int, ranks: Ranks) -> int:
    """The place, from 0, in falling order, of the pixel that ``percent`` of a hundred lie above; in whole numbers."""
    if ranks == "keras":
        return min(percent * count // 100, count - 1)
    return min(max((percent * count + 50) // 100 - 1, 0), count - 1)
