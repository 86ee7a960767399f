"""Compressive imaging block by block with a matrix for each block, and random isometries of whole images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_range, keep
from unrolling.operators import transforms
from unrolling.operators.linear import LinearOperator
from unrolling.operators.patches import _from_cells, _to_cells


class PerBlockSensing(LinearOperator):
    """Every block of b x b pixels measured by a matrix of its own: (batch, rows b, columns b) -> (batch, rows, columns,
    m).

    ``BlockSensing`` has one matrix for all blocks.

    Args:
        matrices: (rows, columns, m, b b), the pixels of a block row by row; an ``nn.Parameter`` is learned, any other
            tensor is fixed.

    Raises:
        ValueError: another shape, or a width that is not a square number.
    """

    matrices: Tensor
    multiplies = True

    def __init__(self, matrices: Float[Tensor, "rows columns m pixels"]) -> None:
        block = round(matrices.shape[-1] ** 0.5)
        if matrices.ndim != 4 or block**2 != matrices.shape[3]:
            raise ValueError(f"measurements of blocks are (rows, columns, m, b b); got shape {tuple(matrices.shape)}")
        rows, columns, m, _ = matrices.shape
        super().__init__((rows * block, columns * block), (rows, columns, m))
        self.block = block
        keep(self, "matrices", matrices)

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch rows columns m"]:
        """The measurements of all blocks."""
        return (self.matrices @ _to_cells(x, self.block).unsqueeze(-1)).squeeze(-1)

    def adjoint(self, y: Float[Tensor, "batch rows columns m"]) -> Float[Tensor, "batch height width"]:
        """Phi^H of each block's measurements, put in its place."""
        return _from_cells((self.matrices.mH @ y.unsqueeze(-1)).squeeze(-1), self.block)

    def solve_normal(
        self, b: Float[Tensor, "batch height width"], rho: Tensor | float
    ) -> Float[Tensor, "batch height width"]:
        """(Phi^H Phi + rho I)^-1 b = (b - Phi^H (Phi Phi^H + rho I)^-1 Phi b) / rho, rho > 0, an m x m equation per
        block.
        """
        check_range(rho, "rho", 0.0, above=True)
        m = self.matrices.shape[2]
        inner = self.matrices @ self.matrices.mH + rho * torch.eye(
            m, dtype=self.matrices.dtype, device=self.matrices.device
        )
        measured = self(b).unsqueeze(-1)
        solved = torch.cholesky_solve(measured, torch.linalg.cholesky(inner).expand(*measured.shape[:3], m, m))
        return (b - self.adjoint(solved.squeeze(-1))) / rho


class Isometry(LinearOperator):
    """An operator with A A^H = I: some rows of a unitary matrix. A subclass writes ``forward`` and ``adjoint``."""

    def solve_normal(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """(A^H A + rho I)^-1 b = (b - A^H A b / (1 + rho)) / rho, rho > 0."""
        check_range(rho, "rho", 0.0, above=True)
        return (b - self.adjoint(self(b)) / (1 + rho)) / rho


class ScrambledHadamard(Isometry):
    """m rows, drawn at random, of the orthonormal Walsh-Hadamard transform of an image whose pixels were shuffled:
    (batch, height, width) -> (batch, m).

    Gan, Do and Tran 2008 (scrambled block Hadamard ensemble). The number of pixels is a power of two.

    Args:
        height: of the image.
        width: of the image.
        m: number of measurements.
        seed: of the order of the pixels and of the rows.

    Raises:
        ValueError: pixels that do not number a power of two, or m outside 1 ... pixels.
    """

    order: Tensor
    rows: Tensor

    def __init__(self, height: int, width: int, m: int, *, seed: int = 0) -> None:
        pixels = height * width
        if pixels < 1 or pixels & (pixels - 1):
            raise ValueError(f"a Hadamard transform takes a power of two; {height} x {width} pixels are {pixels}")
        if not 1 <= m <= pixels:
            raise ValueError(f"m is {m}; it lies between 1 and the {pixels} pixels")
        super().__init__((height, width), (m,))
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("order", torch.randperm(pixels, generator=generator))
        self.register_buffer("rows", torch.randperm(pixels, generator=generator)[:m])

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch m"]:
        """The chosen rows of H P x."""
        return hadamard(x.flatten(1).index_select(1, self.order)).index_select(1, self.rows)

    def adjoint(self, y: Float[Tensor, "batch m"]) -> Float[Tensor, "batch height width"]:
        """P^T H of the measurements with zeros for the other rows."""
        pixels = len(self.order)
        spread = y.new_zeros(y.shape[0], pixels).index_add(1, self.rows, y)
        return hadamard(spread).index_select(1, torch.argsort(self.order)).reshape(y.shape[0], *self.input_shape)


def hadamard(x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
    """The orthonormal Walsh-Hadamard transform along the last dimension, n a power of two, in n log n additions."""
    size = x.shape[-1]
    if size < 1 or size & (size - 1):
        raise ValueError(f"a Hadamard transform takes a power of two; the last dimension of x has {size}")
    half = 1
    while half < size:
        pairs = x.unflatten(-1, (size // (2 * half), 2, half))
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        x = torch.stack([first + second, first - second], -2).flatten(-3)
        half *= 2
    return x / size**0.5


class CodedDiffraction(Isometry):
    """m frequencies, drawn at random, of an image under random phases: (batch, height, width) -> (batch, m) complex.

    Candes, Li and Soltanolkotabi 2015 (coded diffraction patterns), doi:10.1016/j.acha.2014.09.004.

    Args:
        height: of the image.
        width: of the image.
        m: number of measurements.
        seed: of the phases and of the frequencies.

    Raises:
        ValueError: m outside 1 ... pixels.
    """

    angles: Tensor
    rows: Tensor

    def __init__(self, height: int, width: int, m: int, *, seed: int = 0) -> None:
        pixels = height * width
        if not 1 <= m <= pixels:
            raise ValueError(f"m is {m}; it lies between 1 and the {pixels} pixels")
        super().__init__((height, width), (m,))
        generator = torch.Generator().manual_seed(seed)
        # Angles, not phases: in any precision their phases have modulus one.
        self.register_buffer("angles", 2 * torch.pi * torch.rand(height, width, generator=generator))
        self.register_buffer("rows", torch.randperm(pixels, generator=generator)[:m])

    @property
    def phases(self) -> Tensor:
        """p, (height, width), of modulus one."""
        return torch.complex(self.angles.cos(), self.angles.sin())

    def forward(self, x: Tensor) -> Tensor:
        """The chosen frequencies of F (p . x)."""
        return transforms.fft2(self.phases * x, norm="ortho").flatten(1).index_select(1, self.rows)

    def adjoint(self, y: Tensor) -> Tensor:
        """conj(p) . F^H of the measurements with zeros for the other frequencies."""
        spread = y.new_zeros(y.shape[0], self.angles.numel()).index_add(1, self.rows, y)
        return self.phases.conj() * transforms.ifft2(spread.reshape(y.shape[0], *self.input_shape), norm="ortho")
