"""Other voices out of recorded ones, through other microphones and in other rooms: few speakers stand for many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.operators.stft import STFT
from unrolling.tasks.speech.recordings import PAUSE, stretch, unit_level

PITCH = (-0.3, 0.9)  # octaves that a voice is moved by: men are what small collections hold most of
LITTLE = (-0.25, 0.25)  # octaves, for generated voices: they are low and high already
FOLLOWING, OWN = 0.35, 0.1  # formants, in octaves: the part of the pitch's, and the standard deviation besides
FORMANTS = 0.3  # the most
MICROPHONE = 4.0  # standard deviation of its gain in dB, in an octave
FLUENT, BRIEF = 0.5, (0.0, 0.03)  # part that is read fluently, and its pauses between short recordings in seconds
ROOMS, TAIL = 0.3, (-6.0, -25.0)  # part of the recordings that get a room, and the level of its tail in dB
HISS, HISSING = 0.5, (-60.0, -30.0)  # part of the recordings that get noise of their own, and its level in dB
LIFTER = 18  # cepstral coefficients of an envelope, at 8 kHz: below the period of the highest voice
STRONGEST = 2.3  # of the gain that moves formants, a natural logarithm: 20 dB
GRAIN = 50  # samples that lengths are rounded to, for fast transforms


def other_speaker(
    recordings: Sequence[Tensor],
    count: int,
    rate: int,
    stft: STFT,
    generator: torch.Generator,
    octaves: tuple[float, float] = PITCH,
) -> Float[Tensor, " count"]:
    """``count`` samples of a voice that is made from a speaker's recordings, of unit level: other pitch, formants,
    microphone, and at times a room and hiss.

    Args:
        recordings: of one speaker.
        count: samples.
        rate: in Hz.
        stft: that formants are moved with.
        generator: of what is drawn.
        octaves: that the pitch is moved by, between two.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    pitch = uniform(*octaves)
    own = OWN * float(torch.randn((), generator=generator))
    formants = min(max(FOLLOWING * pitch + own, -FORMANTS), FORMANTS)
    pause = BRIEF if uniform(0, 1) < FLUENT else PAUSE
    source = stretch(recordings, -(-round(count * 2**pitch) // GRAIN) * GRAIN, rate, generator, pause)
    samples = _resampled(source, count)
    samples = coloured(moved_formants(samples, 2 ** (formants - pitch), stft), rate, generator)
    if uniform(0, 1) < ROOMS:
        samples = in_a_room(samples, rate, TAIL, generator)
    if uniform(0, 1) < HISS:
        samples = samples + 10 ** (uniform(*HISSING) / 20) * torch.randn(count, generator=generator)
    return unit_level(samples)


def _resampled(samples: Tensor, count: int) -> Tensor:
    """The same sound in ``count`` samples, faster or slower, by its Fourier series."""
    spectrum = torch.fft.rfft(samples)
    size = count // 2 + 1
    spectrum = nn.functional.pad(spectrum, (0, max(0, size - len(spectrum))))[:size]
    return torch.fft.irfft(spectrum, n=count)


def moved_formants(samples: Float[Tensor, " samples"], factor: float, stft: STFT) -> Float[Tensor, " samples"]:
    """The spectral envelope E(f) replaced by E(f / factor), the pitch left alone: each frame is multiplied by the
    ratio, at most 20 dB, of envelopes from its low cepstral coefficients.
    """
    spectrum = stft(samples.unsqueeze(0))[0]
    logs = 0.5 * torch.log(spectrum.abs().square() + 1e-4)
    cepstrum = torch.fft.irfft(logs.T, n=stft.size)
    cepstrum[:, LIFTER:-LIFTER] = 0
    envelope = torch.fft.rfft(cepstrum).real
    place = (torch.arange(stft.bins) / factor).clamp(max=stft.bins - 1)
    below = place.long().clamp(max=stft.bins - 2)
    part = place - below
    other = envelope[:, below] * (1 - part) + envelope[:, below + 1] * part
    gain = torch.exp((other - envelope).clamp(-STRONGEST, STRONGEST))
    return stft.inverse((spectrum * gain.T).unsqueeze(0), len(samples))[0]


def coloured(samples: Float[Tensor, " samples"], rate: int, generator: torch.Generator) -> Float[Tensor, " samples"]:
    """Through a microphone, of unit level: a gain of a few dB that changes slowly with the logarithm of frequency."""
    spectrum = torch.fft.rfft(samples)
    knots = torch.randn(6, generator=generator) * MICROPHONE
    octaves = torch.log2(torch.linspace(0, rate / 2, spectrum.shape[-1]).clamp_min(125) / 125)
    gain = nn.functional.interpolate(knots.reshape(1, 1, -1), 501, mode="linear", align_corners=True).flatten()
    gain = gain[(octaves * 100).long()]
    return unit_level(torch.fft.irfft(spectrum * 10 ** (gain / 20), n=len(samples)))


def in_a_room(
    samples: Float[Tensor, " samples"], rate: int, levels: tuple[float, float], generator: torch.Generator
) -> Float[Tensor, " samples"]:
    """Samples of unit level with the tail of a room, of unit level again: noise that decays within 0.1 to 0.6 s, its
    level beside the sound itself uniform between two in dB.
    """
    seconds = 0.1 + 0.5 * float(torch.rand((), generator=generator))
    level = levels[0] + (levels[1] - levels[0]) * float(torch.rand((), generator=generator))
    time = torch.arange(round(seconds * rate)) / rate
    tail = torch.randn(len(time), generator=generator) * torch.exp(-6.9 * time / seconds)
    size = len(samples) + len(tail)
    heard = torch.fft.irfft(torch.fft.rfft(samples, size) * torch.fft.rfft(tail, size), size)[: len(samples)]
    return unit_level(samples + 10 ** (level / 20) * unit_level(heard))
