"""What a receiver can tell of its noise and of the alphabet from what it received."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import MODULATIONS, Received, adjoint, apply, gram, mean_gain

CERTAIN = 5.0  # standard errors beyond which a difference is none of chance
NOTABLE = 1.5  # factor between two noise variances below which detectors do not notice
PRIOR = 10  # degrees of freedom that all vectors together lend to the estimate of one
LEAST = 1e-10  # of a stream's energy: noise below it does not count
GAINED = 0.02  # in the mean log-likelihood of a symbol by which another alphabet must be better


class NoiseEstimate(NamedTuple):
    """The noise variance of received vectors: what was told, and what they show."""

    variance: Tensor  # (batch, 1) or (1, 1): to be used
    ratio: float | None  # what the vectors show over what was told; None where nothing was told, or nothing is shown
    replaced: bool  # whether what was told was put aside for it


class AlphabetFit(NamedTuple):
    """How well symbols fit an alphabet."""

    power: float  # mean square of the symbols, one where channel and symbols belong together
    certain: bool  # whether that differs from one by more than chance
    likelier: str | None  # another alphabet that fits better than by chance, if there is one


def judge_noise(data: Received) -> NoiseEstimate:
    """The noise variance, told or estimated.

    Where N > K, y has N - K dimensions that H does not reach: the noise variance is |P y|^2 / (N - K), P the projection
    onto them, whatever the symbols (Kay, Fundamentals of Statistical Signal Processing, volume 1, chapter 4).
    Where N = K it is (|y|^2 - |H|_F^2) / N on average over many vectors. What was told is multiplied by the mean of
    their quotients where that differs from one by more than five standard errors and a factor of 1.5. Where nothing was
    told, each vector's own estimate is drawn to the mean of all, relative to their channels' gains, as by ten more
    degrees of freedom.

    Args:
        data: with or without its noise variance.
    """
    y, channel, told = data.y.double(), data.channel.double(), data.noise_variance
    count, antennas = y.shape
    free = antennas - channel.shape[2]
    gain = mean_gain(gram(channel)).reshape(-1, 1)
    if free > 0:
        solved, _ = _regularised(y, channel, LEAST * gain)
        shown = (y - apply(channel, solved)).square().sum(1, keepdim=True) / free
    else:
        shown = (y.square().sum(1, keepdim=True) - channel.square().sum((1, 2)).unsqueeze(1)) / antennas
    relative = shown / (gain if told is None else told.double())
    mean = float(relative.mean())
    spread = float(relative.std()) if count > 1 else float("inf")
    error = sqrt(2 / (count * free)) * max(mean, 1.0) if free > 0 else spread / sqrt(count)
    if told is None:
        floor = max(mean, error if free == 0 and error < float("inf") else 0.0, LEAST)
        drawn = (free * relative + PRIOR * floor) / (free + PRIOR) if free > 0 else torch.full_like(relative, floor)
        return NoiseEstimate((gain * drawn.clamp_min(LEAST)).to(data.y), None, False)
    if not error < 1:
        return NoiseEstimate(told, None, False)
    differs = abs(mean - 1) > CERTAIN * error and not 1 / NOTABLE < mean < NOTABLE
    if not differs:
        return NoiseEstimate(told, mean, False)
    return NoiseEstimate((told.double() * max(mean, error, 1e-12)).to(data.y), mean, True)


def linear_estimate(data: Received, variance: Tensor) -> tuple[Tensor, Tensor]:
    """The unbiased linear estimate of least mean square error, (batch, K), and the variance of its error, (batch, K) or
    (1, K), in double precision: 1 / (1 - E_kk) - 1, E = sigma^2 (H^T H + sigma^2 I)^-1.

    A noise variance below 1e-10 of a stream's energy counts as that, so that every channel has an answer.

    Args:
        data: of which the noise variance is not used.
        variance: sigma^2 (batch, 1) or (1, 1).
    """
    y, channel = data.y.double(), data.channel.double()
    variance = torch.maximum(variance.double(), LEAST * mean_gain(gram(channel)).reshape(-1, 1))
    solved, inverse = _regularised(y, channel, variance)
    remaining = (variance * inverse.diagonal(dim1=-2, dim2=-1)).clamp(1e-12, 1 - 1e-12)
    return solved / (1 - remaining), remaining / (1 - remaining)


def _regularised(y: Tensor, channel: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """(H^T H + r I)^-1 H^T y (batch, K), and the inverse."""
    products = gram(channel)
    identity = torch.eye(products.shape[-1], dtype=products.dtype, device=products.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(products + ridge.unsqueeze(-1) * identity)[0])
    return adjoint(inverse, adjoint(channel, y)), inverse


def judge_alphabet(data: Received, variance: Tensor, levels: Tensor) -> AlphabetFit:
    """Whether the symbols behind received vectors are of an alphabet, by their linear estimates z with errors of known
    variance v.

    Their mean square is that of z less v; where it is not one, they are scaled to it first. Another alphabet is named
    where the mean of log sum_s exp(-(z - s)^2 / 2 v) / M over all symbols is larger under it by 0.02 and by five
    standard errors. At a SNR at which alphabets cannot be told apart none is.

    Args:
        data: vectors with their channels.
        variance: sigma^2.
        levels: of the alphabet that is assumed.
    """
    z, error = linear_estimate(data, variance)
    error = error.expand_as(z)
    # Streams that noise covers say nothing, and their approximations would add up.
    heard = (error < 1).double()
    total = heard.sum(1)
    weight = float(total.sum())
    if weight < 1:
        return AlphabetFit(1.0, False, None)
    excess = ((z.square() - error - 1) * heard).sum(1)
    power = 1 + float(excess.sum()) / weight
    chance = float(excess.square().sum()) ** 0.5 / weight
    certain = power > 0 and abs(power - 1) > 0.1 + CERTAIN * chance
    if certain:  # alphabets are compared at their own scale
        z, error = z / power**0.5, error / power

    def likelihood(alphabet: Tensor) -> Tensor:
        exponent = -(z.unsqueeze(-1) - alphabet.to(z)).square() / (2 * error.unsqueeze(-1))
        each = torch.logsumexp(exponent, -1) - torch.log(torch.tensor(float(len(alphabet))))
        return (each * heard).sum(1)

    own = likelihood(levels)
    best, name = 0.0, None
    # Real alphabets are compared too: what matters is the number of levels of a dimension.
    for modulation in MODULATIONS.values():
        if modulation.order == len(levels) or modulation.name == "bpsk":
            continue
        gain = likelihood(modulation.levels()) - own
        mean = float(gain.sum()) / weight
        doubt = float((gain - gain.mean()).square().sum()) ** 0.5 / weight if len(gain) > 1 else float("inf")
        if mean > best and mean > GAINED + CERTAIN * doubt:
            best, name = mean, modulation.name
    return AlphabetFit(power, certain, name)
