"""Soft bits: log-likelihood ratios of the bits that symbols stand for, from detectors or exact, and how good they
are.
"""

from __future__ import annotations

from math import exp, log, prod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unrolling.algorithms.detection.mimo import (
    Received,
    at_unit_gain,
    check_received,
    check_rising,
    gray_labels,
)
from unrolling.core.refusals import explained

EXHAUSTIVE = 1 << 20  # vectors of symbols that are summed over at most
ENTRIES = 1 << 22  # numbers in memory at a time, of a sum over all vectors
WIDEST, STEPS, NARROWEST = 23.0, 40, 1e-3  # of the search for a factor, in its logarithm


@explained
def level_llrs(logs: Float[Tensor, "*batch M"]) -> Float[Tensor, "*batch bits"]:
    """log sum_{s: bit = 0} p(s) - log sum_{s: bit = 1} p(s) of each bit of Gray's labels (``gray_labels``), without
    overflow.

    Args:
        logs: log p(s) of all levels in turn, up to a constant.

    Raises:
        ValueError: a number of levels that is no power of two.
    """
    one = gray_labels(logs.shape[-1]).bool().to(logs.device)  # (M, bits)
    each = logs.unsqueeze(-1)
    low = torch.finfo(logs.dtype).min
    return torch.logsumexp(each.masked_fill(one, low), -2) - torch.logsumexp(each.masked_fill(~one, low), -2)


@explained
def gaussian_llrs(z: Tensor, variance: Tensor, levels: Tensor) -> Tensor:
    """``level_llrs`` of symbols in Gaussian noise, log p(s) = -(z - s)^2 / (2 tau^2), (*batch, bits). For two levels -a
    and a, labels 0 and 1, it is -2 a z / tau^2.

    Args:
        z: any shape.
        variance: tau^2 > 0, broadcasts to z.
        levels: (M,), rising.

    Raises:
        TypeError, ValueError: as for ``check_rising``.
    """
    check_rising(levels)
    return level_llrs(-(z.unsqueeze(-1) - levels.to(z)).square() / (2 * variance.unsqueeze(-1)))


@explained
def exact_llrs(data: Received, levels: Tensor) -> Tensor:
    """The ratios of the true posterior, (batch, K, bits), all M^K vectors of symbols equally likely beforehand and
    summed over; what no detector can surpass. In double precision.

    Args:
        data: with its noise variance.
        levels: (M,) of a real dimension, rising.

    Raises:
        TypeError, ValueError: as for ``check_received``; no noise variance, or one that is not positive; more than
            2^20 vectors of symbols.
    """
    check_received(data, needs_noise=True)
    check_rising(levels)
    streams, order = data.channel.shape[2], len(levels)
    count = order**streams
    if count > EXHAUSTIVE:
        raise ValueError(
            f"{order} levels in {streams} real streams are {count:.2g} vectors, and at most {EXHAUSTIVE:,} are summed "
            "over: use a detector (soft_bits)"
        )
    y, channel, noise = (t.double() for t in at_unit_gain(data) if t is not None)
    if bool((noise <= 0).any()):
        raise ValueError(f"noise_variance is positive; the smallest is {float(noise.min()):.4g}")
    index = torch.cartesian_prod(*[torch.arange(order)] * streams).reshape(count, streams).to(y.device)
    vectors = levels.to(y)[index].mT  # (K, count)
    found = []
    at_once = max(1, ENTRIES // (count * y.shape[1]))
    for first in range(0, max(len(y), 1), at_once):
        part = slice(first, first + at_once)
        own = channel if channel.shape[0] == 1 else channel[part]
        left = (y[part].unsqueeze(2) - own @ vectors).square().sum(1)  # (batch, count)
        logs = (-left / (2 * (noise if noise.shape[0] == 1 else noise[part]))).unflatten(1, (order,) * streams)
        axes = range(1, streams + 1)
        levels_of = [logs.logsumexp([a for a in axes if a != k]) if streams > 1 else logs for k in axes]
        found.append(level_llrs(torch.stack(levels_of, 1)))
    return torch.cat(found)


@explained
def mutual_information(llrs: Tensor, bits: Tensor) -> float:
    """1 - mean log2(1 + exp(-(1 - 2 b) L)): how many bits a ratio tells about its bit, at most one, at most that of the
    true ratios, and below zero where they mislead (ten Brink 2001, doi:10.1109/26.957394, by time averages).

    Args:
        llrs: L, any shape.
        bits: b, of the same shape, 0 or 1.

    Raises:
        ValueError: shapes that differ, other numbers than bits.
    """
    _check_bits(llrs, bits)
    signs = (1 - 2 * bits).double()
    return 1 - float(functional.softplus(-signs * llrs.double()).mean()) / log(2)


@explained
def best_factor(llrs: Tensor, bits: Tensor) -> float:
    """a > 0 for which a L tells most about the bits and about one more, of median |L| and the wrong sign, without which
    few bits could be certain: the information is concave in a, and its greatest value is found by halving an interval
    of log a.

    Args:
        llrs: L, any shape.
        bits: of the same shape, 0 or 1.

    Raises:
        ValueError: as for ``mutual_information``.
    """
    _check_bits(llrs, bits)
    right = ((1 - 2 * bits).double() * llrs.double()).flatten()
    right = torch.cat([right, -right.abs().median().reshape(1)])

    def rising(exponent: float) -> bool:
        return float((right * torch.sigmoid(-exp(exponent) * right)).mean()) > 0

    low, high = -WIDEST, WIDEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) else (low, middle)
        if high - low < NARROWEST:
            break
    return exp((low + high) / 2)


def _check_bits(llrs: Tensor, bits: Tensor) -> None:
    if llrs.shape != bits.shape or not prod(llrs.shape):
        raise ValueError(f"there is one ratio for each bit; got shapes {tuple(llrs.shape)} and {tuple(bits.shape)}")
    if not bool(((bits == 0) | (bits == 1)).all()):
        raise ValueError("bits are 0 or 1")
