"""What the systems around LISTA-CP share: references, the start at analytic weights, the schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.coupled import CoupledISTA, Selection
from unrolling.algorithms.sparse.dictionary import lipschitz
from unrolling.systems.base import Recipe, Reference, Tying
from unrolling.systems.sparse_coding import baselines
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.schedules import SCHEMES
from unrolling.training.stages import Cosine, Last, Power, Schedule, Stage, Supervision

CHEN = Reference(
    "Chen, X., Liu, J., Wang, Z. and Yin, W.",
    "Theoretical linear convergence of unfolded ISTA and its practical weights and thresholds",
    "NeurIPS",
    2018,
)
LIU = Reference(
    "Liu, J., Chen, X., Wang, Z. and Yin, W.",
    "ALISTA: Analytic weights are as good as learned weights in LISTA",
    "ICLR",
    2019,
)
# Percent per layer and at most, for signals a tenth of whose entries are not zero; chosen on validation data. Without
# noise every layer from the fifth on selects more entries than there are, and is a hard threshold. The authors'
# commands have 1.2 and 13, which reaches
# that in the tenth layer: the error then rises there before it falls on, while an early layer gains more than the
# change costs. Noise that passes unshrunk
# hurts, and theirs are best.
SELECTION = Selection(2.5, 100.0)
NOISY_SELECTION = Selection(1.2, 13.0)
FIRST_THRESHOLD = 0.4  # of the first layer, for signals of unit variance


def selection(task: Recovery) -> Selection:
    """Percentages of support selection, which grow with the density of the signals."""
    if task.group > 1 or task.nonnegative:
        return Selection()  # the surest entries would have to be found by group, or sign
    base = SELECTION if task.snr >= 40 else NOISY_SELECTION
    factor = max(task.density, 0.01) / 0.1
    return Selection(base.growth * factor, min(100.0, base.most * factor))


def analytic_parent(task: Recovery, *, selective: bool = True) -> CoupledISTA:
    """ISTA in residual form with W of least coherence in the place of A^T / L, and support selection; of groups or
    non-negative signals with their prox.
    """
    dictionary = task.dictionary
    weight = FIRST_THRESHOLD * lipschitz(dictionary)
    chosen = selection(task) if selective else Selection()
    return CoupledISTA(
        dictionary, weight, encoder=analytic_weights(dictionary), selection=chosen, prox=baselines.penalty(task)
    )


def schedule(steps: int, rate: float, rates: dict[str, float], *, batch: int = 64) -> Callable[[int], Schedule]:
    """Layers added one by one, then refined together, on the logarithm of the relative error; rates are those of a new
    layer.
    """

    def stages(depth: int) -> Schedule:
        return SCHEMES["grow_then_refine"].make(
            depth, Stage(steps, rate=rate, rates=rates, batch=batch, loss=LogNMSE())
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
        )
        rates = {"threshold": rate / 20, "encoder": encoder}
        free = replace(
            like,
            steps=rest,
            batch=128,
            rate=rate / 20,
            rates=rates,
            parameters=None,
            supervision=joint,
            annealing=Cosine(0.05, 0.02),
        )
        return [*SCHEMES["grow_then_refine"].make(depth, like), free]

    return stages


def recipe(parent: Any, tying: Tying, stages: Any, **own: Any) -> Recipe:
    """Synthetic recovery with 16 layers."""
    given = {"depth": 16, "parent_name": "ISTA", "generic_steps": 4000, "generic_batch": 128, **own}
    return baselines.recovery_recipe(parent=parent, tying=lambda task: tying, schedule=stages, **given)
