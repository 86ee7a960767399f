"""What lies above the frequencies that a network works on: shared out among its sources."""

from __future__ import annotations

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.scale import divide, unit

EDGE = 0.6  # of the network's own band: the frequencies above it speak for those beyond
TAPS, SMOOTH = 65, 257  # of the filter that takes them out, and of the mean of their power
REACH = TAPS // 2 + SMOOTH // 2  # samples to either side that a share depends on


def shares(sources: Float[Tensor, "channels sources samples"]) -> Float[Tensor, "channels sources samples"]:
    """The part of each source in the power of the top of the band, smoothed over 257 samples with a Hann window: in [0,
    1], one in sum.

    A sound above the band is given to the sources in these parts: the Wiener filter, if the sources have the same ratio
    there as below. Where the top of the band is silent they are equal.
    """
    channels, count, samples = sources.shape
    scaled = sources / unit(sources, (-2, -1))
    high = _filtered(scaled.reshape(channels * count, 1, samples), _high_pass())
    power = _filtered(high.square(), torch.hann_window(SMOOTH + 2, periodic=False)[1:-1]).clamp_min(0)
    power = power.reshape(channels, count, samples)
    return divide(power, power.sum(1, keepdim=True), 1 / count)


def interpolated(
    values: Float[Tensor, "channels sources samples"], step: float, count: int
) -> Float[Tensor, "channels sources count"]:
    """Values at 0, step, 2 step, ..., on the lines between neighbours: what is one in sum stays so."""
    at = (torch.arange(count, dtype=torch.float64) * step).clamp_max(values.shape[2] - 1)
    before = at.long().clamp_max(max(values.shape[2] - 2, 0))
    after = (before + 1).clamp_max(values.shape[2] - 1)
    return torch.lerp(values[..., before], values[..., after], (at - before).to(values.dtype))


def _high_pass() -> Float[Tensor, " taps"]:
    """A windowed sinc that lets pass what lies above ``EDGE``."""
    n = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2
    low = EDGE * torch.sinc(EDGE * n) * (0.54 + 0.46 * torch.cos(pi * n / (TAPS // 2 + 1)))
    taps = -low / low.sum()
    taps[TAPS // 2] += 1
    return taps.float()


def _filtered(signals: Float[Tensor, "count 1 samples"], taps: Tensor) -> Float[Tensor, "count 1 samples"]:
    return nn.functional.conv1d(signals, taps.to(signals).reshape(1, 1, -1), padding=len(taps) // 2)
