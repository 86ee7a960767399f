"""What a camera behind a microscope records of point-like emitters on a finer grid than its own."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count, check_range
from unrolling.operators.linear import LinearOperator


def spread_matrix(pixels: int, factor: int, deviation: float) -> Float[Tensor, "pixels fine"]:
    """One dimension of a Gaussian point spread function: the value at the middle of each camera pixel of an emitter in
    the middle of each fine pixel, 1 where they coincide; (pixels, factor pixels), float64.

    Args:
        pixels: of the camera along one side.
        factor: fine pixels in one of the camera's.
        deviation: standard deviation in pixels of the camera.
    """
    check_count(pixels, "pixels")
    check_count(factor, "factor")
    check_range(deviation, "deviation", 0.0, above=True)
    camera = torch.arange(pixels, dtype=torch.float64)
    fine = (torch.arange(factor * pixels, dtype=torch.float64) + 0.5) / factor - 0.5
    return torch.exp(-0.5 * ((camera.unsqueeze(1) - fine) / deviation).square())


class PointSpread(LinearOperator):
    """y[p] = sum_q h(p - q)^power x[q], p in the camera's pixels and q in finer ones, h a Gaussian of peak 1: (batch,
    factor height, factor width) -> (batch, height, width).

    Light of emitters with ``power`` 1; with 2, the variances that independent emitters of variances x leave in the
    camera's pixels. Two products with small matrices, exact at the borders: nothing lies outside of the image.

    Args:
        shape: (height, width) of the camera.
        factor: fine pixels in one of the camera's, along a side.
        deviation: standard deviation of h in pixels of the camera.
        power: of h.
        dtype: of the matrices.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        factor: int,
        deviation: float,
        power: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__((factor * shape[0], factor * shape[1]), tuple(shape))
        check_count(power, "power")
        self.factor, self.deviation, self.power = factor, deviation, power
        dtype = dtype or torch.get_default_dtype()
        for name, pixels in zip(("rows", "columns"), shape, strict=True):
            matrix = spread_matrix(pixels, factor, deviation) ** power
            self.register_buffer(name, matrix.to(dtype), persistent=False)

    def forward(self, x: Float[Tensor, "batch fine_height fine_width"]) -> Float[Tensor, "batch height width"]:
        """What the camera sees."""
        return self.rows @ x @ self.columns.T

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch fine_height fine_width"]:
        """Each fine pixel, the camera weighted by its point spread function."""
        return self.rows.T @ y @ self.columns
