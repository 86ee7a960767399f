"""The closed forms that blind deblurring by half-quadratic splitting is made of: features, kernel, image (survey (10)
and (11)).

Spectra are those of ``rfft2``; images and features lie on one periodic grid, and a kernel's origin is at (kh // 2, kw
// 2).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.core.arguments import check_range
from unrolling.operators.half_spectrum import Size, irfft2, needs_gradient, rfft2
from unrolling.operators.spectral import wrap


def kernel_spectrum(kernel: Float[Tensor, "batch kh kw"], size: Size) -> Complex[Tensor, "batch height half"]:
    """F k on a grid of ``size``."""
    return rfft2(wrap(kernel, *size))


def sharpen(
    features: Tensor, sparse: Tensor, kernel: Tensor, coupling: Float[Tensor, "*batch channels"]
) -> Complex[Tensor, "batch channels height half"]:
    """M1: g_i = argmin 0.5 |f_i * y - k * g_i|^2 + |g_i - z_i|^2 / (2 zeta_i), in the Fourier domain.

    Args:
        features: the spectra of f_i * y, (batch, channels, height, half).
        sparse: those of z_i.
        kernel: that of k, (batch, height, half).
        coupling: zeta; of each image its own where it is (batch, channels).
    """
    if needs_gradient(features, sparse, kernel, coupling):
        return _Sharpen.apply(features, sparse, kernel, coupling)  # pyright: ignore[reportReturnType]
    return _sharpen(features, sparse, kernel, coupling)


def _sharpen(features: Tensor, sparse: Tensor, kernel: Tensor, coupling: Tensor) -> Tensor:
    zeta, k = maps(coupling), kernel.unsqueeze(1)
    # a complex product takes a third of the time of a division
    return (zeta * (k.conj() * features) + sparse) * (1 / (zeta * _square(k) + 1))


class _Sharpen(torch.autograd.Function):
    """M1 with its gradient written out. With G that of g, h = G / (zeta |k|^2 + 1), a_i = f_i y conj(h_i) and b_i =
    Re(g_i conj(h_i)):

    z: h;  f y: zeta k h;  k: sum_i zeta_i (a_i - 2 b_i k);  zeta_i: sum Re(conj(k) a_i) - |k|^2 b_i over images and
    (half) frequencies.
    """

    @staticmethod
    def forward(features: Tensor, sparse: Tensor, kernel: Tensor, coupling: Tensor) -> Tensor:
        return _sharpen(features, sparse, kernel, coupling)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        features, _, kernel, coupling = inputs
        ctx.save_for_backward(features, kernel, coupling, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:  # pyright: ignore
        features, kernel, coupling, sharp = ctx.saved_tensors
        zeta, k = maps(coupling), kernel.unsqueeze(1)
        square = _square(kernel)
        h = grad * (1 / (zeta * square.unsqueeze(1) + 1))
        a = torch.view_as_real(features * h.conj()).flatten(2)  # (batch, channels, 2 frequencies)
        b = (torch.view_as_real(sharp) * torch.view_as_real(h)).sum(-1).flatten(2)
        by_coupling = a @ torch.view_as_real(kernel).flatten(1).unsqueeze(-1) - b @ square.flatten(1).unsqueeze(-1)
        first = torch.view_as_complex(_added(coupling, a).unflatten(1, (*kernel.shape[1:], 2)))
        by_kernel = first - 2 * _added(coupling, b).unflatten(1, kernel.shape[1:]) * kernel
        by_coupling = by_coupling.sum((0, 2)) if coupling.ndim == 1 else by_coupling.squeeze(2)
        return (zeta * k) * h if ctx.needs_input_grad[0] else None, h, by_kernel, by_coupling


def maps(values: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels 1 1"]:
    """One number of each channel, for all pixels or frequencies."""
    return values.reshape(*values.shape, 1, 1)


def _added(coupling: Tensor, each: Tensor) -> Tensor:
    """sum_i zeta_i a_i over channels, (batch, channels, n) -> (batch, n)."""
    return coupling @ each if coupling.ndim == 1 else (coupling.unsqueeze(1) @ each).squeeze(1)


def fit_kernel(features: Tensor, sparse: Tensor, ridge: Tensor | float) -> Complex[Tensor, "batch height half"]:
    """M3 before projection: argmin_k 0.5 sum_i |f_i * y - k * z_i|^2 + (eps / 2) |k|^2, in the Fourier domain."""
    cross, energy = correlations(features, sparse)
    return cross * (1 / (energy + ridge))


def move_kernel(features: Tensor, sparse: Tensor, before: Tensor, step: Tensor) -> Complex[Tensor, "batch height half"]:
    """argmin_k (tau / 2) sum_i |f_i * y - k * z_i|^2 + 0.5 |k - k'|^2, in the Fourier domain: a proximal step from k'
    instead of a ridge.

    Args:
        features: the spectra of f_i * y, (batch, channels, height, half).
        sparse: those of z_i.
        before: that of k', (batch, height, half).
        step: tau.
    """
    cross, energy = correlations(features, sparse)
    return (step * cross + before) * (1 / (step * energy + 1))


def correlations(
    features: Tensor, sparse: Tensor
) -> tuple[Complex[Tensor, "batch height half"], Float[Tensor, "batch height half"]]:
    """sum_i conj(z_i) f_i y and sum_i |z_i|^2, of spectra."""
    return (
        _Correlations.apply(features, sparse) if needs_gradient(features, sparse) else _correlations(features, sparse)
    )  # pyright: ignore[reportReturnType]


def _correlations(features: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
    return (sparse.conj() * features).sum(1), _square(sparse).sum(1)


class _Correlations(torch.autograd.Function):
    """With C the gradient of the first and E that of the second, that of z_i is conj(C) f_i y + 2 E z_i and that of f_i
    y is C z_i.
    """

    @staticmethod
    def forward(features: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        return _correlations(features, sparse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, cross: Tensor, energy: Tensor) -> tuple[Tensor | None, Tensor]:  # pyright: ignore
        features, sparse = ctx.saved_tensors
        c = cross.unsqueeze(1)
        return c * sparse if ctx.needs_input_grad[0] else None, torch.addcmul(
            c.conj() * features, sparse, (2 * energy).unsqueeze(1).to(sparse.dtype)
        )


def deconvolve(image: Tensor, kernel: Tensor, ridge: Tensor | float) -> Complex[Tensor, "batch colours height half"]:
    """argmin_x |y - k * x|^2 + beta |x|^2, in the Fourier domain.

    Args:
        image: the spectrum of y, (batch, colours, height, half).
        kernel: that of k, (batch, height, half).
        ridge: beta.
    """
    k = kernel.unsqueeze(1)
    return k.conj() * image * (1 / (_square(k) + ridge))


def crop_kernel(
    spectrum: Tensor, size: Size, support: Size
) -> tuple[Float[Tensor, "batch kh kw"], Float[Tensor, "batch height width"]]:
    """The part of a kernel around its origin, and the whole of it on its grid (origin at (0, 0))."""
    whole = irfft2(spectrum, size)
    rows, columns = support
    return whole.roll((rows // 2, columns // 2), (-2, -1))[..., :rows, :columns], whole


def normalise_kernel(kernel: Float[Tensor, "batch kh kw"], least: float = 1e-8) -> Float[Tensor, "batch kh kw"]:
    """N_1 [k]_+: negative entries set to zero, then divided by the sum, which is 1; of a kernel that is nowhere
    positive, a single 1 in the middle.

    Args:
        kernel: any numbers.
        least: added to the middle, so that there is always a sum to divide by.
    """
    check_range(least, "least", 0.0, above=True)
    rows, columns = kernel.shape[-2:]
    middle = torch.zeros_like(kernel[:1])
    middle[:, rows // 2, columns // 2] = least
    positive = torch.relu(kernel) + middle
    return positive / positive.sum((-2, -1), keepdim=True)


def retrieve(
    image: Tensor, sharp: Tensor, kernel: Tensor, filters: Tensor, weight: Float[Tensor, "*batch channels"]
) -> Complex[Tensor, "batch colours height half"]:
    """M4, survey (11): x = argmin 0.5 |y - k * x|^2 + sum_i (eta_i / 2) |f_i * x - g_i|^2, in the Fourier domain.

    With three colours, f_i * x = sum_c f_ic * x_c, and a 3 x 3 equation is solved at each frequency.

    Args:
        image: the spectrum of y, (batch, colours, height, half).
        sharp: those of g_i, (batch, channels, height, half).
        kernel: that of k, (batch, height, half).
        filters: those of f_ic, (channels, colours, height, half).
        weight: eta; of each image its own where it is (batch, channels), for grey images.
    """
    eta, k = weight.reshape(*weight.shape, 1, 1, 1), kernel.unsqueeze(1)
    right = k.conj() * image + (eta * filters.conj() * sharp.unsqueeze(2)).sum(1)
    if image.shape[1] == 1:
        return right * (1 / (_square(k) + (eta * _square(filters)).sum(-4)))
    # (colours, colours) at each frequency; the kernel adds |k|^2 to its diagonal.
    gram = (eta.unsqueeze(1) * filters.conj().unsqueeze(2) * filters.unsqueeze(1)).sum(0).movedim((0, 1), (-2, -1))
    identity = torch.eye(image.shape[1], dtype=gram.dtype, device=gram.device)
    matrix = gram + _square(kernel)[..., None, None] * identity
    return torch.linalg.solve(matrix, right.movedim(1, -1)).movedim(-1, 1)


def _square(z: Tensor) -> Tensor:
    return z.real.square() + z.imag.square()
