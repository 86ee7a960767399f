"""How much of what was taken for noise is given back: all of it where a recording is all but clean."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.scale import unit
from unrolling.files.sound_bands import interpolated

# Fitted by `python -m benchmarks.speech_caution --data DIR` with the weights before today's, which had heard generated
# voices alone: it printed -5.09, 4.38, 0.63, 2.62. With today's it prints -6.41, 3.75, 2.87, -0.29, which gives more on
# the digits of two speakers that it is fitted on, and takes up to 8 dB from clean sentences: they are too few.
CONSTANT, RATIO, FOLLOWING, ABOVE = -5.0, 4.4, 0.6, 2.6
HOP, FRAME = 64, 256  # samples
LONG, SMOOTH, PAUSE = 251, 9, 201  # frames: means are over 2 s at 8 kHz, floors the least of 1.6 s
REACH = max(LONG // 2, SMOOTH // 2 + PAUSE // 2) * HOP + FRAME  # samples to either side that a share depends on
LEAST = 1e-12  # of a power, relative to the loudest sample's
RELATIVE = 1e-6  # power below which, relative to that around it, a floor is taken for silence


def cautious(
    sources: Float[Tensor, "channels 2 samples"],
    constant: Tensor | float = CONSTANT,
    slope: Tensor | float = RATIO,
    weight: Tensor | float = FOLLOWING,
    rise: Tensor | float = ABOVE,
) -> Float[Tensor, "channels 2 samples"]:
    """Speech and noise as a network found them -> speech + g noise, (1 - g) noise, g = 1 / (1 + exp(-z)), z = c + r R +
    f F + q Q.

    R is the logarithm of the ratio of their root mean squares within a second to either side, F the correlation of
    their levels there, and Q the logarithm of the recording's root mean square over its floor: the weaker the noise,
    the more it rises and falls with the speech, and the deeper the pauses, the more of it is speech. A network takes a
    part of every voice that it has not heard for noise; where the noise is weaker than that, nothing is better
    than what there was.
    """
    scaled = sources / unit(sources, (-2, -1))
    samples = sources.shape[2]
    power = framed(scaled)
    z = constant + slope * ratio(power) + weight * following(power) + rise * above(scaled)
    given = interpolated(torch.sigmoid(z), 1 / HOP, samples)
    speech, noise = sources.split(1, dim=1)
    return torch.cat([speech + given * noise, (1 - given) * noise], dim=1)


def framed(signals: Float[Tensor, "channels count samples"]) -> Float[Tensor, "channels count frames"]:
    """Mean squares of frames, one at each hop."""
    padded = nn.functional.pad(signals.square(), (FRAME // 2, FRAME // 2 + (-signals.shape[2]) % HOP))
    return nn.functional.avg_pool1d(padded, FRAME, HOP).clamp_min(LEAST)


def above(sources: Float[Tensor, "channels 2 samples"]) -> Float[Tensor, "channels 1 frames"]:
    """Q: half the logarithm of the recording's mean power over the least of its smoothed power."""
    power = framed(sources.sum(1, keepdim=True))
    mean = _mean(power)
    smooth = nn.functional.avg_pool1d(power, SMOOTH, 1, SMOOTH // 2, count_include_pad=False)
    floor = -nn.functional.max_pool1d(-smooth, PAUSE, 1, PAUSE // 2)
    return 0.5 * torch.log(mean / (floor + RELATIVE * mean))


def ratio(power: Float[Tensor, "channels 2 frames"]) -> Float[Tensor, "channels 1 frames"]:
    """R: half the logarithm of the ratio of the mean powers."""
    speech, noise = _mean(power).split(1, dim=1)
    return 0.5 * torch.log(speech / noise)


def following(power: Float[Tensor, "channels 2 frames"]) -> Float[Tensor, "channels 1 frames"]:
    """F: the correlation of the levels; 0 where one of them is constant."""
    level = power.sqrt()
    centre = _mean(level)
    together = _mean(level.prod(1, keepdim=True)) - centre.prod(1, keepdim=True)
    spread = (_mean(power) - centre.square()).clamp_min(LEAST).prod(1, keepdim=True).sqrt()
    return (together / spread).clamp(-1, 1)


def _mean(x: Tensor) -> Tensor:
    return nn.functional.avg_pool1d(x, LONG, 1, LONG // 2, count_include_pad=False)
