"""ViterbiNet: the Viterbi algorithm with a learned likelihood (Shlezinger, Farsad, Eldar and Goldsmith 2020; survey,
section VI).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.detection.trellis import GaussianLikelihood, Observed
from unrolling.algorithms.detection.viterbi import BCJR, Viterbi
from unrolling.systems.base import Classical, Recipe, Reference, System, Tying
from unrolling.systems.communications import files
from unrolling.tasks.communications.sequence import SequenceDetection
from unrolling.training.stages import Cosine, Schedule, Stage


class LearnedLikelihood(nn.Module):
    """log p(s | y_t) up to a number for each t, by a network of y_t alone: 1 -> 100 -> 50 -> states, a sigmoid and a
    ReLU between.

    By Bayes' rule it is log p(y_t | s) up to that number, as all states are equally likely, so that neither p(y_t) nor
    p(s) is needed.

    Args:
        states: M^L.
        hidden: widths of the two hidden layers.
        seed: of the weights, uniform as torch's linear layers have them.
    """

    def __init__(self, states: int, hidden: tuple[int, int] = (100, 50), seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.second, self.last = (
                nn.Linear(1, hidden[0]),
                nn.Linear(hidden[0], hidden[1]),
                nn.Linear(hidden[1], states),
            )

    def forward(self, data: Observed) -> Float[Tensor, "batch T states"]:
        return self.last(torch.relu(self.second(torch.sigmoid(self.first(data.y.unsqueeze(2))))))


def parent(task: SequenceDetection) -> Viterbi:
    """Viterbi with a likelihood that knows nothing yet."""
    return Viterbi(LearnedLikelihood(task.trellis.states), task.trellis.levels, task.trellis.memory)


def schedule(depth: int) -> Schedule:
    """The likelihood alone, as a classifier of states: the search has nothing to learn, and the first layer is that
    classifier.
    """
    return [Stage(3000, rate=3e-3, batch=10, depth=1, annealing=Cosine(0.02, 1e-2), clip=1.0)]


def iterations(task: SequenceDetection) -> list[Classical]:
    """Detectors that know the channel, or believe to."""
    levels, memory = task.levels, task.trellis.memory

    def knowing(kind: type[Viterbi | BCJR], estimated: bool) -> Any:
        return lambda _: kind(GaussianLikelihood(levels, memory, estimated=estimated), len(levels), memory)

    return [
        Classical("Viterbi, true channel", knowing(Viterbi, False), (0.0,), 40, None, ""),
        Classical("Viterbi, estimated channel", knowing(Viterbi, True), (0.0,), 40, None, ""),
        Classical("BCJR, true channel", knowing(BCJR, False), (0.0,), 40, None, ""),
    ]


def tag(options: Mapping[str, Any]) -> str:
    """Taps, noise, and how well training knew the channel."""
    return f"{options['memory']}taps-decay{options['decay']:g}-{options['snr']:g}dB" + (
        f"-csi{options['csi_error']:g}" if options["csi_error"] else ""
    )


SYSTEM = System(
    name="communications/viterbinet",
    title="ViterbiNet",
    summary="symbols over a channel with memory whose law is not known: the Viterbi algorithm with a learned "
    "likelihood.",
    equations=(
        "l_t(s) = log p(s | y_t) by a network;  f_t(s) = l_t(s) + max_(s' -> s) f_(t-1)(s');  b_t(s) = l_t(s) + "
        "max_(s -> s') b_(t+1)(s')\n"
        "state at time t: argmax f + b - l. Layer d updates all times at once and decides from the d - 1 symbols on "
        "either side; layer 1 from y_t alone.\n"
        "One network serves all times and layers. With l_t(s) = -(y_t - h . a(s))^2 / 2 sigma^2 it is the Viterbi "
        "algorithm."
    ),
    references=(
        Reference(
            "Shlezinger, N., Farsad, N., Eldar, Y. C. and Goldsmith, A. J.",
            "ViterbiNet: a deep learning based Viterbi algorithm for symbol detection",
            "IEEE Trans. Wireless Communications 19(5)",
            2020,
            "10.1109/TWC.2020.2972352",
        ),
        Reference(
            "Forney, G. D.", "The Viterbi algorithm", "Proceedings of the IEEE 61(3)", 1973, "10.1109/PROC.1973.9030"
        ),
    ),
    home=Path(__file__).parent,
    recipes={
        "sequence": Recipe(
            task=SequenceDetection,
            parent=parent,
            depth=20,
            tying=lambda task: Tying(tied=("likelihood",)),
            schedule=schedule,
            classical=iterations,
            parent_name="Viterbi, true channel",
            generic_steps=3000,
            generic_batch=10,
            vectors=False,
            threads=1,
            notes=(
                "The network is told neither the channel nor the noise, and learns from a few thousand symbols of one "
                "channel at one SNR; Viterbi and BCJR are told both.",
                "SNR is 1 / sigma^2: the energy of the taps does not count.",
            ),
            options={
                "memory": 4,
                "decay": 0.5,
                "order": 2,
                "snr": 8.0,
                "csi_error": 0.0,
                "receiver_error": 0.1,
                "symbols": 5000,
            },
            tag=tag,
            apply=files.sequence(),
        )
    },
)
