"""Signals as players: a wav file and a spectrogram for each, both inside the page."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np

from unrolling.report.images import data_uri, png
from unrolling.tasks.exhibits import Sound

FRAME, HOP, RANGE = 256, 64, 60.0  # samples, samples, and decibels from the loudest level to black


def groups(sounds: Sequence[Sound]) -> list[dict[str, Any]]:
    """By group: its name and its players, each with a caption and two data URIs."""
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(sound.group for sound in sounds):
        own = [sound for sound in sounds if sound.group == name]
        # One scale for a group: a quieter estimate sounds and looks quieter.
        peak = max((float(np.abs(sound.samples).max(initial=0)) for sound in own), default=0) or 1.0
        top = max(float(_levels(sound.samples).max(initial=-np.inf)) for sound in own)
        players = [
            {
                "caption": sound.caption,
                "wav": wav_uri(0.9 * sound.samples / peak, sound.rate),
                "picture": data_uri(png(spectrogram(sound.samples, top))),
            }
            for sound in own
        ]
        found.append({"name": name, "players": players})
    return found


def wav_uri(samples: np.ndarray, rate: int) -> str:
    """16-bit mono wav as a data URI; what is outside [-1, 1] is clipped."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(np.nan_to_num(samples), -1, 1) * 32_767).astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def spectrogram(samples: np.ndarray, top: float) -> np.ndarray:
    """Grey levels (frequencies, frames), low frequencies at the bottom, white at ``top`` dB and black 60 dB below."""
    levels = np.clip((_levels(samples) - top) / RANGE + 1, 0, 1)
    return np.rint(255 * levels[::-1]).astype(np.uint8)


def _levels(samples: np.ndarray) -> np.ndarray:
    """dB of each bin of each frame, (frequencies, frames)."""
    padded = np.pad(np.nan_to_num(samples.astype(np.float64)), FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP] * np.hanning(FRAME)
    return 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T + 1e-10)
