"""What the systems around LISTA-CP share: references, the start at analytic weights, the schedule."""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.analytic import analytic_weights
from unrolling.algorithms.coupled import CoupledISTA, Selection
from unrolling.algorithms.dictionary import lipschitz
from unrolling.systems.base import Recipe, Reference, Tying
from unrolling.systems.sparse_coding import baselines
from unrolling.tasks.recovery import Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.schedules import SCHEMES
from unrolling.training.stages import Schedule, Stage

CHEN = Reference(
    "Chen, X., Liu, J., Wang, Z. and Yin, W.", "Theoretical linear convergence of unfolded ISTA and its practical weights and thresholds", "NeurIPS", 2018
)
LIU = Reference("Liu, J., Chen, X., Wang, Z. and Yin, W.", "ALISTA: Analytic weights are as good as learned weights in LISTA", "ICLR", 2019)
SELECTION = Selection(1.2, 13.0)  # percent, as the authors' commands for this problem have it
NOISY_SELECTION = Selection(1.2, 10.0)
FIRST_THRESHOLD = 0.4  # of the first layer, for signals of unit variance


def selection(task: Recovery) -> Selection:
    """Percentages of support selection; they grow with the density of the signals, and noise that passes unshrunk hurts."""
    base = SELECTION if task.snr >= 40 else NOISY_SELECTION
    factor = max(task.probability, 0.01) / 0.1
    return Selection(base.growth * factor, min(100.0, base.most * factor))


def analytic_parent(task: Recovery, *, selective: bool = True) -> CoupledISTA:
    """ISTA in residual form with W of least coherence in the place of A^T / L, and support selection."""
    dictionary = task.dictionary
    weight = FIRST_THRESHOLD * lipschitz(dictionary)
    chosen = selection(task) if selective else Selection()
    return CoupledISTA(dictionary, weight, encoder=analytic_weights(dictionary), selection=chosen)


def schedule(steps: int, rate: float, rates: dict[str, float], *, batch: int = 128) -> Any:
    """Layers added one by one, then refined together, on the logarithm of the relative error; rates are those of a new layer."""

    def stages(depth: int) -> Schedule:
        return SCHEMES["grow_then_refine"].make(depth, Stage(steps, rate=rate, rates=rates, batch=batch, loss=LogNMSE()))

    return stages


def recipe(parent: Any, tying: Tying, stages: Any, **own: Any) -> Recipe:
    """Synthetic recovery with 16 layers."""
    return baselines.recovery_recipe(
        parent=parent, depth=16, tying=lambda task: tying, schedule=stages, parent_name="ISTA", generic_steps=4000, generic_batch=128, **own
    )
