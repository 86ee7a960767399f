"""Soft bits of received vectors from a detector that is an iteration, beside those of LMMSE and of a list."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.detection.bit_ratios import best_factor, gaussian_llrs, level_llrs, mutual_information
from unrolling.algorithms.detection.breadth_first import list_llrs
from unrolling.algorithms.detection.mimo import Received, check_received, gray_labels, noise_of
from unrolling.algorithms.detection.received_noise import linear_estimate
from unrolling.algorithms.detection.safeguarded import blocks, simulate_received
from unrolling.core import Unrolled
from unrolling.core.refusals import explained

NETWORK, LMMSE, LIST = "network", "LMMSE", "list"
LENGTH = 64  # of the list
BETTER = 1e-3  # bits in a bit that another source has to tell more than the network


class SoftBits(NamedTuple):
    """Log-likelihood ratios, and where they are from."""

    llrs: Tensor  # log p(bit = 0 | y) / p(bit = 1 | y), (batch, K, bits of a real dimension)
    source: str  # network, LMMSE or list
    factor: float  # what the source's own were multiplied by
    information: Mapping[str, float]  # bits in a bit that each source told about drawn ones; empty without a trial


@explained
@torch.no_grad()
def soft_bits(network: Unrolled, data: Received, *, trials: int = 500, seed: int = 0) -> SoftBits:
    """Log-likelihood ratios of the bits behind received vectors, from the last layer of a detector.

    An iteration that sees each symbol in Gaussian noise (OAMP, expectation propagation, AMP, MMNet) gives those of its
    last such observation; DetNet's scores are probabilities. A network that was trained for its decisions need not be
    right about how sure it is, so vectors are drawn and sent over the channels that were given, from the first to the
    last, in their noise: the ratios are multiplied by the factor that tells most about the n drawn bits
    (``best_factor``) and limited to log 2 n, since n bits vouch for no more. The same is done with LMMSE's ratios and
    with those of a list of 64 vectors (``list_llrs``), and which of the three tells most is taken; the network where it
    is less than a thousandth behind.

    Args:
        network: an unrolled detector.
        data: with the noise variance; DetNet needs it for the trial alone.
        trials: vectors that are drawn; 0 leaves the trial out, and the network's ratios as they are.
        seed: of these.

    Raises:
        TypeError: no unrolled detector, or one without probabilities.
        ValueError: as for ``check_received``; fewer trials than none; no noise variance, or no channel of finite
            numbers, to draw with.
    """
    if not isinstance(network, Unrolled) or not hasattr(network.layers[0], "level_logs"):
        raise TypeError(f"soft bits come from an unrolled detector; got a {type(network).__name__}")
    if trials < 0:
        raise ValueError(f"trials is a number of vectors, 0 for none; got {trials}")
    check_received(data, needs_noise=bool(trials) or network.layers[0].needs_noise)
    if not trials or not len(data.y):
        own = torch.cat([network_llrs(network, part) for part in blocks(data)])
        return SoftBits(own, NETWORK, 1.0, {})
    levels: Tensor = network.layers[0].levels
    sources = {
        NETWORK: lambda given: network_llrs(network, given),
        LMMSE: lambda given: linear_llrs(given, levels),
        LIST: lambda given: list_llrs(given, levels, LENGTH),
    }
    trial, sent = simulate_received(data, _spread(data, trials), levels, torch.Generator().manual_seed(seed))
    bits = gray_labels(len(levels)).to(sent.device)[sent]
    most = log(2 * bits.numel())
    factors, told = {}, {}
    for name, make in sources.items():
        found = make(trial)
        factors[name] = best_factor(found, bits)
        told[name] = mutual_information((factors[name] * found).clamp(-most, most), bits)
    best = max(told, key=lambda name: told[name] + (BETTER if name == NETWORK else 0.0))
    llrs = torch.cat([sources[best](part) for part in blocks(data)])
    return SoftBits((factors[best] * llrs).clamp(-most, most).to(data.y), best, factors[best], told)


def _spread(data: Received, trials: int) -> Tensor:
    """So many vectors from the first to the last, those left out whose channel or noise holds no finite numbers.

    Raises:
        ValueError: there are no others.
    """
    finite = data.channel.isfinite().flatten(1).all(1) & noise_of(data).isfinite().all(1)
    usable = finite.expand(len(data.y)).nonzero().squeeze(1)
    if not len(usable):
        raise ValueError("no vector has a channel and a noise variance of finite numbers to draw with")
    steps = torch.arange(trials)
    return usable[steps * len(usable) // trials if len(usable) > trials else steps % len(usable)]


def network_llrs(network: Unrolled, data: Received) -> Tensor:
    """Those of the last layer as they are, (batch, K, bits)."""
    pairs = network.prepared(data)
    state = pairs[0][0].start(pairs[0][1])
    for layer, problem in pairs[:-1]:
        state = layer(state, problem)
    layer, problem = pairs[-1]
    return level_llrs(layer.level_logs(state, problem))


def linear_llrs(data: Received, levels: Tensor) -> Tensor:
    """Those of the unbiased linear estimate of least mean square error, its error taken to be Gaussian, (batch, K,
    bits), in double precision.
    """
    z, error = linear_estimate(data, noise_of(data))
    return gaussian_llrs(z, error.expand_as(z), levels.to(z))
