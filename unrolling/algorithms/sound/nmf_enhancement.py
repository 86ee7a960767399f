"""Non-negative matrix factorisation of speech in noise whose masks also heed the recording around a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sound.nmf import FLOOR, level_of
from unrolling.algorithms.sound.nmf_separation import Mixture, NMFSeparation
from unrolling.core import Positive, constrain
from unrolling.operators.stft import STFT, masked

LONG, SHORT = 251, 9  # frames that means are of: 2 s and 72 ms at 8 kHz
LOCAL, SMOOTH, PAUSE = 5, 9, 201  # frames of a ratio, of the smoothed power, and of the search for its least value
KNEES = (2.0, 3.5)  # nepers from which on a ratio counts more
RELATIVE = 1e-6  # power below which, relative to that around it, a floor is taken for silence
MEANS, SIGNS = 4, 9  # the ratios of models and the signs below


class NMFEnhancement(NMFSeparation):
    """``NMFSeparation`` of speech and noise, with masks 1 / (1 + exp(-z)) of the speech, z = p log(S / N) + sum_k v_k
    m_k + sum_k u_k r_k + a, S = V_s H_s, N = V_n H_n.

    At p = 1, v = u = a = 0, where it starts, the mask is S / (S + N) as in ``NMFSeparation``. That one knows one frame
    at a time: whatever in speech resembles noise goes to the noise, in a clean recording too, so that the output does
    not rise above what the dictionaries can tell apart. What is around a frame tells more:

    - m_k, logarithms of the ratio of S to N, in root mean square: over 9 frames and over 251, of a frame as a whole,
      and of 251 frames as a whole;
    - r_1 ... r_7, how far the mixture lies above its own floor, the least power within 201 frames, smoothed over 9
      (Martin 2001, doi:10.1109/89.928915): log ratios of 5 and of 251 frames, in a frequency and as a whole, and the
      latter two's excess over ``KNEES``;
    - r_8, r_9, how far N rises and falls with S within 251 frames, their correlation, as a whole and in a frequency:
      noise that follows speech is speech.

    All of it is free of the recording's scale.

    Parameters: those of ``NMFSeparation``; ``exponent`` p (bins,), positive; ``offset`` a (bins,); ``models`` v (4,);
    ``signs`` u (9, bins).

    Args:
        stft: of the signals.
        dictionaries: of speech and of noise.
        detached: whether gradients reach the activations through the first term only, which halves what training costs.
        options: of ``NMFSeparation``.

    Raises:
        ValueError: not two dictionaries, and what ``NMFSeparation`` refuses.
    """

    algorithm = "NMFSeparation"
    reach = LONG // 2 + PAUSE // 2  # frames to either side that a mask depends on, at most

    def __init__(
        self,
        stft: STFT,
        dictionaries: Sequence[Float[Tensor, "bins rank"]],
        *,
        detached: bool = False,
        **options: Any,
    ) -> None:
        if len(dictionaries) != 2:
            raise ValueError(f"there are two dictionaries, of speech and of noise; got {len(dictionaries)}")
        super().__init__(stft, dictionaries, **options)
        self.detached = detached
        like = self.reconstruction.detach()
        self.exponent = nn.Parameter(like.new_ones(stft.bins))
        self.offset = nn.Parameter(like.new_zeros(stft.bins))
        self.models = nn.Parameter(like.new_zeros(MEANS))
        self.signs = nn.Parameter(like.new_zeros(SIGNS, stft.bins))
        constrain(self, "exponent", Positive())

    def speech_mask(
        self, activations: Float[Tensor, "batch frames rank"], problem: Mixture
    ) -> Float[Tensor, "batch bins frames"]:
        """1 / (1 + exp(-z))."""
        level = level_of(activations)
        speech, noise = (
            h @ v.mT / level + FLOOR
            for v, h in zip(
                self.reconstruction.split(self.ranks, dim=1), activations.split(self.ranks, dim=2), strict=True
            )
        )
        z = self.exponent * torch.log(speech / noise) + self.offset
        near = [model.detach() if self.detached else model for model in (speech, noise)]
        ratios, signs = _around(*near), _evidence(problem.spectrum.mT.abs(), *near)
        for weight, ratio in zip(self.models, ratios, strict=True):
            z = z + weight * ratio
        for weight, sign in zip(self.signs, signs, strict=True):
            z = z + weight * sign
        return torch.sigmoid(z).mT

    def estimate(self, state: Tensor, problem: Mixture) -> Float[Tensor, "batch sources samples"]:
        """Speech and noise, which add up to the mixture."""
        mask = self.speech_mask(state, problem)
        spectra = masked(torch.stack([mask, 1 - mask], 1), problem.spectrum.unsqueeze(1))
        return self.stft.inverse(spectra.flatten(0, 1), problem.samples).unflatten(0, spectra.shape[:2])


def _around(
    speech: Float[Tensor, "batch frames bins"], noise: Float[Tensor, "batch frames bins"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The ratios m_k of ``NMFEnhancement``, each of a shape that spreads over (batch, frames, bins)."""

    def means(model: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        power = model.square()
        whole = power.mean(2, keepdim=True)
        return _mean(power, SHORT), _mean(power, LONG), whole, _mean(whole, LONG)

    short, long, whole, far = (0.5 * torch.log(s / n) for s, n in zip(means(speech), means(noise), strict=True))
    return short, long, whole, far


def _evidence(
    magnitude: Float[Tensor, "batch frames bins"],
    speech: Float[Tensor, "batch frames bins"],
    noise: Float[Tensor, "batch frames bins"],
) -> tuple[Tensor, ...]:
    """The signs r_k of ``NMFEnhancement``, each of a shape that spreads over (batch, frames, bins)."""
    power = (magnitude / level_of(magnitude)).square()
    whole = power.mean(2, keepdim=True)
    silence = RELATIVE * _mean(whole, LONG) + torch.finfo(power.dtype).tiny
    local, long = _above_floor(power, silence)
    local_whole, long_whole = _above_floor(whole, silence)
    first, second = KNEES
    return (
        local,
        long,
        local_whole,
        long_whole,
        torch.relu(long - first),
        torch.relu(long_whole - first),
        torch.relu(long_whole - second),
        _correlation(_level(speech), _level(noise)),
        _correlation(speech, noise),
    )


def _correlation(
    a: Float[Tensor, "batch frames bins"], b: Float[Tensor, "batch frames bins"]
) -> Float[Tensor, "batch frames bins"]:
    """Of two series within 251 frames, in [-1, 1]; 0 where one of them is constant."""
    mean_a, mean_b = _mean(a, LONG), _mean(b, LONG)
    together = _mean(a * b, LONG) - mean_a * mean_b
    alone = [
        # What is left of a square by rounding is no variance.
        (_mean(x * x, LONG) - m * m).clamp_min(0) + RELATIVE * m * m
        for x, m in ((a, mean_a), (b, mean_b))
    ]
    return (together / (alone[0].sqrt() * alone[1].sqrt()).clamp_min(torch.finfo(a.dtype).tiny)).clamp(-1, 1)


def _mean(x: Float[Tensor, "batch frames bins"], size: int) -> Float[Tensor, "batch frames bins"]:
    """Over an odd number of frames, those beyond the ends left out."""
    return nn.functional.avg_pool1d(x.mT, size, 1, size // 2, count_include_pad=False).mT


def _above_floor(power: Tensor, silence: Tensor) -> tuple[Tensor, Tensor]:
    """Half the logarithms of the power of 5 and of 251 frames over the least smoothed power within 201."""
    floor = -nn.functional.max_pool1d(-_mean(power, SMOOTH).mT, PAUSE, 1, PAUSE // 2).mT + silence
    local, long = (0.5 * torch.log((_mean(power, size) + silence) / floor) for size in (LOCAL, LONG))
    return local, long


def _level(model: Tensor) -> Tensor:
    return model.square().mean(2, keepdim=True).sqrt()
