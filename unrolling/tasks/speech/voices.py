"""Generated speech-like signals: a glottal source through moving formants, words and pauses, voices that
differ; no recording is needed.

Not intelligible and no substitute for recordings where a number is to be compared with a published one; as sounds to
separate they have what matters: harmonics under a moving pitch, formants, fricatives and bursts, gaps. Source and
filter: Fant 1960, Klatt 1980 (doi:10.1121/1.383940); formant frequencies of vowels: Peterson and Barney 1952
(doi:10.1121/1.1906875), of consonants Klatt 1980, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]
FRAME = 0.005  # seconds between two values of a control

# F1, F2, F3 in Hz of an adult male voice.
VOWELS = (
    (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
    (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
)  # fmt: skip
SONORANTS = (
    (280, 900, 2200),
    (280, 1700, 2600),
    (360, 1300, 2700),
    (310, 1060, 1380),
    (290, 610, 2150),
    (260, 2070, 3020),
)
# Centre and width in Hz of the noise, its level, and whether the voice goes on below it.
FRICATIVES = (
    (4600, 1500, 2.5, False),
    (2900, 1100, 3.0, False),
    (3500, 4000, 0.6, False),
    (4600, 1600, 1.2, True),
    (3200, 4000, 0.4, True),
)
BURSTS = ((800, 900, 2.0), (3600, 1500, 3.0), (1900, 900, 3.0))


@dataclass(frozen=True)
class Voice:
    """What makes a speaker.

    Attributes:
        pitch: median fundamental frequency in Hz.
        liveliness: standard deviation of the pitch, in octaves.
        tract: formants over those of an adult male voice.
        tilt: fall of the source above 500 Hz, in dB per octave.
        breath: noise in the source, relative.
        pace: duration of the sounds, relative.
        bandwidth: of the formants, relative.
        formants: the speaker's own shift of each of F1 ... F5, relative.
    """

    pitch: float
    liveliness: float
    tract: float
    tilt: float
    breath: float
    pace: float
    bandwidth: float
    formants: tuple[float, ...]


def draw_voice(rng: np.random.Generator) -> Voice:
    """A speaker: long vocal tracts and low voices go together."""
    high = rng.random() < 0.5
    return Voice(
        pitch=float(rng.normal(205, 22) if high else rng.normal(118, 16)),
        liveliness=float(rng.uniform(0.08, 0.22)),
        tract=float(rng.normal(1.15, 0.04) if high else rng.normal(1.0, 0.05)),
        tilt=float(rng.uniform(7, 14)),
        breath=float(rng.uniform(0.01, 0.08)),
        pace=float(rng.uniform(0.8, 1.25)),
        bandwidth=float(rng.uniform(0.8, 1.4)),
        formants=tuple(rng.normal(1.0, 0.04, 5)),
    )


def speak(voice: Voice, seconds: float, rng: np.random.Generator, rate: int = 8000) -> Signal:
    """Words of one to four syllables with pauses between them, of root mean square 1 where there is sound.

    Args:
        voice: the speaker.
        seconds: how long.
        rng: chooses the words.
        rate: in Hz.
    """
    count, frames = round(seconds * rate), round(seconds / FRAME) + 2
    formant, voiced, noise = _score(voice, frames, rng)
    speaking = voiced + noise[:, 2] > 0.01
    formant = _smooth(formant, 11)
    voiced, noise = _smooth(voiced[:, None], 5)[:, 0], _smooth(noise, 3)
    pitch = _pitch(voice, speaking, rng)
    times = np.arange(count) / rate / FRAME
    grid = np.arange(frames)
    fundamental = np.interp(times, grid, pitch)
    phase = 2 * np.pi * np.cumsum(fundamental) / rate
    signal = np.zeros(count)
    harmonics = int(rate / 2 / pitch.min())
    for k in range(1, harmonics + 1):
        frequency = k * pitch
        level = voiced * _tilt(voice, frequency) * (frequency < 0.48 * rate)
        response = level * _tract(voice, frequency, formant)
        signal += np.interp(times, grid, np.real(response)) * np.cos(k * phase) - np.interp(
            times, grid, np.imag(response)
        ) * np.sin(k * phase)
    signal += _noisy(voice, formant, voiced, noise, count, rng, rate)
    loud = np.interp(times, grid, speaking.astype(float)) > 0.5
    power = np.mean(signal[loud] ** 2) if loud.any() else 1.0
    room = 1e-3 * rng.normal(0, 1, count)  # -60 dB: no recording is silent between words
    return (signal / np.sqrt(max(power, 1e-12)) + room).astype(np.float32)


def _score(voice: Voice, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Formants (frames, 5) in Hz, level of the voice (frames,), and of the noise (frames, 3): centre, width, level."""
    formant, voiced, noise = (
        np.tile([500.0, 1500, 2500, 3500, 4500], (frames, 1)),
        np.zeros(frames),
        np.zeros((frames, 3)),
    )
    noise[:, :2] = 2500, 2000
    at = int(rng.uniform(0, 0.12) / FRAME)

    def sound(
        duration: float, values: tuple[float, ...], level: float, hiss: tuple[float, float, float] = (2500, 2000, 0.0)
    ) -> None:
        nonlocal at
        stop = min(frames, at + max(1, round(duration * voice.pace / FRAME)))
        formant[at:stop, : len(values)] = values
        voiced[at:stop], noise[at:stop] = level, hiss
        at = stop

    def vowel() -> tuple[float, ...]:
        return VOWELS[rng.integers(len(VOWELS))]

    while at < frames:
        for _ in range(rng.integers(1, 5)):
            stress = rng.uniform(0.55, 1.0)
            kind, inside = rng.random(), vowel()
            if kind < 0.3:
                sound(rng.uniform(0.05, 0.09), SONORANTS[rng.integers(len(SONORANTS))], 0.4 * stress)
            elif kind < 0.6:
                centre, width, level, goes_on = FRICATIVES[rng.integers(len(FRICATIVES))]
                sound(
                    rng.uniform(0.06, 0.13),
                    inside,
                    0.25 if goes_on else 0.0,
                    (centre * voice.tract, width, level * stress),
                )
            elif kind < 0.9:
                centre, width, level = BURSTS[rng.integers(len(BURSTS))]
                sound(rng.uniform(0.04, 0.08), inside, 0.06 if rng.random() < 0.5 else 0.0)
                sound(rng.uniform(0.01, 0.025), inside, 0.0, (centre * voice.tract, width, level * stress))
            sound(rng.uniform(0.07, 0.18), inside, stress)
            if rng.random() < 0.35:  # a diphthong
                sound(rng.uniform(0.05, 0.1), vowel(), 0.8 * stress)
            if rng.random() < 0.3:
                sound(rng.uniform(0.05, 0.09), SONORANTS[rng.integers(2)], 0.35 * stress)
        sound(rng.exponential(0.06) if rng.random() < 0.7 else rng.uniform(0.15, 0.4), vowel(), 0.0)
    return formant * voice.tract * np.asarray(voice.formants), voiced, noise


def _pitch(voice: Voice, speaking: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fundamental frequency in Hz: falling along a phrase, rising on accents, never quite steady."""
    frames = len(speaking)
    walk = _smooth(rng.normal(0, 1, (frames, 1)), 61)[:, 0]
    walk = walk / max(walk.std(), 1e-9) * voice.liveliness
    since = np.zeros(frames)
    for k in range(1, frames):
        since[k] = 0 if not speaking[max(0, k - 30) : k + 1].any() else since[k - 1] + FRAME
    jitter = _smooth(rng.normal(0, 0.012, (frames, 1)), 3)[:, 0]
    return np.clip(voice.pitch * 2 ** (walk + 0.12 - 0.1 * since + jitter), 60, 420)


def _tilt(voice: Voice, frequency: np.ndarray) -> np.ndarray:
    """Level of the source at a frequency: flat, then falling."""
    return 10 ** (-voice.tilt / 20 * np.log2(np.maximum(frequency, 500) / 500))


def _tract(voice: Voice, frequency: np.ndarray, formant: np.ndarray) -> np.ndarray:
    """The response of five resonances in a row, one at frequency zero: complex, of the shape of ``frequency`` (frames
    first).
    """
    response = np.ones(frequency.shape, dtype=complex)
    for k in range(formant.shape[1]):
        centre = formant[:, k].reshape(-1, *[1] * (frequency.ndim - 1))
        width = voice.bandwidth * (50 + 0.04 * centre)
        pole = 2 * np.pi * (-width / 2 + 1j * centre)
        s = 2j * np.pi * frequency
        response *= np.abs(pole) ** 2 / ((s - pole) * (s - pole.conj()))
    return response


def _noisy(
    voice: Voice,
    formant: np.ndarray,
    voiced: np.ndarray,
    noise: np.ndarray,
    count: int,
    rng: np.random.Generator,
    rate: int,
) -> np.ndarray:
    """Frication, bursts and breath: white noise with a spectrum per frame, frames overlapping by half."""
    hop = round(FRAME * rate)
    frames = len(voiced)
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
    frequency = np.fft.rfftfreq(2 * hop, 1 / rate)
    centre, width, level = (noise[:, [k]] for k in range(3))
    shape = level * np.exp(-0.5 * ((frequency - centre) / width) ** 2)
    breath = (
        voice.breath
        * voiced[:, None]
        * np.abs(_tract(voice, np.broadcast_to(frequency, (frames, len(frequency))), formant))
    )
    white = rng.normal(0, 1, (frames + 1) * hop)
    pieces = np.stack([white[k * hop : (k + 2) * hop] for k in range(frames)]) * window
    pieces = np.fft.irfft(np.fft.rfft(pieces, axis=1) * (shape + breath), n=2 * hop, axis=1) * window
    out = np.zeros((frames + 1) * hop)
    out[: frames * hop] += pieces[:, :hop].ravel()
    out[hop:] += pieces[:, hop:].ravel()
    return out[:count]


def _smooth(values: np.ndarray, size: int) -> np.ndarray:
    """Each column (frames, columns) averaged with a Hann window of an odd number of frames, ends repeated."""
    window = np.hanning(size + 2)[1:-1]
    window /= window.sum()
    padded = np.pad(values, ((size // 2, size // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, k], window, mode="valid") for k in range(values.shape[1])], axis=1)
