"""ViterbiNet: the Viterbi algorithm with a learned likelihood (Shlezinger, Farsad, Eldar and Goldsmith 2020; survey,
section VI).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.detection.trellis import Observed
from unrolling.algorithms.detection.viterbi import Viterbi
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.communications import _sequences
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


SYSTEM = System(
    name="communications/viterbinet",
    title="ViterbiNet",
    paradigm="objective",
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
    references=("shlezinger2020viterbinet", "forney1973viterbi"),
    recipes={
        "sequence": Recipe(
            parent=parent,
            tying=Tying(tied=("likelihood",)),
            depth=20,
            schedule=schedule,
            range=_sequences.ranges,
        )
    },
    apply={"sequence": _sequences.sequence(LearnedLikelihood)},
)
