"""ALISTA whose step size and threshold a small recurrent network chooses for each signal and step."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.amp import check_real
from unrolling.algorithms.analytic import analytic_weights
from unrolling.algorithms.coupled import Selection, check_selection
from unrolling.algorithms.dictionary import check_width
from unrolling.core import Iteration
from unrolling.prox import support_select


class NeuralState(NamedTuple):
    """The state of ``NeuralALISTA``."""

    x: Tensor  # (batch, n)
    hidden: Tensor  # (batch, h): of the recurrent network
    cell: Tensor  # (batch, h)
    steps: int


class Controller(nn.Module):
    """(|r|_1, |W r|_1) -> (gamma, theta) of each signal: an LSTM cell, a layer of as many units and softplus.

    At the start the last layer is zero but for its bias, so that gamma and theta are the numbers given, whatever the signal.

    Args:
        units: h, of the recurrent network.
        step_size: gamma at the start.
        threshold: theta at the start.
        dtype: of the parameters.
    """

    def __init__(self, units: int, step_size: float, threshold: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.recurrent = nn.LSTMCell(2, units, dtype=dtype)
        self.between = nn.Linear(units, units, dtype=dtype)
        self.last = nn.Linear(units, 2, dtype=dtype)
        self.hidden = nn.Parameter(torch.zeros(units, dtype=dtype))
        self.cell = nn.Parameter(torch.zeros(units, dtype=dtype))
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.copy_(torch.tensor([_inverse_softplus(step_size), _inverse_softplus(threshold)], dtype=dtype))

    def forward(self, norms: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, 2), the state -> gamma and theta (batch, 2), and the next state."""
        hidden, cell = self.recurrent(norms, (hidden, cell))
        return nn.functional.softplus(self.last(torch.relu(self.between(cell)))), hidden, cell


class NeuralALISTA(Iteration):
    """x <- S_theta,p(x + gamma W (y - A x)), gamma and theta a signal's own: ``Controller`` reads |y - A x|_1 and |W (y - A x)|_1 in every step.

    Behrens, Sauder and Jung 2021, arXiv:2010.13325. The norms are taken relative to those of the first step, and theta is in units of |y| / sqrt(m), so
    that f(s y) = s f(y) for s > 0; the paper feeds the norms as they are. W are the analytic weights of ALISTA. Untrained it is ALISTA with one gamma and
    one theta for all layers.

    Parameters: those of ``controller``, which all layers share.

    Args:
        dictionary: A (m, n), real.
        step_size: gamma at the start.
        threshold: theta at the start, relative to |y| / sqrt(m).
        selection: support selection, (percent per step, percent at most).
        units: of the recurrent network.
        seed: of its initial values.

    Raises:
        TypeError: a complex dictionary.
        ValueError: a zero column, numbers that are not positive.
    """

    dictionary: Tensor
    encoder: Tensor

    def __init__(
        self,
        dictionary: Float[Tensor, "m n"],
        *,
        step_size: float = 1.0,
        threshold: float = 0.5,
        selection: Selection | tuple[float, float] = Selection(),  # noqa: B008 (immutable)
        units: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not (step_size > 0 and threshold > 0 and units > 0):
            raise ValueError(f"step_size, threshold and units must be positive; got {step_size}, {threshold} and {units}")
        self.register_buffer("dictionary", check_real(dictionary, "NeuralALISTA"))
        self.register_buffer("encoder", analytic_weights(dictionary))
        self.selection = check_selection(selection)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.controller = Controller(units, step_size, threshold, dictionary.dtype)

    def start(self, problem: Float[Tensor, "batch m"]) -> NeuralState:
        """x = 0, and the learned state of the recurrent network."""
        batch = problem.shape[0]
        states = (self.controller.hidden.expand(batch, -1), self.controller.cell.expand(batch, -1))
        return NeuralState(problem.new_zeros(batch, self.dictionary.shape[1]), *states, 0)

    def forward(self, state: NeuralState, problem: Float[Tensor, "batch m"]) -> NeuralState:
        """One step."""
        residual = problem - state.x @ self.dictionary.T
        direction = residual @ self.encoder.T
        tiny = torch.finfo(problem.dtype).tiny ** 0.5
        first = torch.cat([problem.abs().sum(1, keepdim=True), (problem @ self.encoder.T).abs().sum(1, keepdim=True)], dim=1).clamp_min(tiny)
        norms = torch.cat([residual.abs().sum(1, keepdim=True), direction.abs().sum(1, keepdim=True)], dim=1) / first
        # Logarithms: the norms fall by powers of ten.
        chosen, hidden, cell = self.controller(torch.log(norms.clamp_min(1e-12)), state.hidden, state.cell)
        level = problem.square().mean(1, keepdim=True).sqrt()
        count = self.selection.count(state.steps, self.dictionary.shape[1])
        x = support_select(state.x + chosen[:, :1] * direction, level * chosen[:, 1:], count)
        return NeuralState(x, hidden, cell, state.steps + 1)

    def stationary(self, state: NeuralState) -> bool:
        """False while the share of selected entries still grows."""
        return self.selection.settled(state.steps)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)


def _inverse_softplus(value: float) -> float:
    return value + log(-torch.expm1(torch.tensor(-value, dtype=torch.float64)).item())
