"""Speech out of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sound.nmf import learn_dictionary
from unrolling.algorithms.sound.nmf_separation import NMFSeparation, stack_frames
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.speech.mixtures import OPTIONS, RATE, TOGETHER, Mixtures
from unrolling.tasks.speech.other_voices import coloured, in_a_room
from unrolling.tasks.speech.recordings import stretch, unit_level
from unrolling.tasks.speech.speech_metrics import (
    improvement_pieces,
    si_sdr,
)
from unrolling.tasks.speech.wiener import DecisionDirected

CLEAN, CLEAN_SNR = 0.1, 50.0  # part of the training mixtures that are all but clean, and their ratio in dB
TAIL = (0.0, -25.0)  # dB, of the tail of a room
CEILING = 35.0  # dB of SI-SDR that training asks for


class Enhancement(Mixtures):
    """Speech out of noise; targets are (speech, noise), scores count the speech.

    The signal-to-noise ratio, of whole mixtures, is uniform between its limits; a tenth of the training mixtures are
    clean. Generated speech and noise pass through microphones drawn for each mixture.

    Args:
        low: smallest signal-to-noise ratio in dB.
        high: largest.
        atoms: columns of the dictionaries of speech and of noise, each.
        context: frames that one column describes, odd.
        sparsity: mu of the factorisations that the dictionaries are learned by.
        fixed: tensors of a weights file; its dictionaries are used instead of learning some.
        mixtures: the arguments of ``Mixtures``.
    """

    name = "enhancement"
    given = "a recording of speech in noise"
    sought = "the speech"
    options: Mapping[str, Any] = {
        "low": -6.0,
        "high": 30.0,
        "atoms": 50,
        "context": 1,
        "sparsity": 0.1,
        **OPTIONS,
    }
    tagged = ("atoms", "context", "low", "high")
    notes = (
        "SI-SDR improvement counts the speech alone, by utterance; the interval resamples utterances.",
        "The generic networks see a frame and its neighbours and give masks; they are trained on the same signals and "
        "loss.",
    )
    sources = ("speech", "noise")
    parts: Mapping[str, tuple[int, int, int]] = {"train": (48, 6, 96), "validation": (8, 4, 24), "test": (16, 6, 48)}

    def __init__(
        self,
        low: float = -6.0,
        high: float = 30.0,
        atoms: int = 50,
        context: int = 1,
        sparsity: float = 0.1,
        fixed: Mapping[str, Tensor] | None = None,
        **mixtures: Any,
    ) -> None:
        if not low <= high:
            raise ValueError(f"signal-to-noise ratios go from low to high; got low {low} and high {high} dB")
        if atoms < 1 or context < 1 or context % 2 == 0:
            raise ValueError(f"atoms must be at least 1 and context odd; got atoms {atoms}, context {context}")
        super().__init__(**mixtures)
        self.low, self.high, self.columns, self.context, self.sparsity = low, high, atoms, context, sparsity
        self._fixed = None if fixed is None else (fixed["speech_dictionary"], fixed["noise_dictionary"])
        self.summary = (
            f"Speech out of noise at {low:g} to {high:g} dB: mixtures of {self.seconds:g} s at 8 kHz, speakers "
            "and noise that were not trained on."
        )

    def _pair(self, part: str, generator: torch.Generator, snr: float | None = None) -> Tensor:  # pyright: ignore
        name, speech = self._speaker(part, generator)
        noises = self._noise_of(part, generator)
        noise = unit_level(
            stretch([noises[int(torch.randint(len(noises), (), generator=generator))]], self.count, RATE, generator)
        )
        if self._data is None:  # generated voices and noises come through one microphone each
            speech = coloured(self._hoarse(speech, generator), RATE, generator)
            speech = in_a_room(speech, RATE, TAIL, generator)
            noise = coloured(noise, RATE, generator)
        elif part == "train" and self.vary:
            if self.mixed and name in self._made(part).speakers[part]:  # of which there are none otherwise
                speech = self._hoarse(speech, generator)
            noise = coloured(noise, RATE, generator)
        drawn = self.low + (self.high - self.low) * float(torch.rand((), generator=generator))
        if part == "train" and float(torch.rand((), generator=generator)) < CLEAN:
            drawn = max(self.high, CLEAN_SNR)
        snr = drawn if snr is None else snr
        return torch.stack([speech, noise * 10 ** (-snr / 20)])

    def _hoarse(self, speech: Tensor, generator: torch.Generator) -> Tensor:
        """With a whispered copy of itself, -20 to 6 dB: its spectra with random phases."""
        spectrum = self.stft(speech.unsqueeze(0)).abs()
        phases = torch.rand(spectrum.shape, generator=generator) * (2 * torch.pi)
        whispered = unit_level(self.stft.inverse(torch.polar(spectrum, phases), self.count)[0])
        level = -20 + 26 * float(torch.rand((), generator=generator))
        return unit_level(speech + 10 ** (level / 20) * whispered)

    @cached_property
    def dictionaries(self) -> tuple[Tensor, Tensor]:
        """Of speech and of noise, (bins context, atoms): ``learn_dictionary`` of training material, every entry
        positive so that none is stuck at zero.
        """
        if self._fixed is not None:
            return self._fixed
        generator = torch.Generator().manual_seed(3_000_003 + self.seed)
        pairs = [self._pair("train", generator) for _ in range(60)]
        return self._learn([pair[0] for pair in pairs]), self._learn([unit_level(pair[1]) for pair in pairs])

    def _learn(self, signals: Sequence[Tensor]) -> Tensor:
        frames = stack_frames(self.stft(torch.stack(list(signals))).mT.abs(), self.context).flatten(0, 1)
        frames = frames[frames.sum(1) > 0.02 * frames.sum(1).mean()]  # pauses teach nothing
        dictionary = learn_dictionary(frames.T, self.columns, sparsity=self.sparsity, seed=self.seed)
        dictionary = dictionary + 1e-3 * dictionary.amax(0)
        return dictionary / torch.linalg.vector_norm(dictionary, dim=0)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The decision-directed Wiener filter, and sparse NMF for the two divergences in use, their settings chosen on
        validation data.
        """
        weights = (0.03, 0.1, 0.3, 1.0, 3.0)

        def factorisation(beta: float) -> Callable[[float], NMFSeparation]:
            return lambda weight: NMFSeparation(
                self.stft, self.dictionaries, beta=beta, sparsity=weight, context=self.context
            )

        return [
            Iterative("sparse NMF, beta 1", factorisation(1.0), weights, 200),
            Iterative("sparse NMF, beta 2", factorisation(2.0), (*weights, 10.0), 200),
            Method(
                "decision-directed Wiener filter",
                lambda setting: DecisionDirected(self.stft, RATE, *setting),
                tuple((bias, least) for bias in (1.0, 1.5, 2.5, 4.0) for least in (-10.0, -20.0)),
                note="noise {setting[0]:g} times the least power around it, least gain {setting[1]:g} dB",
            ),
        ]

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """-SI-SDR of the speech, in dB, as if there were an error of -``CEILING`` dB besides: what is clean already can
        be spoiled, and hardly improved on.
        """
        ratio = 10 ** (si_sdr(estimate[:, 0], target[:, 0]) / 10)
        return (10 * torch.log10(1 / ratio.clamp_min(1e-12) + 10 ** (-CEILING / 10))).mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        target = samples.target
        return improvement_pieces(estimate[:, :1], target[:, :1], target.sum(1))

    def scored(self, estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return estimate[:, 0], target[:, 0]

    def shifts(self) -> Sequence[Shift]:
        def make(snr: float) -> Samples:
            return self._held("test", TOGETHER, 4_000_003 + self.seed, snr=snr)[0]

        return [
            Shift(
                "signal-to-noise ratio in dB",
                (40.0, 30.0, 20.0, 10.0, 0.0, -6.0, -12.0),
                make,
                None,
                "Noise that is weaker, or stronger, than in training.",
            )
        ]

    def fixed_tensors(self) -> dict[str, Tensor]:
        return dict(zip(("speech_dictionary", "noise_dictionary"), self.dictionaries, strict=True))

    def identity(self) -> dict[str, Any]:
        return {
            **super().identity(),
            "low": self.low,
            "high": self.high,
            "atoms": self.columns,
            "context": self.context,
            "sparsity": self.sparsity,
        }
