"""Finite differences of images: the gradient, whose adjoint is minus the divergence, and those of one direction."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.operators.dct import dct2, idct2
from unrolling.operators.linear import LinearOperator
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


class DirectionalDifferences(LinearOperator):
    """(D x)[p] = x[p + s] - x[p] where both pixels lie in the image, else 0: differences along one direction, (batch,
    ..., height, width) to the same.

    s = (1, 0) goes down a column, (0, 1) along a row, (2, 1) along streaks that lean by 27 degrees; an image smaller
    than the step has no difference. |D|_2 <= 2.

    Args:
        step: s, rows and columns, whole numbers that are not both zero.

    Raises:
        TypeError: a step of other numbers.
        ValueError: no step.
    """

    leading = True

    def __init__(self, step: tuple[int, int] = (1, 0)) -> None:
        super().__init__((None, None), (None, None))
        if not isinstance(step, (tuple, list)) or len(step) != 2:
            raise ValueError(f"step is {step!r}; it is (rows, columns)")
        for size, name in zip(step, ("rows of step", "columns of step"), strict=True):
            check_count(size, name, -(2**31 - 1))
        if step[0] == step[1] == 0:
            raise ValueError("step is (0, 0); a difference goes from one pixel to another")
        self.step_to = (step[0], step[1])

    def forward(self, x: Float[Tensor, "batch ... height width"]) -> Float[Tensor, "batch ... height width"]:
        """The differences."""
        self.check_input(x)
        first, second, padding = self._places(x)
        if padding is None:
            return x * 0
        return torch.nn.functional.pad(x[second] - x[first], padding)

    def adjoint(self, y: Float[Tensor, "batch ... height width"]) -> Float[Tensor, "batch ... height width"]:
        """The transpose."""
        self.check_output(y)
        first, _, padding = self._places(y)
        if padding is None:
            return y * 0
        left, right, top, bottom = padding
        inner = y[first]
        return torch.nn.functional.pad(inner, (right, left, bottom, top)) - torch.nn.functional.pad(inner, padding)

    def _places(self, x: Tensor) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[int, int, int, int] | None]:
        """Where p and p + s lie, and what is missing around the former: left, right, top, bottom; None where nothing
        is left.
        """
        (rows, columns), (height, width) = self.step_to, x.shape[-2:]
        if abs(rows) >= height or abs(columns) >= width:
            return (), (), None
        up, down, left, right = max(0, -rows), max(0, rows), max(0, -columns), max(0, columns)
        first = (..., slice(up, height - down), slice(left, width - right))
        second = (..., slice(down, height - up), slice(right, width - left))
        return first, second, (left, right, up, down)


def _minus_divergence(y: Tensor, dim: int) -> Tensor:
    """The adjoint of the difference along one dimension, whose last entry does not count."""
    inner = y.narrow(dim, 0, y.shape[dim] - 1)
    before, after = ((1, 0), (0, 1)) if dim == -1 else ((0, 0, 1, 0), (0, 0, 0, 1))
    return torch.nn.functional.pad(inner, before) - torch.nn.functional.pad(inner, after)


def _eigenvalues(height: int, width: int, turn: float) -> Tensor:
    rows = torch.arange(height, dtype=torch.float64) * turn / height
    columns = torch.arange(width, dtype=torch.float64) * turn / width
    return ((2 - 2 * rows.cos()).unsqueeze(1) + 2 - 2 * columns.cos()).unsqueeze(0)
