"""The mosaic of colours in front of a camera's sensor (Bayer 1976, US patent 3971065), and its interpolation."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.operators.linear import LinearOperator

COLOURS = "RGB"
PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


def bayer_mask(height: int, width: int, pattern: str = "RGGB", like: Tensor | None = None) -> Float[Tensor, "3 h w"]:
    """1 where a pixel sees red, green or blue, (3, height, width).

    Args:
        height: of the image.
        width: of the image.
        pattern: the colours of the first two pixels of the first two rows, row by row.
        like: of what dtype and device.

    Raises:
        ValueError: an unknown pattern.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"pattern is {pattern!r}; it is one of {', '.join(PATTERNS)}")
    options: dict[str, Any] = {} if like is None else {"dtype": like.real.dtype, "device": like.device}
    cell = torch.zeros(3, 2, 2, **options)
    for place, colour in enumerate(pattern):
        cell[COLOURS.index(colour), place // 2, place % 2] = 1
    return cell.repeat(1, (height + 1) // 2, (width + 1) // 2)[:, :height, :width]


class BayerMosaic(LinearOperator):
    """y[p] = x[c(p), p]: of the three colours of a pixel p the one that its filter lets through, (batch, 3, height,
    width) -> (batch, height, width).

    A A^T = I, so that |A| = 1. ``solve_normal`` has a closed form.

    Args:
        pattern: as for ``bayer_mask``.
        shape: (height, width) of the images, where only one size will do.

    Raises:
        ValueError: an unknown pattern.
    """

    def __init__(self, pattern: str = "RGGB", shape: tuple[Any, Any] = (None, None)) -> None:
        super().__init__((3, *shape), shape)
        bayer_mask(2, 2, pattern)
        self.pattern = pattern

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
        """The colour of each pixel that is seen."""
        return (self._mask(x) * x).sum(1)

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch 3 height width"]:
        """What was seen, and zero where nothing was."""
        return self._mask(y) * y.unsqueeze(1)

    def solve_normal(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """(A^T A + rho I)^-1 b."""
        return b / (self._mask(b) + rho)

    def _mask(self, like: Tensor) -> Tensor:
        return bayer_mask(like.shape[-2], like.shape[-1], self.pattern, like)


class BayerInterpolation(LinearOperator):
    """Bilinear interpolation of a mosaic, (batch, height, width) -> (batch, 3, height, width): each colour is the
    weighted mean of the pixels of the 3 x 3 around it that see this colour, weights 4, 2 and 1 by distance; a pixel
    that sees it keeps it.

    Args:
        pattern: as for ``bayer_mask``.
        shape: (height, width) of the images, where only one size will do.

    Raises:
        ValueError: an unknown pattern.
    """

    def __init__(self, pattern: str = "RGGB", shape: tuple[Any, Any] = (None, None)) -> None:
        super().__init__(shape, (3, *shape))
        bayer_mask(2, 2, pattern)
        self.pattern = pattern

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch 3 height width"]:
        """The three colours."""
        mask, free = self._weights(x)
        seen = mask * x.unsqueeze(1)
        return seen + free * _blurred(seen)

    def adjoint(self, y: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
        """The transpose."""
        mask, free = self._weights(y)
        return (mask * (y + _blurred(free * y))).sum(1)

    def _weights(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The mask, and where it is zero one over the weights that are seen."""
        mask = bayer_mask(like.shape[-2], like.shape[-1], self.pattern, like)
        total = _blurred(mask.unsqueeze(0)).squeeze(0)
        return mask, (1 - mask) / torch.where(total == 0, 1, total)


def _blurred(x: Tensor) -> Tensor:
    """With 1, 2, 1 along both axes, zeros outside."""
    wide = nn.functional.pad(x, (1, 1, 1, 1))
    rows = wide[..., :-2, :] + 2 * wide[..., 1:-1, :] + wide[..., 2:, :]
    return rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]
