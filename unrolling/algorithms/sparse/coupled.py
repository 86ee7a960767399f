"""ISTA whose weights are coupled and whose surest entries are not shrunk: the family of LISTA-CP, LISTA-SS, TiLISTA and
ALISTA.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.kernels.product_form import ProductForm, ProductStep
from unrolling.algorithms.kernels.residual_form import ResidualForm, ResidualStep
from unrolling.algorithms.sparse.dictionary import (
    check_dictionary,
    check_weight,
    check_width,
    lipschitz,
    scalar_parameter,
    step_advice,
)
from unrolling.algorithms.sparse.ista import GramISTA, Prox, is_soft, penalty_of
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.deploy import FusedLayers, register
from unrolling.operators.linear import RowMatrix
from unrolling.prox import soft_threshold, support_select


class Selection(NamedTuple):
    """Support selection: in step t (from 1) the min(growth t, most) percent of the entries that are largest pass the
    threshold unshrunk.
    """

    growth: float = 0.0  # percent per step; 0 switches it off
    most: float = 13.0  # percent

    def count(self, step: int, n: int) -> int:
        """How many of n entries may pass in a step counted from 0."""
        return int(n * min(self.growth * (step + 1), self.most) / 100)

    def settled(self, steps: int) -> bool:
        """Whether all steps from here on select as many entries."""
        return self.growth == 0 or self.growth * steps >= self.most


class SelectedState(NamedTuple):
    """An iterate with the number of steps taken, which support selection looks at."""

    x: Tensor  # (batch, n)
    steps: int


def check_selection(selection: Selection | tuple[float, float], prox: Prox = soft_threshold) -> Selection:
    """Growth and limit in percent, beside the shrinkage of entries that are not selected.

    Raises:
        ValueError: a negative growth, a limit outside 0..100, selection beside another prox than soft-thresholding.
    """
    chosen = Selection(*selection)
    if not (chosen.growth >= 0 and 0 <= chosen.most <= 100):
        raise ValueError(f"selection is (percent per step >= 0, percent at most <= 100); got {tuple(chosen)}")
    if chosen.growth and prox is not soft_threshold:
        raise ValueError("support selection goes with soft-thresholding; leave out `selection` or `prox`")
    return chosen


class CoupledISTA(Iteration):
    """x <- S_theta,p(x + gamma W (y - A x)): the residual form, in which W_t = I - gamma W A is coupled to the encoder
    gamma W.

    S_theta,p is soft-thresholding but for the p percent largest entries, which pass unshrunk where they exceed theta
    (``support_select``). Unrolled it is LISTA-CP and LISTA-CPSS with W and theta untied (Chen, Liu, Wang and Yin 2018,
    arXiv:1808.10038; survey, box "Convergence and Optimality Analysis of LISTA"), TiLISTA with W tied and gamma and
    theta untied, ALISTA with W fixed at ``analytic_weights`` (Liu, Chen, Wang and Yin 2019, openreview:B1lnzn0ctQ).
    With the default W = A^H / L, gamma = 1 and no selection it is ISTA, to the bit of ``ThinISTA``.

    Parameters: ``encoder`` W (n, m), ``step_size`` gamma, positive, ``threshold`` theta, positive.

    Args:
        dictionary: A (m, n), real.
        weight: lambda >= 0; the threshold starts at lambda / L.
        encoder: W (n, m) at the start; A^T / L by default.
        selection: support selection, (percent per step, percent at most).
        prox: in the place of soft-thresholding where nothing is selected, such as ``nonnegative``.

    Raises:
        TypeError: a complex dictionary with selection.
        ValueError: a zero column, a negative weight, an encoder of another shape, a selection that is none, or one
            beside another prox.
    """

    algorithm = "ISTA"

    dictionary: Tensor

    def __init__(
        self,
        dictionary: Float[Tensor, "m n"],
        weight: float | Tensor,
        *,
        encoder: Float[Tensor, "n m"] | None = None,
        selection: Selection | tuple[float, float] = Selection(),  # noqa: B008 (immutable)
        prox: Prox = soft_threshold,
    ) -> None:
        super().__init__()
        self.register_buffer("dictionary", check_dictionary(dictionary.detach()))
        self.selection, self.prox = check_selection(selection, prox), prox
        step = 1 / lipschitz(dictionary)
        if encoder is None:
            encoder = step * self.dictionary.mH
        elif encoder.shape != self.dictionary.mH.shape:
            raise ValueError(
                f"encoder has shape {tuple(encoder.shape)}; for a dictionary {tuple(dictionary.shape)} "
                f"it is {tuple(self.dictionary.mH.shape)}"
            )
        self.encoder = RowMatrix(
            nn.Parameter(encoder.detach().to(self.dictionary).clone(memory_format=torch.contiguous_format))
        )
        self.step_size = scalar_parameter(1.0, dictionary)
        self.threshold = scalar_parameter(torch.as_tensor(check_weight(weight)) * step, dictionary)
        constrain(self, "step_size", Positive())
        constrain(self, "threshold", Positive())

    def start(self, problem: Float[Tensor, "batch ... m"]) -> SelectedState:
        """x = 0."""
        return SelectedState(problem.new_zeros(*problem.shape[:-1], self.dictionary.shape[1]), 0)

    def forward(self, state: SelectedState, problem: Float[Tensor, "batch ... m"]) -> SelectedState:
        """One step."""
        moved = state.x + self.step_size * self.encoder(problem - state.x @ self.dictionary.T)
        count = self.selection.count(state.steps, self.dictionary.shape[1])
        x = support_select(moved, self.threshold, count) if count else self.prox(moved, self.threshold)
        return SelectedState(x, state.steps + 1)

    def objective(self, state: SelectedState, problem: Float[Tensor, "batch ... m"]) -> Float[Tensor, " batch"]:
        """0.5 |y - A x|^2 + lambda |x|_1 with lambda = theta L, (batch,): what ISTA with this threshold minimises."""
        residual = tree.rows(problem - state.x @ self.dictionary.T)
        return 0.5 * residual.abs().square().sum(1) + penalty_of(
            self.prox, state.x, lipschitz(self.dictionary) * self.threshold
        )

    def residual(self, new: SelectedState, old: SelectedState, problem: Tensor) -> Tensor:
        """Of x; infinite while the share of selected entries still grows."""
        change = tree.relative_change(new.x, old.x)
        return change if self.selection.settled(new.steps) else torch.full_like(change, torch.inf)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)

    def advice(self) -> str:
        return step_advice(1 / lipschitz(self.dictionary), self.dictionary) + (
            "; support selection is no descent method: it converges for sparse x only"
        )


def _coupled_layers(layers: Sequence[CoupledISTA]) -> FusedLayers | None:
    """gamma merged into W; as one product with I - gamma W A where that is cheaper, which it is when layers share it
    and n < 2 m.
    """
    first = layers[0]
    if not all(is_soft(layer, layer.encoder) for layer in layers):
        return None
    (m, n), selection = first.dictionary.shape, first.selection
    count = (lambda step: selection.count(step, n)) if selection.growth else None
    encoders: dict[tuple[int, int], Tensor] = {}  # gamma W, once for layers that share both
    merged = [
        encoders.setdefault((id(layer.encoder.matrix), id(layer.step_size)), layer.step_size * layer.encoder.matrix)
        for layer in layers
    ]
    if n < 2 * m and len(encoders) == 1:
        mixer = torch.eye(n, dtype=merged[0].dtype, device=merged[0].device) - merged[0] @ first.dictionary
        steps = [ProductStep(merged[0], mixer, layer.threshold) for layer in layers]
        form = ProductForm(steps, count)
    else:
        steps = [ResidualStep(own, layer.threshold) for own, layer in zip(merged, layers, strict=True)]
        form = ResidualForm(first.dictionary, steps, count)

    def run(data: Any, state: Any) -> SelectedState | None:
        if state is not None and type(state) is not SelectedState:
            return None
        x, taken = (None, 0) if state is None else state
        x = form(data, x, taken)
        return None if x is None else SelectedState(x, taken + len(layers))

    return run


register(CoupledISTA, _coupled_layers)


class SelectiveGramISTA(GramISTA):
    """x <- S_theta,p(W_e y + W_t x): ``GramISTA``, its p percent largest entries unshrunk. Unrolled it is LISTA-SS
    (Chen et al. 2018, arXiv:1808.10038).

    Parameters: as ``GramISTA``.

    Args:
        dictionary: A (m, n), real.
        weight: lambda >= 0, a number or (n,).
        selection: support selection, (percent per step, percent at most).

    Raises:
        ValueError: as ``GramISTA``; a selection that is none.
    """

    def __init__(
        self, dictionary: Float[Tensor, "m n"], weight: float | Tensor, *, selection: Selection | tuple[float, float]
    ) -> None:
        super().__init__(dictionary, weight)
        self.selection = check_selection(selection)

    def start(self, problem: Float[Tensor, "batch ... n"]) -> SelectedState:  # pyright: ignore
        """x = 0."""
        return SelectedState(super().start(problem), 0)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, state: SelectedState, problem: Float[Tensor, "batch ... n"], scale: float = 1.0
    ) -> SelectedState:
        """One step; ``scale`` multiplies the threshold."""
        count = self.selection.count(state.steps, self.dictionary.shape[1])
        return SelectedState(
            support_select(self.mix(state.x, problem), self._scaled_threshold(scale), count), state.steps + 1
        )

    def objective(self, state: SelectedState, problem: Tensor) -> Float[Tensor, " batch"]:  # pyright: ignore
        """That of ``GramISTA`` at x."""
        return super().objective(state.x, problem)

    def residual(self, new: SelectedState, old: SelectedState, problem: Tensor) -> Tensor:
        """Of x; infinite while the share of selected entries still grows."""
        change = tree.relative_change(new.x, old.x)
        return change if self.selection.settled(new.steps) else torch.full_like(change, torch.inf)
