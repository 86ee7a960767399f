"""Pictures by blocks: how they are measured, the linear estimate, and codes over patches and blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unrolling.operators import BlockSensing, PatchDictionary, dct_atoms
from unrolling.operators.patches import projections

PATCH, STRIDE = 8, 4
RIDGE = 1e-5  # of the linear estimate, relative to the mean energy of a measurement


def orthonormal_rows(ratio: float, block: int, seed: int) -> Tensor:
    """Phi (m, block^2) with orthonormal rows from Gaussian ones, m / block^2 about the ratio.

    Raises:
        ValueError: a ratio that leaves no measurement or more than pixels.
    """
    m = round(ratio * block**2)
    if not 1 <= m <= block**2:
        raise ValueError(f"ratio is {ratio}; measurements per block must number between 1 and {block**2}")
    return projections(m, block**2, seed)


def least_squares(matrix: Tensor, moment: Tensor) -> Tensor:
    """(pixels, m): the linear estimate of a block of least squared error, (Phi M Phi^T + r I)^-1 Phi M transposed, M
    the second moments of blocks (float64).
    """
    phi = matrix.double()
    inner = phi @ moment @ phi.T
    ridge = RIDGE * inner.diagonal().mean() * torch.eye(len(inner), dtype=torch.float64)
    return torch.linalg.solve(inner + ridge, phi @ moment).T.float().contiguous()


def patch_frame() -> PatchDictionary:
    """The 8 x 8 DCT at every fourth pixel, scaled to a tight frame: D D^T = I."""
    return PatchDictionary(dct_atoms(PATCH) / (PATCH // STRIDE), STRIDE)


def free_mean(weight: float, side: int) -> Tensor:
    """One weight for all cosine patterns of side x side pixels but the constant one, which is free."""
    weights = torch.full((side**2,), weight)
    weights[0] = 0
    return weights


def block_dictionary(sensing: BlockSensing) -> Tensor:
    """A = Phi times the DCT of a block, columns normalised, (m, pixels)."""
    matrix = sensing.matrix @ _basis(sensing)
    return matrix / torch.linalg.vector_norm(matrix, dim=0)


def block_decoder(sensing: BlockSensing) -> BlockSensing:
    """From codes over ``block_dictionary``, block by block, to pictures."""
    return BlockSensing(_synthesis(sensing).T.contiguous()).H  # pyright: ignore[reportReturnType]


def block_decode(sensing: BlockSensing) -> Callable[[Tensor], Tensor]:
    """Codes (rows, pixels) over ``block_dictionary`` to the pixels of blocks (rows, pixels)."""
    synthesis = _synthesis(sensing)
    return lambda codes: codes @ synthesis.T


def _basis(sensing: BlockSensing) -> Tensor:
    """The DCT of a block as columns, (pixels, pixels)."""
    pixels = sensing.matrix.shape[1]
    return dct_atoms(round(pixels**0.5)).reshape(pixels, -1).T.contiguous()


def _synthesis(sensing: BlockSensing) -> Tensor:
    """From codes over normalised columns to pixels, (pixels, pixels)."""
    basis = _basis(sensing)
    return basis / torch.linalg.vector_norm(sensing.matrix @ basis, dim=0)
