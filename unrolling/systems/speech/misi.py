"""Unfolded MISI: phase reconstruction as layers, the masks before it trained through them (Wang, Le Roux, Wang and
Hershey 2018; survey, section III-D).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sound.misi import MISI, Magnitudes
from unrolling.core import Unrolled
from unrolling.files.sound import Applied
from unrolling.networks.temporal import TemporalConvolutions
from unrolling.operators.stft import STFT
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.speech._files import application, ratio
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.speech.mixtures import Mixtures
from unrolling.tasks.speech.separation import Separation
from unrolling.tasks.speech.speech_metrics import sdr
from unrolling.training.losses import SampleLoss
from unrolling.training.stages import Cosine, Schedule, Stage

DIFFERENCE = "difference of levels"
SEED = 0  # of the mask network's initial values
WIDTH = 88  # of the mask network


@dataclass(frozen=True)
class SigmoidMask:
    """top / (1 + exp(-z)): of top 1 the usual mask; of top 2 the doubled sigmoid, which lets a source be louder than
    the mixture where phases cancel.

    Attributes:
        top: largest value.
    """

    top: float = 2.0
    channels = 1  # numbers that the network gives for one mask

    def __call__(self, z: Float[Tensor, "batch 1 ..."]) -> Float[Tensor, "batch ..."]:
        return self.top * torch.sigmoid(z[:, 0])

    def biases(self) -> tuple[float, ...]:
        """At which the mask is 1/2."""
        return (-log(2 * self.top - 1) if self.top > 0.5 else 0.0,)


@dataclass(frozen=True)
class ReLUMask:
    """min(max(z, 0), top), the clipped rectifier."""

    top: float = 2.0
    channels = 1

    def __call__(self, z: Float[Tensor, "batch 1 ..."]) -> Float[Tensor, "batch ..."]:
        return z[:, 0].clamp(0, self.top)

    def biases(self) -> tuple[float, ...]:
        """At which the mask is 1/2."""
        return (0.5,)


@dataclass(frozen=True)
class ConvexMask:
    """sum_i v_i softmax(z)_i, the convex softmax with values 0, 1, 2."""

    values: tuple[float, ...] = (0.0, 1.0, 2.0)

    @property
    def channels(self) -> int:
        """One number per value."""
        return len(self.values)

    def __call__(self, z: Float[Tensor, "batch values ..."]) -> Float[Tensor, "batch ..."]:
        weights = torch.softmax(z, dim=1)
        return torch.stack([v * weights[:, k] for k, v in enumerate(self.values)], dim=1).sum(1)

    def biases(self) -> tuple[float, ...]:
        """Small values first."""
        return tuple(-v for v in self.values)


class MaskedMagnitudes(nn.Module):
    """A_c = m_c |X|, the masks m_c from log |X| by convolutions along time: mixtures (batch, samples) ->
    ``Magnitudes``.

    Mixtures have unit root mean square.

    Args:
        stft: of the mixture.
        sources: how many.
        mask: range of the masks.
        width: of the network.
        repeats: of its rows of dilations.
        seed: of its initial values.
    """

    def __init__(
        self,
        stft: STFT,
        sources: int = 2,
        *,
        mask: SigmoidMask | ReLUMask | ConvexMask = SigmoidMask(),
        width: int = 64,
        repeats: int = 2,
        seed: int = SEED,
    ) -> None:
        super().__init__()
        self.stft, self.sources, self.mask = stft, sources, mask
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = TemporalConvolutions(
                stft.bins, mask.channels * sources * stft.bins, width=width, repeats=repeats
            )
        with torch.no_grad():
            biases = torch.tensor(mask.biases()).reshape(-1, 1).expand(-1, sources * stft.bins)
            assert self.network.last.bias is not None
            self.network.last.bias.copy_(biases.flatten())

    def forward(self, mixture: Float[Tensor, "batch samples"]) -> Magnitudes:
        """Masked magnitudes of the mixture."""
        magnitude = self.stft(mixture).abs()
        # About zero mean and unit variance for speech of unit level; the constant keeps silence finite.
        features = 0.25 * torch.log(magnitude.square() + 1e-3)
        z = self.network(features).unflatten(1, (self.mask.channels, self.sources, self.stft.bins))
        return Magnitudes(mixture, self.mask(z) * magnitude.unsqueeze(1))


def parent(task: Separation, mask: SigmoidMask | ReLUMask | ConvexMask = SigmoidMask(), width: int = WIDTH) -> MISI:
    """MISI behind a mask network that has learned nothing yet; its sources add up to the mixture."""
    masks = MaskedMagnitudes(task.stft, len(task.sources), mask=mask, width=width)
    return MISI(task.stft, magnitudes=masks, mixture_consistent=True)


@dataclass(frozen=True)
class NegativeSDR(SampleLoss):
    """-10 log10(|x|^2 / |x - x'|^2) in dB: a wrong scale counts. MISI shares out what is missing from the mixture,
    which means nothing at a free scale.
    """

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        return -sdr(estimate.flatten(1), target.flatten(1))


def schedule(depth: int) -> Schedule:
    """The masks for the mixture's phase first (one layer), then through all layers."""
    masks = Stage(10000, rate=2e-3, batch=8, depth=1, annealing=Cosine(0.05, 0.05), clip=5.0)
    through = Stage(600, rate=5e-4, batch=8, annealing=Cosine(0.05, 1e-2), clip=5.0)
    return [masks] if depth == 1 else [masks, through]


def masked(system: System, task: Separation) -> Sequence[Baseline]:
    """MISI behind masks that were trained without it (one layer), where such weights are shipped."""
    if not system.weights_path(task.name, 1, {}).is_file():
        return []
    masks = system.pretrained(task.name, 1).layers[0].magnitudes
    assert isinstance(masks, nn.Module)
    return [
        Iterative(
            "MISI, masks trained alone",
            lambda _: MISI(task.stft, magnitudes=masks, mixture_consistent=True),
            (None,),
            20,
            setting="",
        )
    ]


def context(network: Unrolled, task: Mixtures) -> int:
    """Samples that an estimate depends on: the mask network's memory, and two frames for each layer."""
    masks = network.layers[0].magnitudes
    assert isinstance(masks, MaskedMagnitudes)
    return masks.network.memory * task.stft.hop + 2 * task.stft.size * (len(network) + 1)


def trained_range(task: Separation) -> dict[str, Range]:
    """How much louder one of the two may be, in dB."""
    return {DIFFERENCE: Range(-task.levels, task.levels)}


def found(applied: Applied) -> list[Condition]:
    """How much louder the first voice came out than the second."""
    return ratio(DIFFERENCE, applied, "beyond it much of the louder voice stays in the other one's file")


SYSTEM = System(
    name="speech/misi",
    title="Unfolded MISI",
    paradigm="inductive-bias",
    summary="two speakers out of their mixture: masks by a small network, trained through the iterations that find "
    "phases for them.",
    equations=(
        "A_c = m_c(x) |STFT x|, 0 <= m_c <= 2;    u_c = x at first\n"
        "s_c = STFT^-1(A_c exp(j angle STFT u_c));    u_c = s_c + (x - s_1 - s_2) / 2;    estimate u_c\n"
        "a layer has no parameters of its own; the mask network m is learned, through all layers. One layer is "
        "masking with the mixture's phase, what is missing shared out;\nK + 1 layers are what the literature calls K "
        "iterations."
    ),
    references=("wang2018end", "gunawan2010iterative"),
    recipes={
        "separation": Recipe(
            parent=parent, tying=Tying(tied=("magnitudes",)), depth=4, schedule=schedule, range=trained_range
        )
    },
    baselines={"separation": masked},
    apply={
        "separation": application(
            ("one speaker", "the other"),
            context,
            ("-speaker1.wav", "-speaker2.wav"),
            found=found,
            least=2,
            interchangeable=True,
        )
    },
)
