"""ISTA-Net+: compressive imaging by proximal gradient steps with a learned transform, one network for many rates
(Zhang and Ghanem 2018).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from unrolling.algorithms.splitting.block_projections import BlockProjections, RatedProximalGradient
from unrolling.algorithms.splitting.learned_projections import LearnedProjections
from unrolling.core import Unrolled, unroll
from unrolling.networks.transform_shrinkage import TransformShrinkage
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._block_samples import NO_ONNX, application, reconstructed
from unrolling.tasks.images.compressive_learned import CompressiveLearned
from unrolling.tasks.images.compressive_rates import CompressiveRates
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, CHANNELS, THRESHOLD = 9, 32, 0.001
STEPS = 36_000
RATED: tuple[str, ...] = ("step_size", "threshold", "step_slope", "threshold_slope", "gain_slope")
LEARNED = ("prox", *RATED)
MATRIX = "data_term.matrix"


def parent(task: CompressiveRates) -> RatedProximalGradient:
    """Gradient steps on 0.5 |Phi x - y|^2 from the linear estimate: the last convolution is zero, so that the prox is
    the identity.
    """
    prox = TransformShrinkage(CHANNELS)
    return RatedProximalGradient(BlockProjections(task.block), prox, THRESHOLD, channels=CHANNELS)


def build(task: CompressiveRates, depth: int) -> Unrolled:
    """Each layer with random numbers of its own: as they have no say at the start, it is the parent all the same."""
    return redrawn(unroll(parent(task), depth, untied=LEARNED))


def redrawn(network: Unrolled) -> Unrolled:
    """The network with other random numbers in each layer."""
    layer: Any
    for number, layer in enumerate(network.layers):
        layer.prox.draw(number)
    return network


def schedule(depth: int) -> Schedule:
    """All layers at once, two crops of 99 x 99 pixels at a time."""
    rates: dict[str, float] = dict.fromkeys(RATED, 5e-3)
    return [Stage(STEPS, rate=5e-4, batch=2, rates=rates, annealing=Cosine(0.01, 1e-2), clip=1.0)]


def learned_parent(task: CompressiveLearned, *, binary: bool = False) -> RatedProximalGradient:
    """As ``parent``, with measurements that begin as the principal components of pixels that resemble their
    neighbours.
    """
    term = LearnedProjections(task.m, task.block, binary=binary)
    return RatedProximalGradient(term, TransformShrinkage(CHANNELS), THRESHOLD, channels=CHANNELS)


def learned_build(task: CompressiveLearned, depth: int, *, binary: bool = False) -> Unrolled:
    """Layers as in ``build``, and one matrix for all."""
    return redrawn(unroll(learned_parent(task, binary=binary), depth, tied=(MATRIX,), untied=LEARNED))


def learned_schedule(depth: int) -> Schedule:
    """As ``schedule``, the matrix more slowly."""
    return [replace(stage, rates={**stage.rates, MATRIX: 1e-4}) for stage in schedule(depth)]


def learned(name: str, title: str, summary: str, matrix: str, binary: bool) -> System:
    """A variant that learns what is measured."""
    return System(
        name=name,
        title=title,
        paradigm="objective",
        summary=summary,
        equations=(
            f"y = W b of every block b of 33 x 33 pixels, {matrix}, learned with the network; Phi = L^-1 W with "
            "W W^T = L L^T and L^-1 y in the place of W and y; then as imaging/ista_net.\n"
            "At the start W holds the first principal components of pixels with covariance 1 + exp(-distance / 40)."
        ),
        references=("zhang2018ista", "shi2017deep", "zhang2020optimization"),
        recipes={
            "compressive_learned": Recipe(
                parent=partial(learned_parent, binary=binary),
                tying=Tying(tied=(MATRIX,), untied=LEARNED),
                depth=DEPTH,
                schedule=learned_schedule,
                build=partial(learned_build, binary=binary),
            )
        },
        not_exported={"compressive_learned": {"onnx": NO_ONNX}},
    )


SYSTEM = System(
    name="imaging/ista_net",
    title="ISTA-Net+",
    paradigm="objective",
    summary="photographs from 1 to 50 % of their measurements through random projections of blocks: proximal gradient "
    "steps with a learned transform and soft thresholds, one network for all rates and matrices.",
    equations=(
        "r = x - mu[t] e^(b[t].f) Phi^T (Phi x - y),    x <- r + G[t](B[t](e^(E[t].f) S(F[t](D[t] r), "
        "theta[t] e^(C[t].f))))\n"
        "Phi: the matrix of the data for every block of 33 x 33 pixels, orthonormal rows. D, G: a convolution of "
        "3 x 3, to 32 channels and back; F, B: two with a ReLU between them; over the whole picture, so that blocks "
        "know their neighbours. S: soft threshold. f: the weights of five rates, 1 to 50 %.\n"
        "At the start G = 0, b = C = E = 0, mu = 1, theta = 0.001, and x is the best linear estimate for pixels with "
        "covariance 1 + exp(-distance / 40)."
    ),
    references=("zhang2018ista",),
    recipes={
        "compressive_rates": Recipe(
            parent=parent,
            tying=Tying(untied=LEARNED),
            depth=DEPTH,
            schedule=schedule,
            build=build,
            range=lambda task: {"measured": Range(100 * task.rates[0], 100 * task.rates[1])},
        )
    },
    apply={"compressive_rates": application(reconstructed)},
    not_exported={"compressive_rates": {"onnx": NO_ONNX}},
    variants=(
        learned(
            "imaging/ista_net_learned",
            "ISTA-Net+ with learned measurements",
            "photographs from a quarter of their measurements, which are learned with the network that recovers them.",
            "W (272, 1089) of real numbers",
            False,
        ),
        learned(
            "imaging/ista_net_binary",
            "ISTA-Net+ with learned binary measurements",
            "photographs from a quarter of their measurements, each a sum and difference of pixels as mirrors that are "
            "flipped give it, which are learned with the network that recovers them.",
            "W (272, 1089) of -1 and 1 over 33",
            True,
        ),
    ),
)
