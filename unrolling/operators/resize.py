"""Fewer pixels: blur and decimation, and the antialiased bicubic interpolation of the super-resolution literature, with
their adjoints.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_range, keep
from unrolling.operators import transforms
from unrolling.operators.linear import LinearOperator
from unrolling.operators.spectral import convolve, transfer


class Decimation(LinearOperator):
    """y = every s-th pixel of k * x, periodic: (batch, height, width) -> (batch, height / s, width / s).

    ``solve_normal`` has a closed form: A A^H is a circular convolution of the small image, whose spectrum is the mean
    of |F k|^2 over the s^2 frequencies that are aliased into one (Zhao, Wei, Basarab, Dobigeon, Kouame and Tourneret
    2016, doi:10.1109/TIP.2016.2567075).

    Args:
        kernel: k, (kh, kw), its centre at (kh // 2, kw // 2); an ``nn.Parameter`` is learned, any other tensor is
            fixed.
        factor: s.

    Raises:
        ValueError: a kernel of another shape, a factor below 1; when applied, sides that are not multiples of the
            factor.
    """

    kernel: Tensor

    def __init__(self, kernel: Float[Tensor, "kh kw"], factor: int) -> None:
        if kernel.ndim != 2:
            raise ValueError(f"a kernel is (kh, kw); got shape {tuple(kernel.shape)}")
        if factor < 1:
            raise ValueError(f"factor is {factor}; it must be at least 1")
        super().__init__((None, None), (None, None))
        self.factor = factor
        keep(self, "kernel", kernel)

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch small_height small_width"]:
        """Blurred and decimated."""
        check_multiple(x, self.factor)
        return convolve(x, self.kernel)[..., :: self.factor, :: self.factor]

    def adjoint(self, y: Float[Tensor, "batch small_height small_width"]) -> Float[Tensor, "batch height width"]:
        """Zeros between the pixels, then correlation with k."""
        s = self.factor
        spread = (
            nn.functional.pad(y.unsqueeze(-1).unsqueeze(-3), (0, s - 1, 0, 0, 0, s - 1)).flatten(-4, -3).flatten(-2, -1)
        )
        return convolve(spread, self.kernel, adjoint=True)

    def solve_normal(
        self, b: Float[Tensor, "batch height width"], rho: Tensor | float
    ) -> Float[Tensor, "batch height width"]:
        """(A^H A + rho I)^-1 b = (b - A^H (rho I + A A^H)^-1 A b) / rho, rho > 0."""
        check_range(rho, "rho", 0.0, above=True)
        small = self(b)
        square = transfer(self.kernel, *b.shape[-2:]).abs().square()
        height, width = small.shape[-2:]
        aliased = square.reshape(self.factor, height, self.factor, width).mean((0, 2))
        inner = transforms.ifft2(transforms.fft2(small) / (aliased + rho))
        return (b - self.adjoint(inner if small.is_complex() or self.kernel.is_complex() else inner.real)) / rho


def check_multiple(x: Tensor, factor: int) -> None:
    """Refuses images whose sides are not multiples of a factor.

    Raises:
        ValueError: they are not.
    """
    check_count(factor, "factor")
    height, width = x.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(
            f"an image is reduced by {factor} when both its sides are multiples of that; it has {height} "
            f"x {width} pixels: crop it first"
        )


def cubic(t: Tensor) -> Tensor:
    """The cubic convolution kernel with a = -1/2 (Keys 1981, doi:10.1109/TASSP.1981.1163711)."""
    t = t.abs()
    return torch.where(
        t <= 1,
        (1.5 * t - 2.5) * t.square() + 1,
        torch.where(t < 2, ((-0.5 * t + 2.5) * t - 4) * t + 2, torch.zeros_like(t)),
    )


def bicubic_matrix(size: int, to: int) -> Float[Tensor, "to size"]:
    """One dimension of bicubic interpolation from ``size`` to ``to`` pixels, (to, size), float64; rows sum to one.

    Pixel i of the result lies at (i + 1/2) size / to - 1/2; beyond the border its last pixel goes on. Where the image
    shrinks, the kernel is stretched by size / to, which keeps aliases away. With both steps rounded to 8 bits, rows
    first, this gives the low-resolution images of Set5 as they are distributed.
    """
    check_count(size, "size")
    check_count(to, "to")
    ratio = size / to
    stretch = max(ratio, 1.0)
    centres = (torch.arange(to, dtype=torch.float64) + 0.5) * ratio - 0.5
    reach = int(2 * stretch) + 2
    taps = centres.floor().unsqueeze(1) + torch.arange(1 - reach, reach + 1, dtype=torch.float64)
    weights = cubic((taps - centres.unsqueeze(1)) / stretch)
    weights = weights / weights.sum(1, keepdim=True)
    return torch.zeros(to, size, dtype=torch.float64).scatter_add_(1, taps.long().clamp(0, size - 1), weights)


def resize(x: Float[Tensor, "... height width"], height: int, width: int) -> Float[Tensor, "... new_height new_width"]:
    """Images of another size by bicubic interpolation, antialiased where they shrink (``bicubic_matrix``)."""
    rows = bicubic_matrix(x.shape[-2], height).to(x)
    columns = bicubic_matrix(x.shape[-1], width).to(x)
    return rows @ x @ columns.T


class BicubicReduction(LinearOperator):
    """Antialiased bicubic interpolation to 1 / s of the size: (batch, height, width) -> (batch, height / s, width / s).

    Args:
        factor: s, a whole number.

    Raises:
        ValueError: a factor below 1; when applied, sides that are not multiples of it.
    """

    def __init__(self, factor: int) -> None:
        if factor < 1:
            raise ValueError(f"factor is {factor}; it must be at least 1")
        super().__init__((None, None), (None, None))
        self.factor = factor

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch small_height small_width"]:
        """The small image."""
        check_multiple(x, self.factor)
        return resize(x, x.shape[-2] // self.factor, x.shape[-1] // self.factor)

    def adjoint(self, y: Float[Tensor, "batch small_height small_width"]) -> Float[Tensor, "batch height width"]:
        """The transposed matrices on both sides."""
        height, width = y.shape[-2:]
        rows = bicubic_matrix(height * self.factor, height).to(y)
        columns = bicubic_matrix(width * self.factor, width).to(y)
        return rows.T @ y @ columns

    def enlarge(self, y: Float[Tensor, "batch small_height small_width"]) -> Float[Tensor, "batch height width"]:
        """Bicubic interpolation to s times the size: where super-resolution starts. Not the adjoint."""
        return resize(y, y.shape[-2] * self.factor, y.shape[-1] * self.factor)
