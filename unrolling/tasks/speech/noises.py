"""Generated noises: of the kinds that recordings of speech are disturbed by, no two alike."""

from __future__ import annotations

import numpy as np

from unrolling.tasks.speech.voices import Signal, draw_voice, speak


def draw_noise(seconds: float, rng: np.random.Generator, rate: int = 8000) -> Signal:
    """A recording of noise, of root mean square 1: one kind leads, up to two others are heard behind it.

    The kinds: coloured noise that comes and goes, the same at a steady level, a machine, mains hum, things knocking
    together, rain, wind, water, notes, and people talking all at once.
    """
    count = round(seconds * rate)
    order = rng.permutation(len(KINDS))[: rng.integers(1, 4)]
    levels = [1.0, *(0.5 * rng.random(2) ** 2)]
    parts = [KINDS[k](count, rng, rate) for k in order]
    signal = sum(level * _whitened(part) for level, part in zip(levels, parts, strict=False))
    return (signal / np.sqrt(np.mean(signal**2))).astype(np.float32)


def _steady(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """1/f^a noise with broad humps, a from 0 (hiss) to 1.2."""
    frequency = np.fft.rfftfreq(count, 1 / rate)
    shape = np.maximum(frequency, 40.0) ** -rng.uniform(0.0, 1.2)
    for _ in range(rng.integers(0, 4)):
        shape = shape * (
            1 + rng.uniform(0, 6) * np.exp(-0.5 * ((frequency - rng.uniform(200, 3500)) / rng.uniform(80, 500)) ** 2)
        )
    return np.fft.irfft(np.fft.rfft(rng.normal(0, 1, count)) * shape, n=count)


def _coloured(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """1/f^a noise with broad humps, its level moving by a few dB within seconds."""
    noise = _steady(count, rng, rate)
    knots = rng.normal(0, rng.uniform(0.1, 0.5), int(4 * count / rate) + 3)
    return noise * np.exp(np.interp(np.arange(count) / rate * 4, np.arange(len(knots)), knots))


def _machine(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Harmonics of a slowly changing speed under the hiss of a fan, both pulsating."""
    knots = rng.uniform(30, 110) * 2 ** np.cumsum(rng.normal(0, 0.02, int(2 * count / rate) + 3))
    time = np.arange(count) / rate
    phase = 2 * np.pi * np.cumsum(np.interp(2 * time, np.arange(len(knots)), knots)) / rate
    total = np.zeros(count)
    for k in range(1, int(0.45 * rate / knots.max())):
        total += np.cos(k * phase + rng.uniform(0, 2 * np.pi)) * k ** -rng.uniform(0.5, 1.4)
    swing = 1 + 0.5 * rng.random() * np.cos(2 * np.pi * rng.uniform(0.5, 4) * time)
    return swing * (total / total.std() + rng.uniform(0.3, 1.5) * _whitened(_coloured(count, rng, rate)))


def _knocks(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Dishes: impacts at random, each a few decaying modes of one of several objects, over a little hiss."""
    objects = [
        [(rng.uniform(300, 3800), rng.uniform(0.005, 0.12), rng.uniform(0.3, 1)) for _ in range(rng.integers(3, 9))]
        for _ in range(5)
    ]
    total = 0.05 * _whitened(_coloured(count, rng, rate))
    length = min(count, round(0.4 * rate))
    time = np.arange(length) / rate
    for start in rng.integers(0, max(1, count - length), max(1, round(rng.uniform(3, 9) * count / rate))):
        modes = objects[rng.integers(len(objects))]
        hit = sum(a * np.exp(-time / decay) * np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f, decay, a in modes)
        total[start : start + length] += rng.lognormal(0, 0.8) * hit
    return total


def _hum(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Mains of 50 or 60 Hz with their harmonics, and a hiss."""
    base, time = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002), np.arange(count) / rate
    total = np.zeros(count)
    for k in range(1, 40):
        total += rng.random() ** 2 * k ** -rng.uniform(0.3, 1.5) * np.cos(2 * np.pi * (k * base * time + rng.random()))
    return _whitened(total) + rng.uniform(0.05, 0.6) * _whitened(_steady(count, rng, rate))


def _rain(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Very many short drops, each a click through the same resonances, over a little hiss."""
    drops = np.zeros(count)
    places = rng.integers(0, count, max(1, round(10 ** rng.uniform(1.3, 3.3) * count / rate)))
    np.add.at(drops, places, rng.lognormal(0, 1.0, len(places)) * rng.choice([-1.0, 1.0], len(places)))
    frequency = np.fft.rfftfreq(count, 1 / rate)
    centre, width = rng.uniform(600, 3500), rng.uniform(400, 2500)
    drops = np.fft.irfft(np.fft.rfft(drops) * np.exp(-0.5 * ((frequency - centre) / width) ** 2), n=count)
    return _whitened(drops) + rng.uniform(0.02, 0.3) * _whitened(_steady(count, rng, rate))


def _wind(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Gusts at the microphone: low frequencies, their level swinging by many dB within a second."""
    frequency = np.fft.rfftfreq(count, 1 / rate)
    shape = 1 / (1 + (frequency / rng.uniform(60, 300)) ** rng.uniform(1.2, 2.5))
    noise = np.fft.irfft(np.fft.rfft(rng.normal(0, 1, count)) * shape, n=count)
    knots = rng.normal(0, rng.uniform(0.4, 1.0), int(3 * count / rate) + 3)
    return noise * np.exp(np.interp(np.arange(count) / rate * 3, np.arange(len(knots)), knots))


def _water(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Running water: a hiss under bubbles, tones that rise and die away within milliseconds."""
    total = np.zeros(count)
    length = min(count, round(0.08 * rate))
    time = np.arange(length) / rate
    for start in rng.integers(0, max(1, count - length), max(1, round(rng.uniform(20, 120) * count / rate))):
        tone, decay, rise = rng.uniform(300, 3000), rng.uniform(0.003, 0.03), rng.uniform(0, 6)
        bubble = np.exp(-time / decay) * np.sin(2 * np.pi * tone * time * (1 + rise * time))
        total[start : start + length] += rng.lognormal(0, 0.7) * bubble
    return _whitened(total) + rng.uniform(0.2, 1.5) * _whitened(_coloured(count, rng, rate))


def _notes(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Music: notes of a few harmonics, held or plucked, several at a time."""
    total = np.zeros(count)
    for _ in range(max(2, round(rng.uniform(2, 8) * count / rate))):
        length = min(count, round(rng.uniform(0.15, 1.2) * rate))
        time, start = np.arange(length) / rate, rng.integers(0, max(1, count - length + 1))
        tone = 110 * 2 ** (rng.integers(0, 36) / 12)
        envelope = np.minimum(time / rng.uniform(0.004, 0.05), 1) * np.exp(-time / rng.uniform(0.1, 1.0))
        envelope = envelope * np.minimum((time[-1] - time) / 0.01, 1)
        fall = rng.uniform(0.5, 2)
        for k in range(1, min(12, int(0.45 * rate / tone)) + 1):
            total[start : start + length] += (
                envelope * k**-fall * np.cos(2 * np.pi * (k * tone * time + rng.random())) * rng.random()
            )
    return total


def _babble(count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Four to seven people who talk at the same time."""
    return sum(
        rng.uniform(0.4, 1) * speak(draw_voice(rng), count / rate, rng, rate)[:count].astype(float)
        for _ in range(rng.integers(4, 8))
    )  # pyright: ignore[reportReturnType]


def _whitened(noise: np.ndarray) -> np.ndarray:
    """Of variance 1."""
    return noise / max(noise.std(), 1e-9)


KINDS = (_coloured, _steady, _machine, _hum, _knocks, _rain, _wind, _water, _notes, _babble)
