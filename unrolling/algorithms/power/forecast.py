"""The next state of a grid from past ones: vector autoregression, and the recurrent network in its place."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core import Iteration
from unrolling.core.arguments import check_count, check_numbers
from unrolling.core.refusals import explain_call


class Window(NamedTuple):
    """States in a row, the last of them the present one."""

    past: Tensor  # (batch, T, d)
    day_before: Tensor  # (batch, d): the state 24 hours before the one that is sought


class Ahead(NamedTuple):
    """What is known after some moments of a window."""

    forecast: Tensor  # of the state after the last moment seen, (batch, d)
    hidden: Tensor  # (batch, layers, d)
    moment: int  # moments of the window that were seen


class Forecaster(Iteration):
    """One step for one moment of a window; the estimate is the forecast after the last one seen."""

    def check(self, data: Window) -> None:
        check_numbers(data.past, "past", type(self).__name__, real=True)
        if data.past.ndim != 3:
            raise ValueError(f"past is (batch, T, d); got {tuple(data.past.shape)}")

    def start(self, problem: Window) -> Ahead:
        """Nothing is seen yet; the first state stands for what follows it."""
        batch, _, size = problem.past.shape
        return Ahead(problem.past[:, 0], problem.past.new_zeros(batch, 0, size), 0)

    def residual(self, new: Ahead, old: Ahead, problem: Window) -> Float[Tensor, " batch"]:
        """Infinite until the window is at its end, then 0; NaN where the forecast is."""
        left = 0.0 if new.moment >= problem.past.shape[1] else torch.inf
        return torch.where(new.forecast.isnan().any(1), torch.nan, left).to(new.forecast)


def moment_of(state: Ahead, problem: Window) -> Float[Tensor, "batch d"]:
    """The next state of the window.

    Raises:
        ValueError: all of it was seen.
    """
    if state.moment >= problem.past.shape[1]:
        raise ValueError(f"the window has {problem.past.shape[1]} moments, and all of them are done")
    return problem.past[:, state.moment]


class VectorAutoregression(Forecaster):
    """x_(t+1) = F x_t + c.

    Parameters: ``transition`` F (d, d), ``offset`` c (d,).

    Args:
        transition: F.
        offset: c.
    """

    def __init__(self, transition: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.transition = nn.Parameter(transition.detach().clone())
        self.offset = nn.Parameter(offset.detach().clone())

    def forward(self, state: Ahead, problem: Window) -> Ahead:
        x = moment_of(state, problem)
        return Ahead(x @ self.transition.T + self.offset, state.hidden, state.moment + 1)


@explain_call
class StateCells(nn.Module):
    """Simple recurrent layers of width d on top of each other, h_l <- s(W_l h_(l-1) + U_l h_l + b_l), h_0 the input,
    and an affine map of the last: layers (2 d^2 + d) + d^2 + d numbers.

    Args:
        size: d.
        layers: how many.
        activation: relu or identity.
        seed: of the weights, Glorot uniform; the affine map and all biases are zero.
    """

    def __init__(
        self, size: int, layers: int = 3, activation: Literal["relu", "identity"] = "relu", seed: int = 0
    ) -> None:
        super().__init__()
        check_count(size, "size")
        check_count(layers, "layers")
        if activation not in ("relu", "identity"):
            raise ValueError(f"activation is {activation!r}; there are relu and identity")
        self.activation = activation
        generator = torch.Generator().manual_seed(seed)
        self.inputs = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.recurrent = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(layers))
        self.outer = nn.Linear(size, size)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The answer (batch, d), and what is remembered, (batch, layers, d)."""
        kept = []
        for enter, recur, before in zip(self.inputs, self.recurrent, hidden.unbind(1), strict=True):
            x = enter(x) + recur(before)
            x = torch.relu(x) if self.activation == "relu" else x
            kept.append(x)
        return self.outer(x), torch.stack(kept, 1)


class RecurrentForecaster(Forecaster):
    """x_(t+1) = x_t + spread * cells((x_t - center) / spread): three ReLU recurrent layers of width d and an affine map
    in the place of a linear transition, a step for each moment; at the start it is persistence.

    Zhang, Wang and Giannakis 2019, doi:10.1109/TSP.2019.2926023, section IV, where the affine map gives the state
    itself; here it gives the change, in units of the spread. The numbers that are learned are as many.

    Parameters: ``cells``, 3 (2 d^2 + d) + d^2 + d numbers.

    Args:
        cells: the network.
        center: of states, (d,).
        spread: standard deviations of states, (d,).
        residual: whether the present state is added; without it the affine map gives the state.
    """

    algorithm = "VectorAutoregression"
    center: Tensor
    spread: Tensor

    def __init__(self, cells: StateCells, center: Tensor, spread: Tensor, *, residual: bool = True) -> None:
        super().__init__()
        self.cells, self.add_present = cells, residual
        self.register_buffer("center", center.detach().clone())
        self.register_buffer("spread", torch.where(spread == 0, 1, spread).detach())  # a number that never changed

    def start(self, problem: Window) -> Ahead:
        """Nothing is remembered."""
        begun = super().start(problem)
        batch, _, size = problem.past.shape
        return begun._replace(hidden=problem.past.new_zeros(batch, len(self.cells.inputs), size))

    def forward(self, state: Ahead, problem: Window) -> Ahead:
        x = moment_of(state, problem)
        change, hidden = self.cells((x - self.center) / self.spread, state.hidden)
        forecast = self.spread * change + (x if self.add_present else self.center)
        return Ahead(forecast, hidden, state.moment + 1)
