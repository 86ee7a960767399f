"""Mixtures of two sounds, 8 kHz, one channel: what the tasks on speech have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sound.nmf_separation import stack_frames
from unrolling.core.scale import divide, norm
from unrolling.operators.stft import STFT, masked
from unrolling.tasks import exhibits
from unrolling.tasks.authors import attribution
from unrolling.tasks.base import Samples, Task
from unrolling.tasks.exhibits import Exhibits, Shown
from unrolling.tasks.speech import recordings
from unrolling.tasks.speech.other_voices import LITTLE, PITCH, other_speaker
from unrolling.tasks.speech.recordings import Corpus, Lazily, Speakers, stretch, unit_level
from unrolling.tasks.speech.speech_metrics import (
    SI_SDR_IMPROVEMENT,
    pesq,
    sdr,
    si_sdr,
    stoi,
)

RATE = 8000
SIZE, HOP = 256, 64  # of the STFT, in samples
UTTERANCES = 2000  # of other voices, recorded and generated each, that training mixtures are drawn from
TOGETHER = 25  # held-out mixtures in a batch, so that memory stays that of a few
# generated: speakers, utterances of each, noises
PARTS = {"train": (32, 6, 24), "validation": (8, 4, 8), "test": (16, 6, 16)}
FEW = {"train": (3, 1, 1), "validation": (2, 1, 1), "test": (2, 1, 1)}  # for tests
OPTIONS = {"seconds": 3.0, "unseen": "", "mixed": 0.0, "vary": 1, "perceptual": 0}


class Mixtures(Task):
    """x = s_1 + s_2, data (batch, samples) of unit root mean square, targets (batch, 2, samples); what the tasks on
    speech have in common.

    Speech and noise are generated (``voices``) unless ``data`` names recordings.

    Args:
        seconds: of a mixture.
        unseen: names of speakers to test on, separated by commas, where ``data`` brings speakers; the last third of
            them by default.
        mixed: part of the voices, and of the noises, in training mixtures that are generated where ``data`` brings
            recordings: a few recorded speakers are too few to learn from.
        vary: 1 to train on other voices made out of the recorded ones (``other_voices``), 0 on the recorded ones as
            they are.
        perceptual: 1 to score STOI and PESQ too (packages pystoi and pesq).
        seed: of everything drawn.
        held_out: mixtures to test on; a quarter as many to validate on.
        data: a folder of recordings with sub-folders ``speech`` (or ``fsdd``) and ``noise``, or a folder of speech; see
            ``recordings``. An ``ATTRIBUTION.txt`` in it goes into the card of weights.

    Attributes:
        stft: 256 samples (32 ms), hop 64, square root of the Hann window.
        corpus: speech and noise by part, read or generated when first asked for: shipped weights need none.
    """

    metric = SI_SDR_IMPROVEMENT
    of_training = ("seconds", "unseen", "mixed", "vary")
    rate = RATE
    threads = 1
    sources: tuple[str, ...]
    parts: Mapping[str, tuple[int, int, int]] = PARTS  # what is generated
    tagged: tuple[str, ...]  # options that a weights file is named by where they are not the usual

    def __init__(
        self,
        seconds: float = 3.0,
        unseen: str = "",
        mixed: float = 0.0,
        vary: int = 1,
        perceptual: int = 0,
        seed: int = 0,
        held_out: int = 200,
        data: str | Path | None = None,
    ) -> None:
        if not seconds * RATE >= SIZE:
            raise ValueError(f"seconds is {seconds}; a mixture lasts longer than a frame of {SIZE / RATE} s")
        if not 0 <= mixed <= 1:
            raise ValueError(f"mixed is {mixed}; the part of generated voices is 0 to 1")
        self.mixed, self.vary = mixed, bool(vary)
        self.seconds, self.seed, self.held_out, self.perceptual = seconds, seed, held_out, bool(perceptual)
        self.unseen = tuple(name for name in unseen.split(",") if name)
        self.count = round(seconds * RATE)
        self.stft = STFT(SIZE, HOP)
        self._data = data
        self._parts: dict[str, Corpus] = {}  # generated so far
        self._utterances: dict[tuple[bool, int], tuple[str, Tensor]] = {}  # of other voices, made so far
        if data is not None:
            _ = self.corpus  # what cannot be used is found before any long work

    @cached_property
    def corpus(self) -> Corpus:
        """Speech and noise by part."""
        if self._data is None:
            return Corpus(Lazily(self.parts, self._voices), Lazily(self.parts, self._noises))
        speech, noise = recordings.find_folders(self._data)
        speakers = recordings.split_speakers(recordings.read_speakers(speech, RATE), self.unseen)
        if noise is not None:
            return Corpus(speakers, recordings.read_noises(noise, RATE))
        return Corpus(speakers, Lazily(self.parts, self._noises_alone))

    def _made(self, part: str) -> Corpus:
        """Generated voices and noises of one part: those of training take long, and are not needed to be tested."""
        if part not in self._parts:
            speakers, utterances, noises = self.parts[part]
            self._parts[part] = recordings.generated(
                RATE, self.seed, part, speakers=speakers, utterances=utterances, noises=noises
            )
        return self._parts[part]

    def _voices(self, part: str) -> Speakers:
        return self._made(part).speakers[part]

    def _noises_alone(self, part: str) -> Sequence[Tensor]:
        """Generated noises beside recorded speakers."""
        key = f"{part}, noises alone"
        if key not in self._parts:
            noises = self.parts[part][2]
            self._parts[key] = recordings.generated(RATE, self.seed, part, speakers=0, utterances=0, noises=noises)
        return self._parts[key].noises[part]

    def _noises(self, part: str) -> Sequence[Tensor]:
        return self._made(part).noises[part]

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("validation", max(2, self.held_out // 4), 1_000_003 + self.seed)

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("test", self.held_out, 2_000_003 + self.seed)

    def _held(self, part: str, count: int, seed: int, **options: Any) -> list[Samples]:
        generator = torch.Generator().manual_seed(seed)
        return [
            self._draw(part, min(TOGETHER, count - first), generator, **options) for first in range(0, count, TOGETHER)
        ]

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        held = self.test[0]
        return Samples(held.data[:4], held.target[:4])

    def example(self) -> Any:
        """Noise that comes and goes, since recordings take long to prepare."""
        time = torch.linspace(0, 1, 8192)
        noise = torch.randn(1, 8192, generator=torch.Generator().manual_seed(3_000_003))
        return noise * torch.sin(20 * time).square()

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        return self._draw("train", batch, generator)

    def _draw(self, part: str, batch: int, generator: torch.Generator, **options: Any) -> Samples:
        target = torch.stack([self._pair(part, generator, **options) for _ in range(batch)])
        mixture = target.sum(1)
        level = norm(mixture, 1) * mixture.shape[1] ** -0.5
        return Samples(divide(mixture, level.unsqueeze(1)), divide(target, level.reshape(-1, 1, 1)))

    def _pair(self, part: str, generator: torch.Generator, **options: Any) -> Tensor:
        """Two sources, (2, samples)."""
        raise TypeError(f"{type(self).__name__} is a Mixtures without `_pair`")

    def _speaker(self, part: str, generator: torch.Generator, besides: str | None = None) -> tuple[str, Tensor]:
        """A speaker and an utterance of unit level. Of recordings those of training are heard as other voices would
        say them: then two of one speaker are two voices as well, and both are recorded or both are generated, lest
        speakers be told apart by how they were recorded.
        """
        if part == "train" and self._data is not None and self.vary:
            made = self._adds_generated(part, generator) if besides is None else besides in self._made_names
            return self._varied(made, int(torch.randint(UTTERANCES, (), generator=generator)))
        speakers = (self._made(part) if self._adds_generated(part, generator) else self.corpus).speakers[part]
        names = [name for name in speakers if name != besides]
        name = names[int(torch.randint(len(names), (), generator=generator))]
        return name, unit_level(stretch(speakers[name], self.count, RATE, generator))

    @cached_property
    def _made_names(self) -> frozenset[str]:
        return frozenset(self._made("train").speakers["train"] if self.mixed else ())

    def _varied(self, made: bool, number: int) -> tuple[str, Tensor]:
        """One of the utterances, generated or recorded, that training with other voices draws from, made when it is
        first asked for: making one takes half as long as a step of training on it.
        """
        key = (made, number)
        if key not in self._utterances:
            generator = torch.Generator().manual_seed(((self.seed + 1) * 2 + made) * 10_000_019 + number)
            speakers = (self._made("train") if made else self.corpus).speakers["train"]
            name = list(speakers)[int(torch.randint(len(speakers), (), generator=generator))]
            octaves = LITTLE if made else PITCH
            samples = other_speaker(speakers[name], self.count, RATE, self.stft, generator, octaves)
            self._utterances[key] = name, samples
        return self._utterances[key]

    def _noise_of(self, part: str, generator: torch.Generator) -> Sequence[Tensor]:
        """The noises that one is drawn from."""
        return self._made(part).noises[part] if self._adds_generated(part, generator) else self.corpus.noises[part]

    def _adds_generated(self, part: str, generator: torch.Generator) -> bool:
        return part == "train" and self.mixed > 0 and float(torch.rand((), generator=generator)) < self.mixed

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for recordings_ in (*self.corpus.speakers["train"].values(), self.corpus.noises["train"]):
            for samples in recordings_:
                digest.update(samples.contiguous().numpy().tobytes())
        return {
            "name": self.name,
            "rate": RATE,
            "seconds": self.seconds,
            "seed": self.seed,
            "unseen": ",".join(self.unseen),
            "material": "generated" if self._data is None else "recordings",
            **({} if self._data is None else {"mixed": self.mixed, "vary": int(self.vary)}),
            **({"attribution": note} if (note := attribution(self._data)) else {}),
            "speakers": {part: len(speakers) for part, speakers in self.corpus.speakers.items()},
            "fingerprint": digest.hexdigest()[:16],
        }

    @classmethod
    def small(cls) -> Mixtures:
        task = cls(seconds=0.5, held_out=4)
        task.parts = FEW
        return task

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """What is unlike the usual of what a network's weights depend on."""
        return "-".join(f"{key}{options[key]:g}" for key in cls.tagged if options[key] != cls.options[key])

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The first test mixtures, to be heard."""
        mixtures, target = self.test[0]
        return exhibits.sounds(mixtures, target, methods, self.scored, self.sources, RATE)

    def scored(self, estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The signals that scores are of, (count, samples), and the true ones."""
        raise TypeError(f"{type(self).__name__} is a Mixtures without `scored`")

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """SI-SDR and SDR themselves, and with ``perceptual`` STOI and PESQ."""
        pairs = [self.scored(e, b.target[: len(e)]) for e, b in zip(estimates, batches, strict=True)]
        found, true = torch.cat([e for e, _ in pairs]), torch.cat([t for _, t in pairs])
        values = {"SI-SDR (dB)": float(si_sdr(found, true).mean()), "SDR (dB)": float(sdr(found, true).mean())}
        if self.perceptual:
            values |= {"STOI": float(stoi(found, true, RATE).mean()), "PESQ": float(pesq(found, true, RATE).nanmean())}
        return values

    # For generic methods that know vectors only: log spectra of a frame and its neighbours, and masks.

    def rows(self, data: Tensor) -> Tensor:
        """log(|X|^2 + 1e-3) of each frame, the one before and the one after, (batch frames, 3 bins)."""
        frames = self.stft(data).mT.abs()
        return torch.log(stack_frames(frames, 3).square() + 1e-3).flatten(0, 1)

    def target_rows(self, target: Tensor) -> Tensor:
        """The share of each source in the energy of each bin, (batch frames, sources bins)."""
        energy = self.stft(target.flatten(0, 1)).abs().square().unflatten(0, target.shape[:2])
        share = energy / energy.sum(1, keepdim=True).clamp_min(1e-8)
        return share.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)

    def assemble(self, rows: Tensor, data: Tensor) -> Tensor:
        """The mixture under masks 1/(1 + exp(2 - 4 m)): close to m in [0, 1], and never outside."""
        spectrum = self.stft(data)
        masks = (
            torch.sigmoid(4 * rows - 2)
            .reshape(data.shape[0], spectrum.shape[2], len(self.sources), self.stft.bins)
            .permute(0, 2, 3, 1)
        )
        return self.stft.inverse(masked(masks, spectrum.unsqueeze(1)).flatten(0, 1), data.shape[1]).unflatten(
            0, (data.shape[0], -1)
        )
