"""CRF-RNN: mean field of a fully connected random field as layers behind a network that scores pixels (Zheng et al.
2015; survey (19)-(20), reference [31]).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from unrolling.algorithms.vision.dense_crf import CRFPotentials, DenseCRF
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.vision._fields import KERNELS_OF_SCENES, WEIGHTS_OF_SCENES, front, joint
from unrolling.systems.vision._pictures import refining, segmenting
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.vision.segmentation import Refinement, Segmentation
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 5


def parent(task: Segmentation) -> DenseCRF:
    """Potts's model behind a network."""
    spatial, bilateral = WEIGHTS_OF_SCENES
    potentials = CRFPotentials(front(task), **KERNELS_OF_SCENES)
    return DenseCRF(potentials, classes=task.classes, spatial_weight=spatial, bilateral_weight=bilateral)


def given(task: Refinement) -> DenseCRF:
    """Potts's model on scores that are given, with two numbers that serve any classes."""
    return DenseCRF(task.potentials())


def refine(depth: int) -> Schedule:
    """Two numbers for each step."""
    return [Stage(300, rate=5e-2, batch=8, annealing=Cosine(0.05, 1e-2), clip=1.0)]


def alone(system: System, task: Segmentation) -> Sequence[Baseline]:
    """What it is before training."""
    return [Iterative("dense CRF behind the untrained network", lambda _: parent(task), (None,), DEPTH, setting="")]


SYSTEM = System(
    name="vision/crf_rnn",
    title="CRF-RNN",
    paradigm="objective",
    summary="classes of pixels: a fully connected random field, five steps of mean field, behind a network that scores "
    "them, or on anybody's scores.",
    equations=(
        "Q <- softmax(U - mu (W_s G_s Q + W_b G_b Q)),    Q = softmax(U) at the start\n"
        "U = scores of a fully convolutional network, or given;    G_s(p, q) = exp(-|p - q|^2 / (2 g^2)),  G_b(p, q) = "
        "exp(-|p - q|^2 / (2 a^2) - |I_p - I_q|^2 / (2 b^2)),  zero for p = q, each as D^-1/2 G D^-1/2\n"
        "learned: the network, mu, W_s and W_b, 3 L^2 numbers for L classes, the same in all steps; on scores that are "
        "given, w_s and w_b of each step, with Potts's mu = 1 - I. At the start W_s = w_s I, W_b = w_b I."
    ),
    references=("zheng2015conditional", "krahenbuhl2011efficient", "long2015fully"),
    recipes={
        "segmentation": Recipe(
            parent=parent,
            tying=Tying(tied=("potentials", "spatial_weight", "bilateral_weight", "compatibility")),
            depth=DEPTH,
            schedule=partial(joint, learned=("spatial_weight", "bilateral_weight", "compatibility")),
        ),
        "refinement": Recipe(
            parent=given, tying=Tying(untied=("spatial_weight", "bilateral_weight")), depth=DEPTH, schedule=refine
        ),
    },
    baselines={"segmentation": alone},
    apply={"segmentation": segmenting(), "refinement": refining()},
    applied_first="refinement",
)
