"""What the systems for sparse codes share: the start at analytic weights, and how layers are trained one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from unrolling.algorithms import AMP, VAMP, SynthesisISTA
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.convolutional import tight_frame
from unrolling.algorithms.sparse.coupled import CoupledISTA, Selection
from unrolling.algorithms.sparse.dictionary import lipschitz
from unrolling.operators import dct_atoms
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian
from unrolling.systems.base import Recipe, Tying
from unrolling.tasks.images.blocks import free_mean
from unrolling.tasks.images.photographs import Photographs
from unrolling.tasks.sparse.recovery import QUIET, Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.schedules import SCHEMES
from unrolling.training.stages import Cosine, Last, Power, Schedule, Stage, Supervision

# Percent per layer and at most, for signals a tenth of whose entries are not zero; chosen on validation data. Without
# noise the steps become hard thresholds of 15 percent from the sixth layer on: as many entries as the densest of 20,000
# signals has. With no limit the densest fail, as wrong entries then pass unshrunk; with the 13 percent of the authors'
# commands a signal of more non-zeros is shrunk to the end. Noise that passes unshrunk hurts, and theirs are best.
SELECTION = Selection(2.5, 15.0)
NOISY_SELECTION = Selection(1.2, 13.0)
# Training signals have up to so many times the density of the task's: a mean over batches of 64 hardly sees the one
# signal in a thousand that is half as dense again, on which a network that has not seen it fails altogether.
DENSER = 1.4
FIRST_THRESHOLD = 0.4  # of the first layer, for signals of unit variance
# Where the learning of the prior begins: three times as many non-zeros, of three times the variance, as the reference
# problem has. No task is looked at.
FIRST_PROBABILITY, FIRST_VARIANCE = 0.3, 3.0
ATOM_SIDE = 8  # pixels, of convolutional dictionaries
ATOM_WEIGHT = 0.01  # of all their atoms but the constant one
# Blocks of five columns, any two of which have the inner product 0.9.
COHERENT = {"m": 50, "n": 100, "probability": 0.05, "coherence": 0.9}


def selection(task: Recovery) -> Selection:
    """Percentages of support selection, which grow with the density of the signals."""
    if task.group > 1 or task.nonnegative:
        return Selection()  # the surest entries would have to be found by group, or sign
    base = SELECTION if task.snr >= QUIET else NOISY_SELECTION
    factor = max(task.density, 0.01) / 0.1
    return Selection(base.growth * factor, min(100.0, base.most * factor))


def analytic_parent(task: Recovery, *, selective: bool = True) -> CoupledISTA:
    """ISTA in residual form with W of least coherence in the place of A^T / L, and support selection; of groups or
    non-negative signals with their prox.
    """
    dictionary = task.dictionary
    weight = FIRST_THRESHOLD * lipschitz(dictionary)
    chosen = selection(task) if selective else Selection()
    return CoupledISTA(dictionary, weight, encoder=analytic_weights(dictionary), selection=chosen, prox=task.prox)


def drawn(denser: float) -> dict[str, float]:
    """The values that a stage draws signals with, up to so many times as dense as the task's."""
    return {} if denser == 1 else {"denser": denser}


def grown(
    steps: int, rate: float, rates: dict[str, float] | None = None, *, batch: int = 64, denser: float = 1.0
) -> Callable[[int], Schedule]:
    """Layers added one by one, then refined together, on the logarithm of the relative error; rates are those of a new
    layer. Signals are up to ``denser`` times as dense as the task's.
    """

    def stages(depth: int) -> Schedule:
        return SCHEMES["grow_then_refine"].make(
            depth,
            Stage(steps, rate=rate, rates=rates or {}, batch=batch, loss=LogNMSE(), draw=drawn(denser)),
        )

    return stages


def freed(
    steps: int,
    rest: int,
    rate: float,
    encoder: float,
    *,
    supervision: Supervision = Last(),  # noqa: B008 (frozen)
    joint: Supervision = Power(4.0),  # noqa: B008
    denser: float = 1.0,
) -> Callable[[int], Schedule]:
    """As ALISTA is trained, W staying at the analytic weights; then W at a low rate, and the rest at a twentieth of its
    own.

    Args:
        steps: of the first part.
        rest: of the second.
        rate: of the step size and the threshold of a new layer.
        encoder: rate of W.
        supervision: of the first part, while layers are added.
        joint: supervision of the second part. With the last layer alone, earlier layers get worse for its sake.
        denser: signals are up to so many times as dense as the task's.
    """

    def stages(depth: int) -> Schedule:
        like = Stage(
            steps,
            rate=rate,
            rates={"threshold": rate},
            batch=64,
            loss=LogNMSE(),
            supervision=supervision,
            parameters=("step_size", "threshold"),
            draw=drawn(denser),
        )
        free = replace(
            like,
            steps=rest,
            batch=128,
            rate=rate / 20,
            rates={"threshold": rate / 20, "encoder": encoder},
            parameters=None,
            supervision=joint,
            annealing=Cosine(0.05, 0.02),
        )
        return [*SCHEMES["grow_then_refine"].make(depth, like), free]

    return stages


def bernoulli_gaussian() -> BernoulliGaussian:
    """A posterior mean whose prior is to be learned."""
    return BernoulliGaussian(FIRST_PROBABILITY, FIRST_VARIANCE)


def amp_recipe(shrinkage: Callable[[], nn.Module], schedule: Callable[[int], Schedule]) -> Recipe:
    """AMP with a shrinkage of its own in each layer and one matrix for all."""
    return Recipe(
        parent=lambda task: AMP(task.dictionary, shrinkage()),
        tying=Tying(tied=("encoder",), untied=("denoiser",)),
        depth=16,
        schedule=schedule,
    )


def vamp_recipe(shrinkage: Callable[[], nn.Module], schedule: Callable[[int], Schedule]) -> Recipe:
    """VAMP with a shrinkage of its own in each layer; the noise is fitted to each sample."""
    return Recipe(
        parent=lambda task: VAMP(task.dictionary, shrinkage()),
        tying=Tying(untied=("denoiser",)),
        depth=16,
        schedule=schedule,
    )


def convolutional(kind: type[SynthesisISTA]) -> Callable[[Photographs], SynthesisISTA]:
    """ISTA over the DCT of 8 x 8 pixels at every second pixel, a tight frame, started at the linear estimate."""

    def parent(task: Photographs) -> SynthesisISTA:
        frame, weights = tight_frame(dct_atoms(ATOM_SIDE), 2), free_mean(ATOM_WEIGHT, ATOM_SIDE)
        return kind(task.sensing, frame, weights, initial=task.linear_estimate())

    return parent


def on_pictures(steps: int, rate: float, last: float = 1e-2) -> Callable[[int], Schedule]:
    """All layers at once, on four crops a step; the rate falls to the part ``last`` of itself."""
    return lambda depth: [
        Stage(steps, rate=rate, rates={"threshold": 1e-1}, batch=4, annealing=Cosine(0.1, last), clip=0.05)
    ]


def expected_support(task: Recovery) -> int:
    """The mean number of non-zeros."""
    return max(1, round(task.probability * task.dictionary.shape[1]))
