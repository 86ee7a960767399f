"""The closed forms that blind deblurring by half-quadratic splitting is made of: features, kernel, image (survey (10) and (11)).

Spectra are those of ``rfft2``; images and features lie on one periodic grid, and a kernel's origin is at (kh // 2, kw // 2).
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.operators.spectral import wrap

Size = tuple[int, int]


def kernel_spectrum(kernel: Float[Tensor, "batch kh kw"], size: Size) -> Complex[Tensor, "batch height half"]:
    """F k on a grid of ``size``."""
    return torch.fft.rfft2(wrap(kernel, *size))


def sharpen(features: Tensor, sparse: Tensor, kernel: Tensor, coupling: Float[Tensor, " channels"]) -> Complex[Tensor, "batch channels height half"]:
    """M1: g_i = argmin 0.5 |f_i * y - k * g_i|^2 + |g_i - z_i|^2 / (2 zeta_i), in the Fourier domain.

    Args:
        features: the spectra of f_i * y, (batch, channels, height, half).
        sparse: those of z_i.
        kernel: that of k, (batch, height, half).
        coupling: zeta.
    """
    zeta, k = coupling.reshape(-1, 1, 1), kernel.unsqueeze(1)
    return (zeta * (k.conj() * features) + sparse) * (1 / (zeta * _square(k) + 1))  # a complex product takes a third of the time of a division


def fit_kernel(features: Tensor, sparse: Tensor, ridge: Tensor | float) -> Complex[Tensor, "batch height half"]:
    """M3 before projection: argmin_k 0.5 sum_i |f_i * y - k * z_i|^2 + (eps / 2) |k|^2, in the Fourier domain."""
    return (sparse.conj() * features).sum(1) * (1 / (_square(sparse).sum(1) + ridge))


def move_kernel(features: Tensor, sparse: Tensor, before: Tensor, step: Tensor) -> Complex[Tensor, "batch height half"]:
    """argmin_k (tau / 2) sum_i |f_i * y - k * z_i|^2 + 0.5 |k - k'|^2, in the Fourier domain: a proximal step from k' instead of a ridge.

    Args:
        features: the spectra of f_i * y, (batch, channels, height, half).
        sparse: those of z_i.
        before: that of k', (batch, height, half).
        step: tau.
    """
    return (step * (sparse.conj() * features).sum(1) + before) * (1 / (step * _square(sparse).sum(1) + 1))


def crop_kernel(spectrum: Tensor, size: Size, support: Size) -> tuple[Float[Tensor, "batch kh kw"], Float[Tensor, "batch height width"]]:
    """The part of a kernel around its origin, and the whole of it on its grid (origin at (0, 0))."""
    whole = torch.fft.irfft2(spectrum, s=size)
    rows, columns = support
    return whole.roll((rows // 2, columns // 2), (-2, -1))[..., :rows, :columns], whole


def normalise_kernel(kernel: Float[Tensor, "batch kh kw"], least: float = 1e-8) -> Float[Tensor, "batch kh kw"]:
    """N_1 [k]_+: negative entries set to zero, then divided by the sum, which is 1; of a kernel that is nowhere positive, a single 1 in the middle.

    Args:
        kernel: any numbers.
        least: added to the middle, so that there is always a sum to divide by.
    """
    rows, columns = kernel.shape[-2:]
    middle = torch.zeros_like(kernel[:1])
    middle[:, rows // 2, columns // 2] = least
    positive = torch.relu(kernel) + middle
    return positive / positive.sum((-2, -1), keepdim=True)


def retrieve(image: Tensor, sharp: Tensor, kernel: Tensor, filters: Tensor, weight: Float[Tensor, " channels"]) -> Complex[Tensor, "batch colours height half"]:
    """M4, survey (11): x = argmin 0.5 |y - k * x|^2 + sum_i (eta_i / 2) |f_i * x - g_i|^2, in the Fourier domain.

    With three colours, f_i * x = sum_c f_ic * x_c, and a 3 x 3 equation is solved at each frequency.

    Args:
        image: the spectrum of y, (batch, colours, height, half).
        sharp: those of g_i, (batch, channels, height, half).
        kernel: that of k, (batch, height, half).
        filters: those of f_ic, (channels, colours, height, half).
        weight: eta.
    """
    eta, k = weight.reshape(-1, 1, 1, 1), kernel.unsqueeze(1)
    right = k.conj() * image + (eta * filters.conj() * sharp.unsqueeze(2)).sum(1)
    if image.shape[1] == 1:
        return right * (1 / (_square(k) + (eta * _square(filters)).sum(0)))
    # (colours, colours) at each frequency; the kernel adds |k|^2 to its diagonal.
    gram = (eta.unsqueeze(1) * filters.conj().unsqueeze(2) * filters.unsqueeze(1)).sum(0).movedim((0, 1), (-2, -1))
    identity = torch.eye(image.shape[1], dtype=gram.dtype, device=gram.device)
    matrix = gram + _square(kernel)[..., None, None] * identity
    return torch.linalg.solve(matrix, right.movedim(1, -1)).movedim(-1, 1)


def _square(z: Tensor) -> Tensor:
    return z.real.square() + z.imag.square()
