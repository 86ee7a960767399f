"""The orthonormal wavelet transform of periodic images."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.operators.linear import LinearOperator

# Daubechies 1988, doi:10.1002/cpa.3160410705: the scaling filters with one and with two vanishing moments
ROOT = math.sqrt(3)
FILTERS = {
    1: (math.sqrt(0.5), math.sqrt(0.5)),
    2: tuple(value / (4 * math.sqrt(2)) for value in (1 + ROOT, 3 + ROOT, 3 - ROOT, 1 - ROOT)),
}


class Wavelet(LinearOperator):
    """W x, W unitary: (batch, height, width) -> the same, real or complex; each level splits the upper left block
    of the one before into four, the coarse image upper left, what the rows lack below it, what the columns lack on its
    right.

    Args:
        levels: how often the coarse image is split, as long as its sides are even.
        moments: 1 for Haar's wavelet, 2 for Daubechies' filters of four taps.

    Raises:
        ValueError: other numbers of moments, fewer than one level.
    """

    def __init__(self, levels: int = 4, moments: int = 2) -> None:
        check_count(levels, "levels")
        if moments not in FILTERS:
            raise ValueError(f"moments is {moments}; it is one of {', '.join(map(str, FILTERS))}")
        super().__init__((None, None), (None, None))
        self.levels = levels
        low = FILTERS[moments]
        # of numbers, so that they are exact in every precision
        self.filters = (low, tuple((-1) ** k * tap for k, tap in enumerate(reversed(low))))

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The coefficients."""
        for height, width in self._sizes(x):
            x = _placed(self._analyse(self._analyse(x[..., :height, :width], -2), -1), x)
        return x

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The image, W^H = W^-1."""
        for height, width in reversed(self._sizes(y)):
            block = y[..., :height, :width]
            y = _placed(self._synthesise(self._synthesise(block, -1), -2), y)
        return y

    def solve_normal(
        self, b: Float[Tensor, "batch height width"], rho: Tensor | float
    ) -> Float[Tensor, "batch height width"]:
        """b / (1 + rho)."""
        return b / (1 + rho)

    def _sizes(self, x: Tensor) -> list[tuple[int, int]]:
        height, width = x.shape[-2:]
        found = []
        while len(found) < self.levels and height % 2 == 0 and width % 2 == 0 and min(height, width) > 1:
            found.append((height, width))
            height, width = height // 2, width // 2
        return found

    def _analyse(self, x: Tensor, dim: int) -> Tensor:
        """Coarse half and detail half along a dimension: sum_k f[k] x[2 n + k], periodic."""
        halves = []
        pair = x.unflatten(dim, (x.shape[dim] // 2, 2)).movedim(x.ndim + dim + 1, -1)
        first, second = pair.unbind(-1)
        for taps in self.filters:
            total = taps[0] * first + taps[1] * second
            for k in range(2, len(taps), 2):
                total = total + taps[k] * first.roll(-k // 2, dim) + taps[k + 1] * second.roll(-k // 2, dim)
            halves.append(total)
        return torch.cat(halves, dim)

    def _synthesise(self, y: Tensor, dim: int) -> Tensor:
        first = second = torch.zeros_like(y.chunk(2, dim)[0])
        for taps, half in zip(self.filters, y.chunk(2, dim), strict=True):
            for k in range(0, len(taps), 2):
                moved = half.roll(k // 2, dim)
                first, second = first + taps[k] * moved, second + taps[k + 1] * moved
        position = y.ndim + dim
        return torch.stack([first, second], position + 1).flatten(position, position + 1)


def _placed(block: Tensor, whole: Tensor) -> Tensor:
    """``whole`` with its upper left block replaced."""
    height, width = block.shape[-2:]
    if block.shape == whole.shape:
        return block
    upper = torch.cat([block, whole[..., :height, width:]], -1)
    return torch.cat([upper, whole[..., height:, :]], -2)
