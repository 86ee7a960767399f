"""Small images, what is measured of them, and algorithms for them."""

import torch
from iterations import gaussian

from unrolling.algorithms.images.diffusion import Diffusion
from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.data_terms import Blurred, KnownBlur, LeastSquares, SampledFourier
from unrolling.operators import CircularFilterBank, FilterBank, FiniteDifferences, Identity, KSpace
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.operators.fourier import fft
from unrolling.prox import soft_threshold
from unrolling.prox.influence import LinearSpline, RadialBasis
from unrolling.prox.isotropic import IsotropicShrink

HEIGHT, WIDTH, WEIGHT = 9, 8, 0.125  # a number that float32, in which numbers begin, holds exactly
COMPLEX = torch.complex128


def images(count=3, seed=0, shape=(HEIGHT, WIDTH)):
    return 0.5 + 0.2 * gaussian(count, *shape, seed=seed)


def complex_images(count=3, seed=0, shape=(HEIGHT, WIDTH)):
    return torch.complex(images(count, seed, shape), images(count, seed + 50, shape))


def mask(height=HEIGHT, width=WIDTH, rate=0.6):
    drawn = (torch.rand(1, height, width, generator=torch.Generator().manual_seed(0)) < rate).double()
    drawn[:, 0, 0] = 1
    return drawn


def kspace(x):
    m = mask(*x.shape[-2:])
    return KSpace(m * fft(x), m)


def blurred(x):
    kernel = gaussian(x.shape[0], 3, 3, seed=4).abs()
    kernel = kernel / kernel.sum((-2, -1), keepdim=True)
    return Blurred(KnownBlur().image(x, Blurred(x, kernel)), kernel)


def variation_splitting(weight=WEIGHT, penalty=1.0, **changes):
    return Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=penalty, **changes).double()


def learned_admm(real=True, size=3, knots=101, **changes):
    count = size**2 - 1
    filters = CircularFilterBank(BasisFilters(zero_mean_atoms(size, torch.float64), unit_norm=False))
    shrinkage = LinearSpline(
        count, knots, values=soft_threshold(torch.linspace(-1, 1, knots, dtype=torch.float64), 0.04)
    )
    splitting = Splitting(
        filters, shrinkage, penalty=0.25 * torch.ones(count, 1, 1), rate=1.5 * torch.ones(count, 1, 1)
    )
    return ADMM(SampledFourier(real=real), [splitting], **changes).double()


def diffusion(size=3, centres=15, **changes):
    filters = FilterBank(BasisFilters(zero_mean_atoms(size, torch.float64)), "symmetric")
    influence = RadialBasis(gaussian(size**2 - 1, centres, seed=3) * 0.01, -2, 2)
    return Diffusion(LeastSquares(Identity()), filters, influence, WEIGHT, **changes).double()


def few():
    return images(3, 0, (5, 4))


def few_complex():
    return complex_images(3, 0, (5, 4))
