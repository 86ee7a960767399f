"""Soft thresholding in an orthonormal basis."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from unrolling.prox.thresholds import soft_threshold


class Unitary(Protocol):
    """What is needed of W: its action and that of its adjoint, which is its inverse."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def adjoint(self, y: Tensor) -> Tensor: ...


class OrthonormalShrink(nn.Module):
    """prox of t |W x|_1, W unitary: W^H S_t(W z), S_t the soft threshold of real or complex numbers.

    Donoho 1995, doi:10.1109/18.382009.

    Args:
        transform: W, such as ``operators.Wavelet``.
    """

    def __init__(self, transform: Unitary) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The minimiser of 0.5 |x - z|^2 + t |W x|_1."""
        return self.transform.adjoint(soft_threshold(self.transform(z), threshold))

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """t |W x|_1 of each sample, (batch,)."""
        return (threshold * self.transform(x).abs()).flatten(1).sum(1)
