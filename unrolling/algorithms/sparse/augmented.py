"""Coupled ISTA whose step size and threshold are those that a recurrent network gives each sample: the layer of
Neurally Augmented ALISTA.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.messages.amp import check_real
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.coupled import Selection, check_selection
from unrolling.algorithms.sparse.dictionary import check_width
from unrolling.algorithms.sparse.ista import Prox
from unrolling.core import Iteration, tree
from unrolling.prox import soft_threshold, support_select


class AugmentedState(NamedTuple):
    """The state of ``AugmentedISTA``."""

    x: Tensor  # (batch, n)
    hidden: Tensor  # (batch, units)
    memory: Tensor  # (batch, units)
    steps: int


class AugmentedProblem(NamedTuple):
    """The problem of ``AugmentedISTA``."""

    y: Tensor  # (batch, m)
    first: Tensor  # (batch, 2): |y|_1 and |W y|_1, what the sample began with


class AugmentedISTA(Iteration):
    """x+ = S_theta,p(x + gamma W (y - A x)), W the analytic weights of ALISTA, gamma and theta of each sample and step
    from what is left of it:

    (h, c) = LSTM((log |r|_1 / |y|_1, log |W r|_1 / |W y|_1), (h, c)),    r = y - A x,
    (a, b) = U_2 max(U_1 c + b_1, 0) + b_2,    gamma = softplus(a),    theta = softplus(b) |W r|_1 / n.

    Behrens, Sauder and Jung 2021 (arXiv:2010.01930). They feed the two norms as they are and take theta = softplus(b),
    so that a network knows one amplitude; here inputs and thresholds are relative to the sample, and f(s y) = s f(y)
    for s > 0. U_2 is zero at the start: then it is coupled ISTA with a step size of ``step_size`` and thresholds in a
    fixed ratio to the mean of |W r|.

    Parameters: ``cell`` (an ``LSTMCell``), ``inner`` U_1 (units, units), ``outer`` U_2 (2, units) with their offsets,
    and the ``hidden`` and ``memory`` (units,) that it starts with: 84,354 and 256 numbers for 128 units, whatever m and
    n.

    Args:
        dictionary: A (m, n), real.
        threshold: theta at the start, relative to the mean of |W r|.
        step_size: gamma at the start.
        units: of the recurrent network.
        selection: support selection, (percent per step, percent at most).
        prox: in the place of soft-thresholding where nothing is selected, such as ``nonnegative``.
        seed: of the recurrent network's values.

    Raises:
        TypeError: a complex dictionary, or one that is not floating point.
        ValueError: a zero column, numbers that are not positive, a selection that is none, or one beside another prox.
    """

    algorithm = "ISTA"

    dictionary: Tensor
    encoder: Tensor

    def __init__(
        self,
        dictionary: Float[Tensor, "m n"],
        threshold: float = 1.0,
        *,
        step_size: float = 1.0,
        units: int = 128,
        selection: Selection | tuple[float, float] = Selection(),  # noqa: B008 (immutable)
        prox: Prox = soft_threshold,
        seed: int = 0,
    ) -> None:
        super().__init__()
        dictionary = check_real(dictionary, "AugmentedISTA")
        if not (0 < threshold < math.inf and 0 < step_size < math.inf and units > 0):
            raise ValueError(
                f"threshold, step_size and units must be positive and finite; got {threshold}, {step_size} and {units}"
            )
        self.selection, self.prox = check_selection(selection, prox), prox
        self.register_buffer("dictionary", dictionary)
        self.register_buffer("encoder", analytic_weights(dictionary.double()).to(dictionary))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cell = nn.LSTMCell(2, units, dtype=dictionary.dtype)
            self.inner = nn.Linear(units, units, dtype=dictionary.dtype)
            self.outer = nn.Linear(units, 2, dtype=dictionary.dtype)
        self.hidden, self.memory = (nn.Parameter(torch.zeros(units, dtype=dictionary.dtype)) for _ in range(2))
        nn.init.zeros_(self.outer.weight)
        with torch.no_grad():
            self.outer.bias.copy_(
                torch.tensor([math.log(math.expm1(step_size)), math.log(math.expm1(threshold))], dtype=torch.float64)
            )

    def prepare(self, data: Float[Tensor, "batch ... m"]) -> AugmentedProblem:
        """y with its norms."""
        return AugmentedProblem(data, _norms(data, data @ self.encoder.T))

    def start(self, problem: AugmentedProblem) -> AugmentedState:
        """x = 0."""
        shape, n = problem.y.shape[:-1], self.dictionary.shape[1]
        hidden, memory = (part.expand(*shape, -1) for part in (self.hidden, self.memory))
        return AugmentedState(problem.y.new_zeros(*shape, n), hidden, memory, 0)

    def forward(self, state: AugmentedState, problem: AugmentedProblem) -> AugmentedState:
        """One step."""
        x, hidden, memory, steps = state
        n, units = x.shape[-1], hidden.shape[-1]
        residual = problem.y - x @ self.dictionary.T
        direction = residual @ self.encoder.T
        norms = _norms(residual, direction)
        tiny = torch.finfo(x.dtype).tiny
        left = torch.log(norms.clamp_min(tiny) / problem.first.clamp_min(tiny))
        # The cell knows one dimension of samples.
        hidden, memory = (
            part.reshape(hidden.shape)
            for part in self.cell(left.reshape(-1, 2), (hidden.reshape(-1, units), memory.reshape(-1, units)))
        )
        step, level = nn.functional.softplus(self.outer(torch.relu(self.inner(memory)))).chunk(2, -1)
        threshold = level * norms[..., 1:] / n
        moved = x + step * direction
        count = self.selection.count(steps, n)
        x = support_select(moved, threshold, count) if count else self.prox(moved, threshold)
        return AugmentedState(x, hidden, memory, steps + 1)

    def residual(self, new: AugmentedState, old: AugmentedState, problem: AugmentedProblem) -> Tensor:
        """Of x; infinite while the share of selected entries still grows."""
        change = tree.relative_change(new.x, old.x)
        return change if self.selection.settled(new.steps) else torch.full_like(change, torch.inf)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)

    def advice(self) -> str:
        return "use a smaller step_size, or a larger threshold"


def _norms(residual: Tensor, direction: Tensor) -> Float[Tensor, "batch ... 2"]:
    return torch.stack([residual.abs().sum(-1), direction.abs().sum(-1)], -1)
