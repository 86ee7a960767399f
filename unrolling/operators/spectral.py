"""Images and kernels in the two-dimensional Fourier domain, and operators whose A^H A is diagonal there."""

from __future__ import annotations

from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.operators import transforms
from unrolling.operators.linear import LinearOperator, Shape


def fast_size(size: int) -> int:
    """The smallest 2^a 3^b 5^c that is at least ``size``: a length whose FFT is quick.

    It is searched for, and no formula of the size: a program that is traced through it is one for this size.
    """
    size = int(size) if isinstance(size, torch.SymInt) else size
    check_count(size, "size")
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest <= 1:
            return size
        size += 1


def transfer(kernel: Tensor, height: int, width: int) -> Tensor:
    """The two-dimensional DFT of kernels (..., kh, kw) whose origin is at (kh // 2, kw // 2), on a grid of height x
    width; (..., height, width).

    Raises:
        ValueError: a kernel larger than the grid.
    """
    check_kernel(kernel, height, width)
    return transforms.fft2(wrap(kernel, height, width))


def check_kernel(kernel: Tensor, height: int, width: int) -> None:
    """Refuses a kernel (..., kh, kw) that is larger than an image.

    Raises:
        ValueError: it is, or has fewer than two dimensions.
    """
    if kernel.ndim < 2:
        raise ValueError(
            f"a kernel is (kh, kw), or (batch, kh, kw) with one per image; got shape {tuple(kernel.shape)}"
        )
    if kernel.shape[-2] > height or kernel.shape[-1] > width:
        raise ValueError(
            f"the kernel has {kernel.shape[-2]} x {kernel.shape[-1]} pixels, more than the image, which "
            f"has {height} x {width}"
        )


def wrap(kernel: Tensor, height: int, width: int) -> Tensor:
    """A kernel (..., kh, kw) on a periodic grid of height x width, its origin at (0, 0); what exceeds the grid is added
    from the other side.
    """
    for dim, size in ((-2, height), (-1, width)):
        length = kernel.shape[dim]
        turns = -(-length // size)
        shift = -(length // 2)
        if turns > 1:
            before, after = (0, turns * size - length), (0, 0, 0, turns * size - length)
            kernel = (
                torch.nn.functional.pad(kernel, before if dim == -1 else after)
                .unflatten(dim, (turns, size))
                .sum(dim - 1)
            )
        else:
            kernel = torch.nn.functional.pad(kernel, (0, size - length) if dim == -1 else (0, 0, 0, size - length))
        kernel = kernel.roll(shift, dim)
    return kernel


def convolve(x: Tensor, kernel: Tensor, *, adjoint: bool = False) -> Tensor:
    """Circular convolution of images (..., height, width) with kernels (..., kh, kw) that broadcast to them, or its
    adjoint (correlation).

    Real where both are real.
    """
    height, width = x.shape[-2:]
    check_kernel(kernel, height, width)
    if x.is_complex() or kernel.is_complex():
        spectrum = transforms.fft2(wrap(kernel, height, width))
        return transforms.ifft2(transforms.fft2(x) * (spectrum.conj() if adjoint else spectrum))
    spectrum = transforms.rfft2(wrap(kernel, height, width))
    return transforms.irfft2(transforms.rfft2(x) * (spectrum.conj() if adjoint else spectrum), s=(height, width))


def per_image(kernel: Tensor, x: Tensor) -> Tensor:
    """Kernels (kh, kw) or (batch, kh, kw), with dimensions between batch and image as x has them, so that they
    broadcast.
    """
    return kernel if kernel.ndim == 2 else kernel.reshape(kernel.shape[0], *[1] * (x.ndim - 3), *kernel.shape[1:])


def divide(b: Tensor, spectrum: Tensor, *, real: bool) -> Tensor:
    """F^-1 [F b / spectrum] for images (..., height, width) and a positive spectrum (..., height, width) in the order
    of ``fft2``.

    Args:
        b: images.
        spectrum: broadcasts to them.
        real: whether the spectrum is that of a real operator, so that real images stay real.
    """
    if real and not b.is_complex():
        height, width = b.shape[-2:]
        return transforms.irfft2(transforms.rfft2(b) / spectrum[..., : width // 2 + 1], s=(height, width))
    return transforms.ifft2(transforms.fft2(b) / spectrum)


class Circulant(LinearOperator):
    """An operator on images (batch, height, width) whose A^H A is a circular convolution: diagonal in the
    two-dimensional Fourier basis.

    A subclass writes ``gram_spectrum`` besides ``forward`` and ``adjoint``; equations with A^H A, and with sums of
    such, then have a closed form.

    Attributes:
        real: whether real images have real results.
        diagonal: False where a boundary keeps A^H A from being such a convolution after all.
    """

    real = True
    diagonal = True

    def __init__(self, input_shape: Shape, output_shape: Shape) -> None:
        super().__init__(input_shape, output_shape)
        if type(self).gram_spectrum is Circulant.gram_spectrum:
            raise TypeError(f"{type(self).__name__} is a Circulant without `gram_spectrum`")

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """The eigenvalues of A^H A in the order of ``fft2``, with a leading size of 1 where all images share them."""
        raise TypeError(f"{type(self).__name__} has no Gram spectrum")

    def weighted_spectrum(self, weight: Tensor, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """The eigenvalues of A^H W A, W the multiplication by ``weight``: one number, or one per channel (channels, 1,
        1) where the operator has such.
        """
        if weight.numel() != 1:
            raise ValueError(f"{type(self).__name__} takes one weight for all of its output; got {tuple(weight.shape)}")
        # of three dimensions, so that the dtypes are promoted
        return weight.reshape(1, 1, 1) * self.gram_spectrum(height, width)

    def solve_normal(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """(A^H A + rho I)^-1 b = F^-1 [F b / (spectrum + rho)], rho > 0."""
        return divide(b, self.gram_spectrum(*b.shape[-2:]) + rho, real=self.real)


def has_spectrum(operator: LinearOperator) -> TypeGuard[Circulant]:
    """Whether A^H A is diagonal in the two-dimensional Fourier basis."""
    return isinstance(operator, Circulant) and operator.diagonal


class Identity(Circulant):
    """A x = x: denoising."""

    def __init__(self) -> None:
        super().__init__((None, None), (None, None))

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """Ones."""
        return torch.ones(1, height, width)

    def solve_normal(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """b / (1 + rho)."""
        return b / (1 + rho)
