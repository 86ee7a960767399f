"""Soft thresholding in an orthonormal basis."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from unrolling.core.refusals import explain_call
from unrolling.prox.denoisers import Denoised, SoftDenoiser
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


@explain_call
class OrthonormalDenoiser(nn.Module):
    """For message passing on images: W^H S_{alpha tau}(W r), W unitary and real, with its average derivative, the share
    of the coefficients that survive. With ``operators.Wavelet`` it makes AMP with wavelets of ``DenoisedAMP``.

    Parameters: ``coefficients.multiplier`` alpha and ``coefficients.gain``, as of ``SoftDenoiser``.

    Args:
        transform: W, such as ``operators.Wavelet``.
        multiplier: alpha >= 0.

    Raises:
        ValueError: a multiplier that is negative or not finite.
    """

    scale_free = True

    def __init__(self, transform: Unitary, multiplier: float | Tensor) -> None:
        super().__init__()
        self.transform, self.coefficients = transform, SoftDenoiser(multiplier)

    def forward(self, r: Tensor, variance: Tensor | None = None, *, deviation: Tensor | None = None) -> Denoised:
        """r (batch, height, width), variance tau^2 or deviation tau (batch, 1, 1); the derivative is (batch, 1, 1)."""
        found = self.coefficients(self.transform(r), variance, deviation=deviation)
        return Denoised(self.transform.adjoint(found.estimate), found.derivative.mean(-2, keepdim=True))
