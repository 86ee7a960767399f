"""Weighted belief propagation: decoding with a learned weight for each iteration, or for each edge of a code's graph
(Nachmani, Be'ery and Burshtein 2016; survey, references [91] and [92]).
"""

from __future__ import annotations

from collections.abc import Callable

from unrolling.algorithms.graphs.decoding import ParityBeliefPropagation
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.communications import _words
from unrolling.tasks.communications.decoding import Decoding
from unrolling.training.stages import Cosine, Power, Schedule, Stage

DEPTH = 5
TYING = Tying(untied=("scale", "channel_weight"))
NOTE = (
    "bit to check: x_vc = b[t] l_v + sum over the other checks c' of v of m_c'v\n"
    "check to bit: m_cv = w[t] 2 artanh(product over the other bits v' of c of tanh(x_v'c / 2));    answer l_v + sum "
    "of "
    "m_cv over all checks of v\n"
)


NO_ONNX = {
    "decoding": {"onnx": "messages near certainty need exp(x) - 1 to full precision (expm1), which ONNX does not have"}
}


def recipe(per_edge: bool, steps: int) -> Recipe:
    """Belief propagation whose weights are ones at the start."""

    def parent(task: Decoding) -> ParityBeliefPropagation:
        return ParityBeliefPropagation(task.matrix, per_edge=per_edge)

    return Recipe(parent=parent, tying=TYING, depth=DEPTH, schedule=schedule(steps), range=_words.ranges)


def schedule(steps: int) -> Callable[[int], Schedule]:
    """All iterations at once, each by what it would decide."""
    return lambda depth: [
        Stage(steps, rate=1e-2, batch=128, supervision=Power(1.0), annealing=Cosine(0.02, 1e-2), clip=1.0)
    ]


SYSTEM = System(
    name="communications/weighted_bp",
    title="Weighted belief propagation",
    paradigm="hyperparameters",
    summary="words of a linear block code in five iterations of belief propagation, with two learned numbers in each.",
    equations=NOTE + "w = b = 1 at the start: belief propagation. One w and one b for each iteration serve any code.",
    references=("nachmani2016learning", "lian2019learned", "gallager1962low"),
    recipes={"decoding": recipe(False, 1000)},
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
            recipes={"decoding": recipe(True, 1500)},
            apply={"decoding": _words.decoding()},
            not_exported=NO_ONNX,
        ),
    ),
)
