"""Finite differences of images: the gradient, whose adjoint is minus the divergence."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.operators.dct import dct2, idct2
from unrolling.operators.spectral import Circulant, divide


class FiniteDifferences(Circulant):
    """D x = (x[i+1, j] - x[i, j], x[i, j+1] - x[i, j]): (batch, height, width) -> (batch, 2, height, width), rows
    first.

    |D|_2 <= sqrt(8). ``solve_normal`` has a closed form for both boundaries: by FFT where the image is periodic, by DCT
    where it ends.

    Args:
        boundary: ``neumann``, the last difference is zero (Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e); or
            ``circular``.

    Raises:
        ValueError: another boundary.
    """

    def __init__(self, boundary: Literal["neumann", "circular"] = "neumann") -> None:
        if boundary not in ("neumann", "circular"):
            raise ValueError(f"boundary is {boundary!r}; it is one of neumann, circular")
        super().__init__((None, None), (2, None, None))
        self.boundary = boundary
        self.diagonal = boundary == "circular"

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch 2 height width"]:
        """Both differences of each pixel."""
        if self.boundary == "circular":
            return torch.stack([x.roll(-1, -2) - x, x.roll(-1, -1) - x], 1)
        down = torch.nn.functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
        right = torch.nn.functional.pad(x[..., 1:] - x[..., :-1], (0, 1))
        return torch.stack([down, right], 1)

    def adjoint(self, y: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, "batch height width"]:
        """Minus the divergence."""
        down, right = y.unbind(1)
        if self.boundary == "circular":
            return down.roll(1, -2) - down + right.roll(1, -1) - right
        return _minus_divergence(down, -2) + _minus_divergence(right, -1)

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """4 - 2 cos(2 pi i / height) - 2 cos(2 pi j / width).

        Raises:
            TypeError: the image is not periodic, so that D^H D is no circular convolution.
        """
        if self.boundary != "circular":
            raise TypeError(
                "differences that end at the border have no Fourier spectrum; use FiniteDifferences('circular')"
            )
        return _eigenvalues(height, width, 2 * torch.pi)

    def solve_normal(
        self, b: Float[Tensor, "batch height width"], rho: Tensor | float
    ) -> Float[Tensor, "batch height width"]:
        """(D^H D + rho I)^-1 b, rho > 0."""
        height, width = b.shape[-2:]
        if self.boundary == "circular":
            return divide(b, self.gram_spectrum(height, width).to(b.real) + rho, real=True)
        return idct2(dct2(b) / (_eigenvalues(height, width, torch.pi).to(b.real) + rho))


def _minus_divergence(y: Tensor, dim: int) -> Tensor:
    """The adjoint of the difference along one dimension, whose last entry does not count."""
    inner = y.narrow(dim, 0, y.shape[dim] - 1)
    before, after = ((1, 0), (0, 1)) if dim == -1 else ((0, 0, 1, 0), (0, 0, 0, 1))
    return torch.nn.functional.pad(inner, before) - torch.nn.functional.pad(inner, after)


def _eigenvalues(height: int, width: int, turn: float) -> Tensor:
    rows = torch.arange(height, dtype=torch.float64) * turn / height
    columns = torch.arange(width, dtype=torch.float64) * turn / width
    return ((2 - 2 * rows.cos()).unsqueeze(1) + 2 - 2 * columns.cos()).unsqueeze(0)
