"""Pan-sharpening without iterations: details of the panchromatic image that are put into enlarged bands."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from unrolling.algorithms.images.pan_sharpening import statistics_of
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer, ratio_of

RIDGE = 1e-9  # of the largest product of two bands, so that equal bands have equal weights


def _prepared(data: Imagery, operator: ModulationTransfer) -> tuple[Tensor, Tensor]:
    """The enlarged bands and the reduced panchromatic image, in double precision."""
    ratio = ratio_of(data)
    if ratio != operator.factor:
        raise ValueError(f"the ratio of the data is {ratio}, and that of the operator {operator.factor}")
    pan = ModulationTransfer(operator.factor, sum(operator.gains) / len(operator.gains), operator.taps)
    return operator.enlarge(data.multispectral.double()), pan(data.panchromatic.double())


def _weights(bands: Tensor, reduced: Tensor) -> Tensor:
    """w, (batch, bands or bands + 1, 1, 1): least squares of a reduced panchromatic image on bands."""
    rows = bands.flatten(2)
    gram = rows @ rows.mT
    largest = gram.diagonal(dim1=-2, dim2=-1).amax(-1)
    ridge = (RIDGE * torch.where(largest > 0, largest, 1))[:, None, None] * torch.eye(gram.shape[-1]).to(gram)
    right = rows @ reduced.flatten(2).mT
    return torch.linalg.solve(gram + ridge, right).unsqueeze(-1)


def brovey(data: Imagery, operator: ModulationTransfer) -> Tensor:
    """x_b = u_b p / I with the intensity I = sum_b w_b u_b, u the enlarged bands, w by least squares of the reduced
    panchromatic image on the bands; (batch, bands, r h, r w).

    Gillespie, Kahle and Walker 1987, doi:10.1016/0034-4257(87)90088-5. A pixel's bands are multiplied by one positive
    number, so that the spectral angle stays; it is 1 where p or I is not positive.

    Raises:
        TypeError, ValueError: data that are no ``Imagery``, or of another ratio.
    """
    enlarged, reduced = _prepared(data, operator)
    weights = _weights(data.multispectral.double(), reduced)
    intensity, pan = (weights * enlarged).sum(1, keepdim=True), data.panchromatic.double()
    positive = (intensity > 0) & (pan > 0)
    ratio = torch.where(positive, pan / torch.where(positive, intensity, 1), 1)
    return (enlarged * ratio).to(data.multispectral.dtype)


def gram_schmidt_adaptive(data: Imagery, operator: ModulationTransfer) -> Tensor:
    """GSA: x_b = u_b + g_b (p - I), I = w_0 + sum_b w_b u_b, w by least squares of the reduced panchromatic image on
    the bands and g_b = cov(u_b, I) / var(I); (batch, bands, r h, r w).

    Aiazzi, Baronti and Selva 2007, doi:10.1109/TGRS.2007.901007.

    Raises:
        TypeError, ValueError: data that are no ``Imagery``, or of another ratio.
    """
    enlarged, reduced = _prepared(data, operator)
    y = data.multispectral.double()
    mean, pan_mean = y.mean((-2, -1), keepdim=True), reduced.mean((-2, -1), keepdim=True)
    weights = _weights(y - mean, reduced - pan_mean)
    intensity = pan_mean + (weights * (enlarged - mean)).sum(1, keepdim=True)
    gains = statistics_of(enlarged, intensity).slope
    return (enlarged + gains * (data.panchromatic.double() - intensity)).to(data.multispectral.dtype)


def mtf_glp(
    data: Imagery, operator: ModulationTransfer, gain: Literal["regression", "deviation"] = "regression"
) -> Tensor:
    """MTF-GLP: x_b = u_b + g_b (p - p_L), p_L the panchromatic image reduced by the sensor's transfer and enlarged;
    (batch, bands, r h, r w).

    Aiazzi, Alparone, Baronti, Garzelli and Selva 2006, doi:10.14358/PERS.72.5.591, as compared by Vivone et al. 2015,
    doi:10.1109/TGRS.2014.2361734.

    Args:
        data: bands and panchromatic image.
        operator: what the sensor does to the bands.
        gain: g_b is cov(u_b, p_L) / var(p_L), or the ratio of their deviations.

    Raises:
        TypeError, ValueError: data that are no ``Imagery``, or of another ratio; another gain.
    """
    if gain not in ("regression", "deviation"):
        raise ValueError(f"gain is {gain!r}; it is regression or deviation")
    enlarged, reduced = _prepared(data, operator)
    low = (
        operator.enlarge(reduced) if len(operator.gains) == 1 else ModulationTransfer(operator.factor).enlarge(reduced)
    )
    found = statistics_of(enlarged, low)
    gains = found.slope if gain == "regression" else found.deviation / found.pan_deviation
    return (enlarged + gains * (data.panchromatic.double() - low)).to(data.multispectral.dtype)
