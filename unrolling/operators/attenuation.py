"""Attenuation in 1/mm and in Hounsfield units, and the noise of projections: Gaussian, or of a number of photons."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_numbers, check_range
from unrolling.core.refusals import explained

WATER = 0.02  # 1/mm: of water at about 65 keV


@explained
def to_hounsfield(attenuation: Tensor, water: float = WATER) -> Tensor:
    """HU = 1000 (mu - mu_water) / mu_water.

    Args:
        attenuation: mu, 1/mm.
        water: mu of water, 1/mm.
    """
    check_numbers(attenuation, "attenuation", "to_hounsfield", real=True)
    check_range(water, "water", 0.0, above=True)
    return 1000 * (attenuation - water) / water


@explained
def from_hounsfield(hounsfield: Tensor, water: float = WATER) -> Tensor:
    """mu = mu_water (1 + HU / 1000), 1/mm; what lies below air, as the frame that scanners put around a slice, is 0.

    Args:
        hounsfield: HU: -1000 of air, 0 of water.
        water: mu of water, 1/mm.
    """
    check_numbers(hounsfield, "hounsfield", "from_hounsfield", real=True)
    check_range(water, "water", 0.0, above=True)
    return water * (1 + hounsfield / 1000).clamp_min(0)


@explained
def with_gaussian_noise(
    projections: Float[Tensor, "batch views bins"], level: float, generator: torch.Generator | None = None
) -> Float[Tensor, "batch views bins"]:
    """y + e, e white of standard deviation ``level`` times the mean of |y| over each sinogram.

    Args:
        projections: y.
        level: 0.05 is 5 %.
        generator: of e.
    """
    check_numbers(projections, "projections", "with_gaussian_noise", real=True)
    check_range(level, "level", 0.0)
    size = projections.abs().mean((-2, -1), keepdim=True)
    noise = torch.randn(projections.shape, generator=generator, dtype=projections.dtype, device=projections.device)
    return projections + level * size * noise


@explained
def photon_counts(
    projections: Float[Tensor, "batch views bins"], photons: float, generator: torch.Generator | None = None
) -> Float[Tensor, "batch views bins"]:
    """Poisson counts of mean I_0 exp(-y), before the logarithm.

    Args:
        projections: y, without a unit: attenuation in 1/mm along rays in mm.
        photons: I_0, that meet each bin where nothing is in the way.
        generator: of the counts.
    """
    check_numbers(projections, "projections", "photon_counts", real=True)
    check_range(photons, "photons", 0.0, above=True)
    return torch.poisson(photons * torch.exp(-projections), generator=generator)


@explained
def from_counts(
    counts: Float[Tensor, "batch views bins"], photons: float | Tensor
) -> Float[Tensor, "batch views bins"]:
    """y = log(I_0 / counts), where no photon came as if one had.

    Args:
        counts: measured, at least 0.
        photons: I_0: one number, or one for each bin, a picture without an object.

    Raises:
        ValueError: negative counts: the logarithm has been taken already, or a background that was taken off is above
            the signal.
    """
    check_numbers(counts, "counts", "from_counts", real=True)
    if not isinstance(photons, Tensor):
        check_range(photons, "photons", 0.0, above=True)
    elif not bool((photons > 0).all()):
        raise ValueError("photons holds numbers that are not above 0: so many photons meet each bin without an object")
    if bool((counts < 0).any()):
        raise ValueError(
            f"counts holds {int((counts < 0).sum())} negative numbers, down to {float(counts.min()):g}; photons are "
            "counted from 0. Data after the logarithm need no conversion"
        )
    return (photons / counts.clamp_min(1)).log()
