"""``rfft2`` and ``irfft2`` whose gradients stay with half spectra.

PyTorch's own gradient of ``rfft2`` transforms a whole complex spectrum, half of it zeros; the adjoint is the other
transform of the pair with the columns that stand for two frequencies weighted, at half the time. With G the gradient of
a half spectrum, g that of an image of N pixels, and c = 1 for the columns of frequency 0 and, for even widths, of the
highest one, and 2 for the others:

    rfft2:   N irfft2(G / c),        irfft2:   (c / N) rfft2(g).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.core.execution import transformed
from unrolling.operators import transforms

Size = tuple[int, int]


def _counts(width: int, like: Tensor) -> Tensor:
    """How many frequencies each column of a half spectrum stands for."""
    counts = torch.full((width // 2 + 1,), 2.0, dtype=like.real.dtype, device=like.device)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    return counts


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return transforms.rfft2(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.size = tuple(inputs[0].shape[-2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        height, width = ctx.size
        return irfft2(grad * (height * width / _counts(width, grad)), ctx.size)


class _Inverse(torch.autograd.Function):
    @staticmethod
    def forward(spectrum: Tensor, size: Size) -> Tensor:
        return transforms.irfft2(spectrum, s=size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Size], output: Tensor) -> None:
        ctx.size = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        height, width = ctx.size
        spectrum = rfft2(grad)
        return spectrum * (_counts(width, spectrum) / (height * width)), None


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether a gradient written by hand is of use: one is asked for, and what runs is no trace or transform,
    which know torch's own operations best.
    """
    compiling = torch.compiler.is_compiling()  # pyright: ignore[reportPrivateImportUsage]
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors) and not (compiling or transformed())


def rfft2(x: Float[Tensor, "*batch height width"]) -> Complex[Tensor, "*batch height half"]:
    """The half spectrum of real images; ``torch.fft.rfft2``."""
    return _Forward.apply(x) if needs_gradient(x) else transforms.rfft2(x)  # pyright: ignore[reportReturnType]


def irfft2(spectrum: Complex[Tensor, "*batch height half"], size: Size) -> Float[Tensor, "*batch height width"]:
    """The real images (height, width) with a half spectrum; ``torch.fft.irfft2``."""
    if needs_gradient(spectrum):
        return _Inverse.apply(spectrum, size)  # pyright: ignore[reportReturnType]
    return transforms.irfft2(spectrum, s=size)
