"""A network that is compiled when it turns out to be used enough."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from unrolling.core import tree
from unrolling.core.batch import in_pieces
from unrolling.core.deploy.compiled import Compiled
from unrolling.core.deploy.plain import Plain
from unrolling.core.drawing import Drawn

PATIENCE = 60.0  # seconds: two to four times what compiling a shipped network takes


class Adaptive(Drawn):
    """The forward pass of a network, compiled as soon as so much time has been spent on one kind of data that compiling
    would have paid; ``deploy(network)``.

    As long as nobody knows how much work will come, spending on the plain network what compiling costs, and then
    compiling, never takes more than twice as long as knowing would have (the ski-rental rule; Karlin, Manasse, Rudolph
    and Sleator 1988, doi:10.1007/BF01762111). Results are those of the network to rounding. Values are those of the
    moment it was made. Data that the network refuses change nothing; a kind of data that nothing compiles for stays
    with the plain network.

    Attributes:
        after: seconds of plain work after which it compiles.
        compiled: what it has compiled; its ``seconds`` say what that has cost. None until then.
        failure: why compiling was given up last, in which case the plain network goes on; empty otherwise.

    Args:
        network: any module; it is not changed.
        after: 0 to compile at once, infinity for never.
        backend: of ``torch.compile``.

    Raises:
        ValueError: ``after`` is negative or NaN.
    """

    def __init__(self, network: nn.Module, after: float = PATIENCE, backend: str = "inductor") -> None:
        if not after >= 0:
            raise ValueError(f"after is {after}; it is a number of seconds, at least 0")
        self.after, self.backend, self.failure = after, backend, ""
        self.compiled: Compiled | None = None
        self._plain = Plain(network)
        self._spent: dict[Any, float] = {}
        self._given_up: set[Any] = set()  # kinds of data

    def __reduce__(self) -> tuple[Any, ...]:
        return Adaptive, (self._plain.network, self.after, self.backend)

    @property
    def seconds(self) -> float:
        """What compiling has cost so far."""
        return self.compiled.seconds if self.compiled else 0.0

    @torch.no_grad()
    def __call__(self, data: Any, state: Any = None, *, return_state: bool = False, chunk: int | None = None) -> Any:
        """The estimate, or (estimate, state after the last layer); arguments as for ``Unrolled``."""
        if chunk is not None:
            return in_pieces(
                lambda part, begin: self(part, begin, return_state=return_state),
                self._plain.network,
                data,
                state,
                chunk,
            )
        tensors = tree.tensors((data, state))
        # As `compile` tells kinds apart: any batch above one is the same, and so is any other size once a second one
        # was seen.
        kind = (
            state is None,
            return_state,
            *((tensor.dtype, tensor.device, tensor.ndim, tensor.shape[:1] == (1,)) for tensor in tensors),
        )
        if self._spent.get(kind, 0.0) < self.after or kind in self._given_up:
            begin = time.perf_counter()
            result = self._plain(data, state, return_state=return_state)
            if any(tensor.is_cuda for tensor in tensors):
                torch.cuda.synchronize()
            self._spent[kind] = self._spent.get(kind, 0.0) + time.perf_counter() - begin
            return result
        try:
            compiled = self.compiled or Compiled(self._plain.network, self.backend, live=True)
            result = compiled(data, state, return_state=return_state)
            self.compiled = compiled
        except Exception as error:  # no compiler on this machine, an operator it does not know: of many kinds
            result = self._plain(data, state, return_state=return_state)  # raises where the data are at fault
            self._given_up.add(kind)
            self.failure = _reason(error)
        return result

    def __repr__(self) -> str:
        return f"Adaptive(after {self.after:g} s, {self.compiled or self.failure or 'not compiled'})"


def _reason(error: Exception) -> str:
    """The first line of a message, and the second where torch puts the cause there."""
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])
