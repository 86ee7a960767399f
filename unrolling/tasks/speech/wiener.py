"""The decision-directed Wiener filter: speech out of steady noise without anything learned."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.operators.stft import STFT

SMOOTHING = 0.85  # of the power whose minima are followed
WINDOW = 0.8  # seconds in which there is a pause in every frequency
MEMORY = 0.98  # alpha of the decision-directed rule


class DecisionDirected:
    """S_t = g_t X_t, g = xi / (1 + xi), xi_t = a |S_(t-1)|^2 / N_t + (1 - a) max(|X_t|^2 / N_t - 1, 0), a = 0.98: the
    Wiener filter with the decision-directed estimate of Ephraim and Malah 1984 (doi:10.1109/TASSP.1984.1164453).

    N_t is ``bias`` times the minimum of the smoothed power within 0.8 s to either side (Martin 2001,
    doi:10.1109/89.928915, without its optimal smoothing). Mixtures (batch, samples) -> speech and noise, which add up
    to them, (batch, 2, samples).

    Args:
        stft: of the mixtures.
        rate: in Hz.
        bias: noise over the minimum of its smoothed power.
        least: smallest gain, in dB.
    """

    def __init__(self, stft: STFT, rate: int, bias: float = 1.5, least: float = -15.0) -> None:
        self.stft, self.bias, self.least = stft, bias, 10 ** (least / 20)
        self.frames = round(WINDOW * rate / stft.hop)

    def noise(self, power: Float[Tensor, "batch bins frames"]) -> Float[Tensor, "batch bins frames"]:
        """N."""
        smooth, state = [], power[..., 0]
        for frame in power.unbind(2):
            state = SMOOTHING * state + (1 - SMOOTHING) * frame
            smooth.append(state)
        side = min(self.frames, power.shape[2] // 2)
        found = -torch.nn.functional.max_pool1d(-torch.stack(smooth, 2), 2 * side + 1, 1, side)
        return self.bias * found

    def __call__(self, mixture: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch 2 samples"]:
        spectrum = self.stft(mixture)
        power = spectrum.abs().square()
        noise = self.noise(power)
        tiny = torch.finfo(power.dtype).tiny
        after = power / noise.clamp_min(tiny)
        gains, before = [], torch.ones_like(power[..., 0])
        for k in range(power.shape[2]):
            ratio = MEMORY * before + (1 - MEMORY) * (after[..., k] - 1).clamp_min(0)
            gain = (ratio / (1 + ratio)).nan_to_num(1.0).clamp_min(self.least)
            gains.append(gain)
            before = gain.square() * after[..., k]
        speech = self.stft.inverse(torch.stack(gains, 2) * spectrum, mixture.shape[1])
        return torch.stack([speech, mixture - speech], 1)
