"""Fourier transforms of ``torch.fft`` over the last dimension, or the last two, that take empty batches too, which
libraries for FFTs refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def fft(x: Tensor) -> Tensor:
    """``torch.fft.fft`` of (..., n)."""
    return _transform(torch.fft.fft, x, 1)


def ifft(x: Tensor) -> Tensor:
    """``torch.fft.ifft`` of (..., n)."""
    return _transform(torch.fft.ifft, x, 1)


def rfft(x: Tensor) -> Tensor:
    """``torch.fft.rfft`` of real (..., n)."""
    return _transform(torch.fft.rfft, x, 1)


def irfft(x: Tensor, n: int) -> Tensor:
    """``torch.fft.irfft`` of (..., n // 2 + 1), real of length n."""
    return _transform(torch.fft.irfft, x, 1, n=n)


def fft2(x: Tensor, norm: str | None = None) -> Tensor:
    """``torch.fft.fft2`` of (..., height, width)."""
    return _transform(torch.fft.fft2, x, 2, norm=norm)


def ifft2(x: Tensor, norm: str | None = None) -> Tensor:
    """``torch.fft.ifft2`` of (..., height, width)."""
    return _transform(torch.fft.ifft2, x, 2, norm=norm)


def rfft2(x: Tensor) -> Tensor:
    """``torch.fft.rfft2`` of real (..., height, width)."""
    return _transform(torch.fft.rfft2, x, 2)


def irfft2(x: Tensor, s: tuple[int, int]) -> Tensor:
    """``torch.fft.irfft2`` of (..., height, width // 2 + 1), real of size s."""
    return _transform(torch.fft.irfft2, x, 2, s=s)


def _transform(function: Callable[..., Tensor], x: Tensor, dimensions: int, **options: Any) -> Tensor:
    if 0 not in x.shape[:-dimensions]:
        return function(x, **options)
    # Of the right shape and dtype, and part of the graph, so that what is learned gets a gradient of zero.
    like = function(x.new_zeros(x.shape[-dimensions:]), **options)
    size = x.sum(tuple(range(-dimensions, 0)), keepdim=True)
    return (size if like.is_complex() else size.real) * like
