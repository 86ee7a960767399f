"""The orthonormal discrete cosine transform of images, whole or block by block."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.operators import transforms
from unrolling.operators.linear import LinearOperator

LARGE = 64  # from this length on an FFT takes less time than a product with the matrix


def dct_matrix(size: int, dtype: torch.dtype = torch.float64) -> Float[Tensor, "size size"]:
    """C[k, i] = sqrt(2 / n) cos(pi k (2 i + 1) / (2 n)), the row k = 0 divided by sqrt(2): C C^T = I.

    Ahmed, Natarajan and Rao 1974, doi:10.1109/T-C.1974.223784.
    """
    check_count(size, "size")
    k, i = torch.arange(size, dtype=torch.float64).unsqueeze(1), torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.pi * k * (2 * i + 1) / (2 * size)) * _root(2 / size)
    matrix[0] /= 2**0.5
    return matrix.to(dtype)


def _root(number: float) -> Tensor:
    """Of a tensor: files of exported programs hold no roots of sizes."""
    return torch.full((), number, dtype=torch.float64).sqrt()


def dct(x: Tensor, dim: int = -1) -> Tensor:
    """The DCT-II along a dimension; of complex numbers, that of their real and imaginary parts."""
    if x.is_complex():
        return torch.complex(dct(x.real, dim), dct(x.imag, dim))
    size = x.shape[dim]
    x = x.movedim(dim, -1)
    if size < LARGE:
        return (x @ dct_matrix(size, x.dtype).to(x.device).T).movedim(-1, dim)
    # Even entries, then odd ones backwards: one FFT of the same length (Makhoul 1980, doi:10.1109/TASSP.1980.1163351).
    spectrum = transforms.fft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1))
    return ((spectrum * _twiddles(size, x)).real * _scales(size, x)).movedim(-1, dim)


def idct(x: Tensor, dim: int = -1) -> Tensor:
    """The inverse of ``dct``, which is its adjoint."""
    if x.is_complex():
        return torch.complex(idct(x.real, dim), idct(x.imag, dim))
    size = x.shape[dim]
    x = x.movedim(dim, -1)
    if size < LARGE:
        return (x @ dct_matrix(size, x.dtype).to(x.device)).movedim(-1, dim)
    scaled = x / _scales(size, x)
    mirrored = torch.nn.functional.pad(scaled.flip(-1)[..., :-1], (1, 0))
    spectrum = torch.complex(scaled, -mirrored) * _twiddles(size, x).conj()
    mixed = transforms.ifft(spectrum).real
    half = (size + 1) // 2
    odd = mixed[..., half:].flip(-1)
    if size % 2:
        odd = torch.nn.functional.pad(odd, (0, 1))
    return torch.stack([mixed[..., :half], odd], -1).flatten(-2)[..., :size].movedim(-1, dim)


def _twiddles(size: int, like: Tensor) -> Tensor:
    angle = -torch.pi * torch.arange(size, dtype=torch.float64, device=like.device) / (2 * size)
    return torch.complex(angle.cos(), angle.sin()).to(
        torch.complex128 if like.dtype == torch.float64 else torch.complex64
    )


def _scales(size: int, like: Tensor) -> Tensor:
    scales = _root(2 / size).to(like).expand(size)
    return torch.cat([scales[:1] / 2**0.5, scales[1:]])


def dct2(x: Float[Tensor, "... height width"]) -> Float[Tensor, "... height width"]:
    """The two-dimensional DCT-II."""
    return dct(dct(x, -1), -2)


def idct2(x: Float[Tensor, "... height width"]) -> Float[Tensor, "... height width"]:
    """The inverse of ``dct2``."""
    return idct(idct(x, -1), -2)


class DCT(LinearOperator):
    """The two-dimensional DCT-II of images (batch, height, width), or of their blocks; orthonormal, so that the adjoint
    is the inverse.

    Args:
        block: side of the blocks, each transformed in its place; None transforms the image as a whole.

    Raises:
        ValueError: a block of no pixels; when applied, sides that are not a multiple of it.
    """

    def __init__(self, block: int | None = None) -> None:
        if block is not None and block < 1:
            raise ValueError(f"block is {block}; a block has a side of at least 1")
        super().__init__((None, None), (None, None))
        self.block = block

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The coefficients, those of a block where the block was."""
        return dct2(x) if self.block is None else join_blocks(dct2(cut_blocks(x, self.block)))

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The image of coefficients."""
        return idct2(y) if self.block is None else join_blocks(idct2(cut_blocks(y, self.block)))

    def solve_normal(
        self, b: Float[Tensor, "batch height width"], rho: Tensor | float
    ) -> Float[Tensor, "batch height width"]:
        """b / (1 + rho)."""
        return b / (1 + rho)


def cut_blocks(x: Float[Tensor, "... height width"], size: int) -> Float[Tensor, "... rows columns size size"]:
    """Images as blocks of size x size pixels.

    Raises:
        ValueError: sides that are not a multiple of it.
    """
    height, width = x.shape[-2:]
    if height % size or width % size:
        raise ValueError(f"images of whole blocks have sides that are multiples of {size}; got {height} x {width}")
    return x.unflatten(-1, (width // size, size)).unflatten(-3, (height // size, size)).transpose(-3, -2)


def join_blocks(blocks: Float[Tensor, "... rows columns size size"]) -> Float[Tensor, "... height width"]:
    """The inverse of ``cut_blocks``."""
    return blocks.transpose(-3, -2).flatten(-2).flatten(-3, -2)
