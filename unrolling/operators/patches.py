"""Images as sums of overlapping patches: a convolutional dictionary with a stride, written as matrix products."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_range, keep
from unrolling.core.execution import transformed
from unrolling.operators.linear import LinearOperator


class PatchDictionary(LinearOperator):
    """image = sum over positions of (code at the position) times atoms, patches overlapping; (batch, rows, columns,
    atoms) -> (batch, height, width).

    Patches of p x p pixels lie at every ``stride``-th pixel, also across the borders, where their outside part is cut
    off: an image of H x W pixels has (H + p) / stride - 1 rows of patches, and as many columns from W. It equals a
    transposed convolution, at a fraction of its time on a processor.

    Args:
        atoms: (count, p, p); an ``nn.Parameter`` is learned, any other tensor is fixed. Stored as ``matrix`` (count, p
            p), see ``atoms()``.
        stride: divides p and the image's sides.

    Raises:
        ValueError: atoms that are not square, or a stride that does not divide p.
    """

    matrix: Tensor
    multiplies = True

    def __init__(self, atoms: Float[Tensor, "count p p"], stride: int) -> None:
        if atoms.ndim != 3 or atoms.shape[1] != atoms.shape[2]:
            raise ValueError(f"atoms are (count, p, p); got shape {tuple(atoms.shape)}")
        self_patch = atoms.shape[1]
        if stride < 1 or self_patch % stride:
            raise ValueError(f"stride {stride} must divide the patch size {self_patch}")
        super().__init__((None, None, atoms.shape[0]), (None, None))
        self.patch, self.stride, self.overlap = self_patch, stride, self_patch // stride
        # Pixels are ordered cell by cell of stride x stride: then all shifts are slices of whole cells.
        cells = (
            atoms.detach()
            .reshape(-1, self.overlap, stride, self.overlap, stride)
            .transpose(2, 3)
            .reshape(atoms.shape[0], -1)
            .contiguous()
        )
        keep(self, "matrix", cells, atoms)

    def atoms(self) -> Float[Tensor, "count p p"]:
        """The atoms as little images."""
        n, s = self.overlap, self.stride
        return self.matrix.detach().reshape(-1, n, n, s, s).transpose(2, 3).reshape(-1, self.patch, self.patch)

    def forward(self, x: Float[Tensor, "batch rows columns atoms"]) -> Float[Tensor, "batch height width"]:
        """The image of a code."""
        if min(x.shape[1:3]) < self.overlap:
            raise ValueError(
                f"an image has {self.overlap} x {self.overlap} patches at least; PatchDictionary got a code of shape "
                f"{tuple(x.shape)}"
            )
        add = _overlap_add if transformed() else _OverlapAdd.apply
        return _from_cells(add(x @ self.matrix, self.overlap), self.stride)

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch rows columns atoms"]:
        """The inner product of every atom with every patch."""
        extract = _extract if transformed() else _Extract.apply
        return extract(_to_cells(y, self.stride), self.overlap) @ self.matrix.mH


class _OverlapAdd(torch.autograd.Function):
    """Patches of n x n cells, (batch, rows, columns, n n cell), to the sum of their overlaps, (batch, rows - n + 1,
    columns - n + 1, cell).
    """

    @staticmethod
    def forward(ctx: Any, patches: Tensor, n: int) -> Tensor:
        ctx.n = n
        return _overlap_add(patches, n)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The adjoint is the other map; automatic differentiation of the slices would fill a whole tensor for each of
        # them.
        return _Extract.apply(grad, ctx.n), None


class _Extract(torch.autograd.Function):
    """The adjoint of ``_OverlapAdd``: every patch of n x n cells, also across the borders, where it is zero outside."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, n: int) -> Tensor:
        ctx.n = n
        return _extract(cells, n)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _OverlapAdd.apply(grad, ctx.n), None


def _overlap_add(patches: Tensor, n: int) -> Tensor:
    if n == 1:
        return patches.clone()
    cell = patches.shape[-1] // n**2
    height, width = patches.shape[1] - n + 1, patches.shape[2] - n + 1
    # Cell (i, j) of the patch at (r, c) lies on image cell (r + i - n + 1, c + j - n + 1).
    total = None
    for i in range(n):
        for j in range(n):
            first = (i * n + j) * cell
            part = patches[:, n - 1 - i : n - 1 - i + height, n - 1 - j : n - 1 - j + width, first : first + cell]
            total = part if total is None else total + part
    assert total is not None
    return total.contiguous()


def _extract(cells: Tensor, n: int) -> Tensor:
    rows, columns = cells.shape[1] + n - 1, cells.shape[2] + n - 1
    padded = nn.functional.pad(cells, (0, 0, n - 1, n - 1, n - 1, n - 1))
    return torch.cat([padded[:, i : i + rows, j : j + columns] for i in range(n) for j in range(n)], dim=-1)


def projections(m: int, pixels: int, seed: int) -> Tensor:
    """Phi (m, pixels) with orthonormal rows, from Gaussian ones; m at most pixels."""
    check_range(m, "m", 1, pixels)
    gaussian = torch.randn(pixels, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(gaussian)[0].T.float().contiguous()


class BlockSensing(LinearOperator):
    """Every block of b x b pixels measured by the same matrix: (batch, height, width) -> (batch, height / b, width / b,
    m).

    Args:
        matrix: Phi (m, b b), the pixels of a block row by row; an ``nn.Parameter`` is learned, any other tensor is
            fixed.

    Raises:
        ValueError: a width that is not a square number.
    """

    matrix: Tensor
    eigenvalues: Tensor | None
    eigenvectors: Tensor | None
    multiplies = True

    def __init__(self, matrix: Float[Tensor, "m pixels"]) -> None:
        block = round(matrix.shape[-1] ** 0.5)
        if matrix.ndim != 2 or block**2 != matrix.shape[1]:
            raise ValueError(f"a block measurement is (m, b b); got shape {tuple(matrix.shape)}")
        super().__init__((None, None), (None, None, matrix.shape[0]))
        self.block = block
        keep(self, "matrix", matrix)
        for name in ("eigenvalues", "eigenvectors"):  # of Phi Phi^H, once they were worked out
            self.register_buffer(name, None, persistent=False)

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch rows columns m"]:
        """The measurements of all blocks."""
        return _to_cells(x, self.block) @ self.matrix.T

    def adjoint(self, y: Float[Tensor, "batch rows columns m"]) -> Float[Tensor, "batch height width"]:
        """Phi^H of each block's measurements, put in its place."""
        return _from_cells(y @ self.matrix.conj(), self.block)

    def diagonalise(self) -> None:
        """Phi Phi^H = U diag(s) U^H, worked out once for a matrix that does not change any more: ``solve_normal`` then
        needs no factorisation, which not every runtime has.
        """
        matrix = self.matrix.detach().to(torch.promote_types(self.matrix.dtype, torch.float64))
        values, vectors = torch.linalg.eigh(matrix @ matrix.mH)
        self.eigenvalues, self.eigenvectors = values.to(self.matrix.real.dtype), vectors.to(self.matrix.dtype)

    def solve_normal(
        self, b: Float[Tensor, "batch height width"], rho: Tensor | float
    ) -> Float[Tensor, "batch height width"]:
        """(Phi^H Phi + rho I)^-1 b = (b - Phi^H (Phi Phi^H + rho I)^-1 Phi b) / rho, rho > 0: an m x m equation, the
        same for every block.
        """
        check_range(rho, "rho", 0.0, above=True)
        if self.eigenvalues is not None and self.eigenvectors is not None:
            turned = self(b) @ self.eigenvectors.conj()
            return (b - self.adjoint((turned / (self.eigenvalues + rho)) @ self.eigenvectors.mT)) / rho
        m = self.matrix.shape[0]
        inner = self.matrix @ self.matrix.mH + rho * torch.eye(m, dtype=self.matrix.dtype, device=self.matrix.device)
        measured = self(b)
        solved = torch.cholesky_solve(measured.reshape(-1, m).mT, torch.linalg.cholesky(inner)).mT.reshape(
            measured.shape
        )
        return (b - self.adjoint(solved)) / rho


def _to_cells(image: Tensor, size: int) -> Tensor:
    """(batch, height, width) -> (batch, height / size, width / size, size size)."""
    batch, height, width = image.shape
    if height % size or width % size:
        raise ValueError(f"images of whole blocks have sides that are multiples of {size}; got {height} x {width}")
    return (
        image.reshape(batch, height // size, size, width // size, size)
        .transpose(2, 3)
        .reshape(batch, height // size, width // size, size * size)
    )


def _from_cells(cells: Tensor, size: int) -> Tensor:
    """The inverse of ``_to_cells``."""
    batch, rows, columns, _ = cells.shape
    return cells.reshape(batch, rows, columns, size, size).transpose(2, 3).reshape(batch, rows * size, columns * size)


def dct_atoms(size: int, count: int | None = None) -> Float[Tensor, "count size size"]:
    """The orthonormal two-dimensional DCT-II basis of a square patch, lowest frequencies first.

    Args:
        size: pixels along a side.
        count: how many; all size^2 by default.
    """
    check_count(size, "size")
    k, i = torch.arange(size, dtype=torch.float64).unsqueeze(1), torch.arange(size, dtype=torch.float64)
    basis = torch.cos(torch.pi * k * (2 * i + 1) / (2 * size)) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    atoms = torch.einsum("ai,bj->abij", basis, basis).reshape(-1, size, size)
    squares = k.flatten() ** 2
    order = torch.argsort(
        (squares.unsqueeze(1) + squares).flatten() * size + k.expand(size, size).flatten(), stable=True
    )
    return atoms[order[:count]].float()
