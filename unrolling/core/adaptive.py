"""A network that is compiled when it turns out to be used enough."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unrolling.core import tree

if TYPE_CHECKING:
    from unrolling.core.compiled import Compiled
    from unrolling.core.unroll import Unrolled

PATIENCE = 60.0  # seconds: two to four times what compiling a shipped network takes


class Adaptive:
    """The forward pass of a network for inference, compiled as soon as so much time has been spent on one kind of data
    that compiling would have paid.

    As long as nobody knows how much work will come, spending on the plain network what compiling costs, and then
    compiling, never takes more than twice as long as knowing would have (the ski-rental rule; Karlin, Manasse, Rudolph
    and Sleator 1988, doi:10.1007/BF01762111). Results are those of the network to rounding. Values are those of the
    moment it was made.

    Attributes:
        after: seconds of plain work after which it compiles.
        compiled: what it has compiled; its ``seconds`` say what that has cost. None until then.
        failure: why compiling was given up, in which case the plain network goes on; empty otherwise.

    Args:
        network: it is not changed.
        after: 0 to compile at once, infinity for never.

    Raises:
        ValueError: ``after`` is negative or NaN.
    """

    def __init__(self, network: Unrolled, after: float = PATIENCE) -> None:
        if not after >= 0:
            raise ValueError(f"after is {after}; it is a number of seconds, at least 0")
        self.after, self.failure = after, ""
        self.compiled: Compiled | None = None
        self._make, self._plain = network.compiled, network.inference()
        self._spent: dict[Any, float] = {}

    @property
    def seconds(self) -> float:
        """What compiling has cost so far."""
        return self.compiled.seconds if self.compiled else 0.0

    def __call__(self, data: Any) -> Tensor:
        """The estimate."""
        # As `compile` tells kinds apart: any batch above one is the same, and so is any other size once a second one
        # was seen.
        kind = tuple(
            (tensor.dtype, tensor.device, tensor.ndim, tensor.shape[:1] == (1,)) for tensor in tree.tensors(data)
        )
        if self._spent.get(kind, 0.0) >= self.after and not self.failure:
            try:
                with torch.inference_mode():
                    self.compiled = self._make()
                    return self.compiled(data)
            except Exception as error:  # no compiler on this machine, an operator it does not know: of many kinds
                self.failure = (str(error).splitlines() or [type(error).__name__])[0]
        begin = time.perf_counter()
        estimate = self._plain(data)
        if any(tensor.is_cuda for tensor in tree.tensors(data)):
            torch.cuda.synchronize()
        self._spent[kind] = self._spent.get(kind, 0.0) + time.perf_counter() - begin
        return estimate

    def __repr__(self) -> str:
        return f"Adaptive(after {self.after:g} s, {self.compiled or self.failure or 'not compiled'})"
