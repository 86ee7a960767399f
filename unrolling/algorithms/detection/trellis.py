"""Sequences sent over a channel with a finite memory, and what its states make of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unrolling.algorithms.detection.mimo import check_rising
from unrolling.core import tree
from unrolling.core.arguments import check_numbers, keep
from unrolling.core.refusals import explain_call


class Observed(NamedTuple):
    """A sequence that came out of y_t = sum_j h_j a_(t - j) + n_t, and what a receiver may know of the channel."""

    y: Tensor  # (batch, T)
    taps: Tensor | None = None  # h (batch, L) or (1, L), newest symbol first
    estimated_taps: Tensor | None = None  # what a receiver with an imperfect estimate takes for h; shapes as taps
    noise_variance: Tensor | None = None  # (batch, 1) or (1, 1)


class Trellis(NamedTuple):
    """The states of a channel of L taps with M levels: s = sum_j i_(t - j) M^(L - 1 - j), i the index of a level, j = 0
    the newest symbol.

    A state determines what the channel puts out. One symbol later the oldest has left and a new one has come: s' = i_(t
    + 1) M^(L - 1) + s // M.
    """

    levels: int  # M
    memory: int  # L

    @property
    def states(self) -> int:
        """M^L."""
        return self.levels**self.memory

    def symbols(self) -> Int[Tensor, "states L"]:
        """The indices of the levels in each state, newest first, (M^L, L)."""
        index = torch.arange(self.states)
        return torch.stack(
            [index // self.levels ** (self.memory - 1 - j) % self.levels for j in range(self.memory)], dim=1
        )

    def of(self, index: Int[Tensor, "batch length"]) -> Int[Tensor, "batch T"]:
        """States (batch, T) from indices of levels (batch, T + L - 1), oldest first."""
        length = index.shape[1] - self.memory + 1
        return sum(
            (
                index[:, self.memory - 1 - j : self.memory - 1 - j + length] * self.levels ** (self.memory - 1 - j)
                for j in range(self.memory)
            ),
            start=0,
        )  # pyright: ignore[reportReturnType]

    def newest(self, states: Tensor) -> Tensor:
        """The index of the newest symbol of states, any shape."""
        return states // self.levels ** (self.memory - 1)


def check_trellis(levels: int, memory: int) -> Trellis:
    """A trellis of a size that can be searched.

    Raises:
        ValueError: fewer than two levels or one tap, or more than 4,096 states.
    """
    if levels < 2 or memory < 1:
        raise ValueError(
            f"a trellis has at least 2 levels and a memory of at least 1 symbol; got {levels} and {memory}"
        )
    if memory > 12 or levels**memory > 4096:  # the power of a large memory would take forever
        count = f"{levels**memory:,}" if memory < 100 else f"{levels}^{memory}"
        raise ValueError(f"{levels} levels and a memory of {memory} make {count} states; at most 4,096 can be searched")
    return Trellis(levels, memory)


@explain_call
class GaussianLikelihood(nn.Module):
    """log p(y_t | s) = -(y_t - h . a(s))^2 / (2 sigma^2), up to what does not depend on s, (batch, T, states): full or
    imperfect knowledge of the channel.

    Args:
        levels: (M,), rising.
        memory: L, taps of the channel.
        estimated: use ``estimated_taps`` of the data instead of ``taps``.
    """

    symbols: Tensor

    def __init__(self, levels: Float[Tensor, " M"], memory: int, *, estimated: bool = False) -> None:
        super().__init__()
        check_rising(levels)
        self.trellis = check_trellis(len(levels), memory)
        keep(self, "symbols", levels[self.trellis.symbols()], levels)
        self.estimated = estimated

    def forward(self, data: Observed) -> Float[Tensor, "batch T states"]:
        """Raises ValueError without what it needs to know."""
        taps = data.estimated_taps if self.estimated else data.taps
        if taps is None or data.noise_variance is None:
            missing = "estimated_taps" if self.estimated else "taps"
            raise ValueError(
                f"a Gaussian likelihood needs to know the channel: give Observed its {missing} and its noise_variance"
            )
        output = taps @ self.symbols.T  # (batch or 1, states)
        return (data.y.unsqueeze(2) - output.unsqueeze(1)).square() / (-2 * data.noise_variance.unsqueeze(2))


def check_observed(data: Observed, memory: int) -> None:
    """Refuses data of the wrong kind, from shapes and dtypes alone.

    Raises:
        TypeError: not an ``Observed``, complex sequences.
        ValueError: shapes that do not belong together.
    """
    if not isinstance(data, Observed):
        raise TypeError(f"a sequence detector takes an Observed(y, taps, ...); got a {type(data).__name__}")
    check_numbers(data.y, "y", "a sequence detector", real=True)
    if data.y.ndim != 2 or data.y.shape[1] < 1:
        raise ValueError(f"y is (batch, T), at least one symbol long; got {tuple(data.y.shape)}")
    for name, width in (("taps", memory), ("estimated_taps", memory), ("noise_variance", 1)):
        value = getattr(data, name)
        if value is not None:
            check_numbers(value, name, "a sequence detector", real=True)
        if value is not None and (
            value.ndim != 2 or value.shape[1] != width or value.shape[0] not in (1, data.y.shape[0])
        ):
            raise ValueError(
                f"{name} is (batch, {width}), or (1, {width}) for all sequences of {data.y.shape[0]}; "
                f"got {tuple(value.shape)}"
            )
    tree.batch_size(data, "data")
