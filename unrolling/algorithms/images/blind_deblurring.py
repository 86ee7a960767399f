"""Blind deblurring by half-quadratic splitting with any filters: total variation with two differences, DUBLID as the
survey writes it with learned ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.images.blind_steps import (
    crop_kernel,
    fit_kernel,
    kernel_spectrum,
    normalise_kernel,
    retrieve,
    sharpen,
)
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_numbers
from unrolling.operators.borders import extend
from unrolling.operators.half_spectrum import Size, irfft2, rfft2
from unrolling.operators.spectral import fast_size, wrap
from unrolling.prox import soft_threshold


class BlindState(NamedTuple):
    """The state of a blind deblurring."""

    kernel: Tensor  # (batch, kh, kw), non-negative, sum 1
    sharp: Tensor  # (batch, channels, height, half) complex: the spectra of the features g of the sharp image
    sparse: Tensor  # likewise: of z
    steps: int  # taken so far


class Outcome(NamedTuple):
    """What a blind deblurring finds: what a loss may look at in training."""

    image: Tensor  # (batch, height, width) or (batch, colours, height, width)
    kernel: Tensor  # (batch, kh, kw)


def differences(dtype: torch.dtype = torch.float32) -> Float[Tensor, "2 1 3 3"]:
    """The two finite differences D_x and D_y as filters (convolutions): x[p] minus the pixel before it."""
    filters = torch.zeros(2, 1, 3, 3, dtype=dtype)
    filters[:, 0, 1, 1] = 1
    filters[0, 0, 2, 1] = filters[1, 0, 1, 2] = -1
    return filters


class BlindDeblurring(Iteration):
    """Half-quadratic splitting for min_{k, g} sum_i (0.5 |f_i * y - k * g_i|^2 + lambda_i |g_i|_1) + (eps / 2) |k|^2, k
    >= 0, sum k = 1 (survey (7)-(11)).

    One step, pointwise in frequency where there are hats:

        g_i = (zeta_i conj(k) f_i y + z_i) / (zeta_i |k|^2 + 1),    z_i <- S_{lambda_i zeta_i}(g_i),
        k <- N_1 [ F^-1 ( sum_i conj(z_i) f_i y / (sum_i |z_i|^2 + eps) ) ]_+,

    with k restricted to its support before N_1. The estimate solves (11): min_x 0.5 |y - k * x|^2 + sum_i (eta_i / 2)
    |f_i * x - g_i|^2. Li, Tofighi, Geng, Monga and Eldar 2020, doi:10.1109/TCI.2020.2964202. (As printed, (10) lacks
    the hat on z_i^l and has a stray subscript in the kernel's step; that step takes z where the minimiser over k of (9)
    would take g. This is the survey's algorithm.)

    With ``differences()`` it is blind deblurring by total variation, (7), for which ``rate`` < 1 draws g to z from step
    to step.

    Parameters: ``filters`` f (channels, colours, fh, fw); ``weight`` lambda, ``coupling`` zeta, ``retrieval`` eta,
    positive (channels,).

    Args:
        filters: f at the start; convolutions, odd sides.
        weight: lambda.
        coupling: zeta.
        retrieval: eta.
        kernel_size: of k, odd.
        ridge: eps, fixed; relative to the mean over frequencies of sum_i |f_i y|^2.
        rate: zeta is multiplied by it after each step.
        least: the smallest multiple of zeta that it comes to.
        periodic: whether images are periodic; else they are the valid part of a larger blurred scene, continued
            mirrored by half a kernel and filtered, and their features are surrounded by zeros.

    Raises:
        ValueError: filters of another shape or with even sides, an even kernel size, values that are not positive, a
            rate or a least multiple outside (0, 1].
    """

    filters: Tensor
    weight: Tensor
    coupling: Tensor
    retrieval: Tensor

    def __init__(
        self,
        filters: Float[Tensor, "channels colours fh fw"],
        *,
        weight: float = 0.02,
        coupling: float = 10.0,
        retrieval: float = 0.05,
        kernel_size: int = 45,
        ridge: float = 1e-3,
        rate: float = 1.0,
        least: float = 1e-3,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        if filters.ndim != 4 or filters.shape[2] % 2 == 0 or filters.shape[3] % 2 == 0:
            raise ValueError(
                f"filters are (channels, colours, fh, fw) with odd sides; got shape {tuple(filters.shape)}"
            )
        check_kernel_size(kernel_size)
        for name, value in (("weight", weight), ("coupling", coupling), ("retrieval", retrieval), ("ridge", ridge)):
            if not value > 0:
                raise ValueError(f"{name} must be positive; got {value}")
        if not (0 < rate <= 1 and 0 < least <= 1):
            raise ValueError(f"rate and least lie in (0, 1]; got {rate} and {least}")
        self.filters = nn.Parameter(filters.detach().clone())
        channels = filters.shape[0]
        for name, value in (("weight", weight), ("coupling", coupling), ("retrieval", retrieval)):
            setattr(self, name, nn.Parameter(torch.full((channels,), value, dtype=filters.dtype)))
            constrain(self, name, Positive())
        self.kernel_size, self.ridge, self.rate, self.least, self.periodic = kernel_size, ridge, rate, least, periodic

    @property
    def colours(self) -> int:
        """1 for grey images (batch, height, width), 3 for (batch, 3, height, width)."""
        return self.filters.shape[1]

    def prepare(self, data: Tensor) -> Tensor:
        """The image with a dimension for colours."""
        return data.unsqueeze(1) if self.colours == 1 else data

    def start(self, problem: Tensor) -> BlindState:
        """k a single 1 in the middle, z = S_{lambda zeta}(f * y)."""
        kernel = normalise_kernel(problem.new_zeros(problem.shape[0], self.kernel_size, self.kernel_size))
        size = self._grid(problem)
        features = self._features(problem, size)
        sparse = rfft2(soft_threshold(irfft2(features, size), (self.weight * self.coupling).reshape(-1, 1, 1)))
        return BlindState(kernel, features, sparse, 0)

    def forward(self, state: BlindState, problem: Tensor) -> BlindState:
        size = self._grid(problem)
        features = self._features(problem, size)
        zeta = self.coupling * max(self.rate**state.steps, self.least) if self.rate < 1 else self.coupling
        sharp = sharpen(features, state.sparse, kernel_spectrum(state.kernel, size), zeta)
        sparse = rfft2(soft_threshold(irfft2(sharp, size), (self.weight * zeta).reshape(-1, 1, 1)))
        energy = (features.real.square() + features.imag.square()).sum(1).mean((-2, -1), keepdim=True)
        found, _ = crop_kernel(
            fit_kernel(features, sparse, self.ridge * energy), size, (self.kernel_size, self.kernel_size)
        )
        return BlindState(normalise_kernel(found), sharp, sparse, state.steps + 1)

    def estimate(self, state: BlindState, problem: Tensor) -> Tensor:
        """x of (11), (batch, height, width) or (batch, colours, height, width)."""
        return self.supervised(state, problem).image

    def supervised(self, state: BlindState, problem: Tensor) -> Outcome:
        """Image and kernel, for losses on both."""
        size = self._grid(problem)
        image = rfft2(self._embed(problem, size))
        found = retrieve(
            image, state.sharp, kernel_spectrum(state.kernel, size), self._filter_spectra(size), self.retrieval
        )
        return Outcome(cut(irfft2(found, size), problem, self._margin()), state.kernel)

    def residual(self, new: BlindState, old: BlindState, problem: Tensor) -> Tensor:
        """Of k, g and z; infinite until zeta has come to its least."""
        change = super().residual(new, old, problem)
        done = self.rate == 1 or self.rate**new.steps <= self.least
        return change if done else torch.full_like(change, torch.inf)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_image(data, self.colours, self.kernel_size)

    def advice(self) -> str:
        return "use a larger ridge"

    def _margin(self) -> int:
        return 0 if self.periodic else self.kernel_size - 1

    def _grid(self, problem: Tensor) -> Size:
        height, width = problem.shape[-2:]
        return (
            (height, width)
            if self.periodic
            else (fast_size(height + 2 * self._margin()), fast_size(width + 2 * self._margin()))
        )

    def _embed(self, images: Tensor, size: Size) -> Tensor:
        """The image on the grid, surrounded by zeros."""
        margin = self._margin()
        return nn.functional.pad(
            images, (margin, size[1] - margin - images.shape[-1], margin, size[0] - margin - images.shape[-2])
        )

    def _features(self, problem: Tensor, size: Size) -> Tensor:
        """The spectra of f_i * y."""
        rows, columns = self.filters.shape[-2:]
        wide = extend(
            problem, (rows // 2, rows // 2, columns // 2, columns // 2), "circular" if self.periodic else "symmetric"
        )
        return rfft2(self._embed(nn.functional.conv2d(wide, self.filters.flip((-2, -1))), size))

    def _filter_spectra(self, size: Size) -> Tensor:
        return rfft2(wrap(self.filters, *size))


def check_kernel_size(kernel_size: int) -> None:
    """Refuses the side of a kernel that has no middle.

    Raises:
        ValueError: it is even or not positive.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}; a kernel has an odd number of pixels along each side")


def check_image(data: Tensor, colours: int, kernel_size: int) -> None:
    """Refuses images of another number of dimensions or colours, or smaller than the kernel, from shapes alone.

    Raises:
        TypeError: no tensor of real numbers.
        ValueError: they do not fit.
    """
    check_numbers(data, "data", "blind deblurring", real=True)
    wanted = "(batch, height, width)" if colours == 1 else f"(batch, {colours}, height, width)"
    if data.ndim != (3 if colours == 1 else 4) or (colours > 1 and data.shape[1] != colours):
        raise ValueError(f"images have shape {wanted}; got {tuple(data.shape)}")
    if min(data.shape[-2:]) < kernel_size:
        raise ValueError(
            f"the kernel has {kernel_size} x {kernel_size} pixels, more than the image, which has "
            f"{data.shape[-2]} x {data.shape[-1]}"
        )


def cut(images: Tensor, like: Tensor, margin: int) -> Tensor:
    """The part of images on a grid that ``like`` lies in; grey ones without the dimension for colours."""
    height, width = like.shape[-2:]
    inner = images[..., margin : margin + height, margin : margin + width]
    return inner.squeeze(1) if inner.shape[1] == 1 else inner
