"""Weighted belief propagation: decoding with a learned weight for each iteration, or for each edge of a code's graph
(Nachmani, Be'ery and Burshtein 2016; survey, references [91] and [92]).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolling.algorithms.graphs.decoding import ParityBeliefPropagation
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.communications import _words
from unrolling.tasks.communications.decoding import Decoding
from unrolling.training.losses import SampleLoss
from unrolling.training.stages import Cosine, Power, Schedule, Stage

DEPTH = 5
NOTE = (
    "bit to check: x_vc = b[t] l_v + sum over the other checks c' of v of m_c'v\n"
    "check to bit: m_cv = w[t] 2 artanh(product over the other bits v' of c of tanh(x_v'c / 2));    answer l_v + sum "
    "of "
    "m_cv over all checks of v\n"
)


NO_ONNX = {
    "decoding": {"onnx": "messages near certainty need exp(x) - 1 to full precision (expm1), which ONNX does not have"}
}


@dataclass(frozen=True)
class SoftWordErrors(SampleLoss):
    """1 / (1 + exp(-a)), a = log sum_v exp(-s_v l_v): about one where a word has a wrong bit, and nothing else counts.

    The cross-entropy of bits counts how wrong each is, which the rate of wrong words does not (Lian, Carpi, Haeger and
    Pfister 2019, arXiv:1901.08621, do so for bits).
    """

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        return torch.sigmoid(torch.logsumexp(-target * estimate, 1))


def recipe(*untied: str, per_edge: bool, schedule: Callable[[int], Schedule]) -> Recipe:
    """Belief propagation whose weights are ones at the start, and damping zero."""

    def parent(task: Decoding) -> ParityBeliefPropagation:
        return ParityBeliefPropagation(task.matrix, per_edge=per_edge)

    return Recipe(parent=parent, tying=Tying(untied=untied), depth=DEPTH, schedule=schedule, range=_words.ranges)


def words(depth: int) -> Schedule:
    """Fewer wrong words: few of a batch are, so batches are large."""
    return [Stage(800, rate=1e-2, batch=512, loss=SoftWordErrors(), annealing=Cosine(0.02, 1e-2), clip=1.0)]


def bits(depth: int) -> Schedule:
    """All iterations at once, each by the bits that it would decide."""
    return [Stage(1500, rate=1e-2, batch=128, supervision=Power(1.0), annealing=Cosine(0.02, 1e-2), clip=1.0)]


SYSTEM = System(
    name="communications/weighted_bp",
    title="Weighted belief propagation",
    paradigm="hyperparameters",
    summary="words of a linear block code in five iterations of belief propagation, with three learned numbers each.",
    equations=NOTE + "m_cv <- (1 - d[t]) m_cv + d[t] m_cv of the iteration before.    w = b = 1, d = 0 at the start: "
    "belief propagation. One w, b and d for each iteration serve any code.",
    references=("nachmani2016learning", "lian2019learned", "gallager1962low"),
    recipes={"decoding": recipe("scale", "channel_weight", "damping", per_edge=False, schedule=words)},
    apply={"decoding": _words.decoding()},
    not_exported=NO_ONNX,
    variants=(
        System(
            name="communications/weighted_bp_edges",
            title="Weighted belief propagation, a weight for each edge",
            paradigm="hyperparameters",
            summary="words of one linear block code in five iterations of belief propagation, with a learned number "
            "for each edge of its graph.",
            equations=NOTE + "w[t] a number for each edge, b[t] one for each bit; w = b = 1 at the start.",
            references=("nachmani2016learning", "nachmani2018deep", "gallager1962low"),
            recipes={"decoding": recipe("scale", "channel_weight", per_edge=True, schedule=bits)},
            apply={"decoding": _words.decoding()},
            not_exported=NO_ONNX,
        ),
    ),
)
