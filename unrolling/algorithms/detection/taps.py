"""Taps of a channel with memory: from pilots, and whether a received sequence is one that they put out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.detection.trellis import Observed, check_trellis
from unrolling.core.refusals import explained

WINDOW, MOST = 100, 6000  # symbols of a window, and of all that are looked at
STEP, LOWEST, HIGHEST = 1.0, -6.0, 24.0  # dB, of the noise variances that are tried
FEW = 1.2  # the Kolmogorov-Smirnov distance times the root of the count that chance hardly exceeds, beside ...
SMALL = 0.06  # ... the distance that changes few decisions


class ChannelEstimate(NamedTuple):
    """Of a channel."""

    taps: Tensor  # h (1, L), newest symbol first
    noise_variance: Tensor  # sigma^2 (1, 1)


class TapsFit(NamedTuple):
    """How received sequences fit a channel's taps."""

    snr: float  # 1 / sigma^2 in dB under which they are likeliest
    distance: float  # largest difference of the distribution functions of y and of the channel's output
    limit: float  # what it may be
    count: int  # symbols that were looked at

    @property
    def good(self) -> bool:
        """Whether the distribution of y is that of the channel's output."""
        return self.distance <= self.limit


@explained
def least_squares_taps(y: Tensor, symbols: Tensor, memory: int) -> ChannelEstimate:
    """h = argmin sum_t (y_t - sum_j h_j a_(t - j))^2 over the times whose L symbols are all known, and the mean square
    that it leaves, over its degrees of freedom.

    Args:
        y: (batch, T).
        symbols: a (batch, T), the values that were sent.
        memory: L.

    Raises:
        ValueError: shapes that differ, too few symbols, symbols that do not determine the taps.
    """
    if y.ndim != 2 or y.shape != symbols.shape:
        raise ValueError(f"y and symbols are (batch, T), alike; got {tuple(y.shape)} and {tuple(symbols.shape)}")
    rows = symbols.double().unfold(1, memory, 1).flip(2).flatten(0, 1)  # newest first
    right = y.double()[:, memory - 1 :].flatten()
    if len(rows) <= memory:
        raise ValueError(f"{len(rows)} times whose {memory} symbols are all known do not determine {memory} taps")
    if int(torch.linalg.matrix_rank(rows)) < memory:
        raise ValueError(f"the symbols do not determine {memory} taps: some combination of {memory} in a row is zero")
    return fitted(rows, right)


def fitted(rows: Tensor, right: Tensor) -> ChannelEstimate:
    """h = argmin |right - rows h|^2 in double precision, (T, L) and (T,); a noise variance below 1e-12 of the energy is
    rounding.
    """
    taps = torch.linalg.lstsq(rows, right.unsqueeze(1)).solution.squeeze(1)
    left = (right - rows @ taps).square().sum() / max(1, len(rows) - rows.shape[1])
    least = (1e-12 * right.square().mean()).clamp_min(torch.finfo(torch.float32).tiny)
    return ChannelEstimate(taps.float().unsqueeze(0), torch.maximum(left, least).float().reshape(1, 1))


@explained
def fit_to_taps(y: Tensor, taps: Tensor, levels: Tensor) -> TapsFit:
    """Whether received sequences came out of a channel, for symbols that are drawn alike.

    The noise variance is the one under which log p(y | h, sigma^2) is largest, all state sequences summed over (the
    forward recursion of Bahl, Cocke, Jelinek and Raviv 1974, doi:10.1109/TIT.1974.1055186): with other taps it counts
    as noise what they do not explain. Then the distribution of y_t is compared with the mixture of Gaussians around the
    outputs of the M^L states, by the distance of Kolmogorov and Smirnov. y_t and y_(t + L) have no symbol in common and
    are independent, so that the mean of the distances of each L-th sample has a known law; it may reach what chance
    does, or 0.06. The sign of all taps together cannot be told from y.

    Args:
        y: (batch, T); of long sequences, 6,000 symbols are looked at.
        taps: (1, L), newest symbol first.
        levels: (M,).
    """
    memory = taps.shape[1]
    y = y.double()
    trellis = check_trellis(len(levels), memory)
    output = (levels.double()[trellis.symbols()] @ taps[0].double()).to(y)
    windows = _windows(y)
    tried = torch.arange(LOWEST, HIGHEST + STEP / 2, STEP, dtype=torch.float64)
    rates = torch.stack([_likelihood(windows, output, 10 ** (-snr / 10), len(levels)) for snr in tried.tolist()])
    snr = float(tried[rates.argmax()])
    deviation = 10 ** (-snr / 20)
    distances, counts = [], []
    for phase in range(memory):
        sample = windows[:, phase::memory].flatten().sort().values
        expected = torch.special.ndtr((sample.unsqueeze(1) - output) / deviation).mean(1)
        place = torch.arange(len(sample) + 1, dtype=torch.float64) / len(sample)
        distances.append(float(torch.maximum((place[1:] - expected).abs(), (expected - place[:-1]).abs()).max()))
        counts.append(len(sample))
    limit = max(SMALL, FEW / (sum(counts) / memory) ** 0.5)
    return TapsFit(snr, sum(distances) / memory, limit, windows.numel())


def _windows(y: Tensor) -> Tensor:
    """Windows (count, W) of sequences, W at most 100: the states of a channel are equally likely at any time, so that a
    window is a sequence of its own.
    """
    length = min(WINDOW, y.shape[1])
    windows = y.unfold(1, length, length).flatten(0, 1)
    most = max(1, MOST // length)
    if len(windows) <= most:
        return windows
    return windows[torch.linspace(0, len(windows) - 1, most, dtype=torch.float64).long()]


def _likelihood(y: Tensor, output: Tensor, variance: float, levels: int) -> Tensor:
    """log p(y), all windows together."""
    near = (y.unsqueeze(2) - output).square() / (-2 * variance)  # (count, W, states)
    rest = len(output) // levels
    messages = near[:, 0]
    for t in range(1, y.shape[1]):
        # A state keeps all of the last state's symbols but the oldest, and adds one of equal chance.
        before = messages.reshape(-1, rest, levels).logsumexp(2)
        messages = near[:, t] + before.repeat(1, levels)
    constant = torch.tensor(float(levels)).log() + 0.5 * torch.tensor(2 * torch.pi * variance).log()
    return messages.logsumexp(1).sum() - y.numel() * constant


def viterbi_data(y: Tensor, channel: ChannelEstimate) -> Observed:
    """Sequences with their channel, for a detector with a Gaussian likelihood."""
    return Observed(y, channel.taps.to(y), None, channel.noise_variance.to(y))
