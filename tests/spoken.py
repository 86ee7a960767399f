"""Recordings small enough for tests: four speakers and a noise, generated."""

import numpy as np
import torch

from unrolling.files import sound as audio
from unrolling.tasks.speech import noises, voices


def write_recordings(root, rate=8000):
    """Folders ``speech``, with a sub-folder for each speaker, and ``noise``."""
    rng = np.random.default_rng(0)
    for name in ("anna", "bert", "carl", "dora"):
        (root / "speech" / name).mkdir(parents=True)
        voice = voices.draw_voice(rng)
        for number in range(5):
            audio.write(
                root / "speech" / name / f"{number}.wav",
                0.1 * torch.from_numpy(voices.speak(voice, 0.8, rng, rate)).unsqueeze(0),
                rate,
            )
    (root / "noise").mkdir()
    audio.write(
        root / "noise" / "machine.wav", 0.1 * torch.from_numpy(noises.draw_noise(12.0, rng, rate)).unsqueeze(0), rate
    )
    return root
