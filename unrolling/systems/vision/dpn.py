"""Deep Parsing Network: one step of mean field with a mixture of learned label contexts (Liu, Li, Luo, Loy and Tang
2015 and 2018; survey, reference [33]).
"""

from __future__ import annotations

from collections.abc import Sequence

from unrolling.algorithms.vision.dense_crf import CRFPotentials
from unrolling.algorithms.vision.parsing_network import ParsingNetwork
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.vision._fields import KERNELS_OF_SCENES, WEIGHTS_OF_SCENES, front, joint
from unrolling.systems.vision._pictures import segmenting
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.vision.segmentation import Refinement, Segmentation
from unrolling.training.stages import Cosine, Schedule, Stage


def parent(task: Segmentation) -> ParsingNetwork:
    """Potts's model on areas of five shapes, behind a network."""
    return ParsingNetwork(task.classes, CRFPotentials(front(task), **KERNELS_OF_SCENES), weight=WEIGHTS_OF_SCENES[1])


def given(task: Refinement) -> ParsingNetwork:
    """The same on scores that are given."""
    return ParsingNetwork(task.classes, task.potentials())


def schedule(depth: int) -> Schedule:
    """The network, then the contexts, then both; the layer of smoothing is not learned."""
    alone, both = joint(depth, ("contexts",))
    contexts = Stage(both.steps // 2, rate=3e-3, batch=both.batch, parameters=("contexts",), clip=1.0)
    return [alone, contexts, both]


def refine(depth: int) -> Schedule:
    """The contexts."""
    return [Stage(300, rate=1e-2, batch=8, annealing=Cosine(0.05, 1e-2), clip=1.0)]


def alone(system: System, task: Segmentation) -> Sequence[Baseline]:
    """What it is before training."""
    return [Iterative("its step, contexts untrained", lambda _: parent(task), (None,), 1, setting="")]


def step(system: System, task: Refinement) -> Sequence[Baseline]:
    """What it is before training."""
    return [Iterative("its step, contexts untrained", lambda _: given(task), (None,), 1, setting="")]


SYSTEM = System(
    name="vision/dpn",
    title="Deep Parsing Network",
    paradigm="objective",
    summary="classes of pixels: one step of mean field whose penalty mixes learned contexts of labels, behind a "
    "network that scores them.",
    equations=(
        "S_j^v = sum over z of d(j, z) Q_z^v,    Psi_i^u = min over k of sum over j, v of mu_k(j - i, u, v) S_j^v,    "
        "Q <- softmax(U - Psi),    Q = softmax(U) at the start\n"
        "U = scores of a fully convolutional network, or given; d the bilateral kernel, normalised, without j itself\n"
        "learned: the network and mu_1 ... mu_5, convolutions of 5 x 5, 25 K L^2 numbers for K contexts and L classes. "
        "At the start they are Potts's mu on areas of five shapes. With one context of one pixel it is a step of "
        "vision/crf_rnn."
    ),
    references=("liu2015semantic", "liu2018deep"),
    recipes={
        "segmentation": Recipe(parent=parent, tying=Tying(tied=("potentials", "contexts")), depth=1, schedule=schedule),
        "refinement": Recipe(parent=given, tying=Tying(tied=("contexts",)), depth=1, schedule=refine),
    },
    baselines={"segmentation": alone, "refinement": step},
    apply={"segmentation": segmenting()},
)
