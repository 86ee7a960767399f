"""A network run without anything that only training needs."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from unrolling.core.batch import in_pieces
from unrolling.core.deploy.frozen import frozen
from unrolling.core.deploy.registry import fused_layers
from unrolling.core.drawing import Drawn
from unrolling.core.naming import class_name
from unrolling.core.unroll import Unrolled


class Plain(Drawn):
    """The forward pass of a network with the values of the moment it was made; ``deploy(network, "plain")``.

    Constraints are worked out once, gradients are never recorded, and layers that have a faster form (``register``) run
    in it where it suits the data. Equal to the network to rounding. A step may differentiate inside itself. One call at
    a time: calls share memory.

    Attributes:
        network: the frozen copy.

    Args:
        network: any module; it is not changed.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = frozen(network)
        self._fused = fused_layers(self.network) if isinstance(self.network, Unrolled) else None

    @torch.no_grad()
    def __call__(self, data: Any, state: Any = None, *, return_state: bool = False, chunk: int | None = None) -> Any:
        """The estimate, or (estimate, state after the last layer); arguments as for ``Unrolled``."""
        if chunk is not None:
            return in_pieces(
                lambda part, begin: self(part, begin, return_state=return_state), self.network, data, state, chunk
            )
        if self._fused is not None:
            layers = self.network.layers
            self.network.admit(data)
            last = self._fused(data, state)
            if last is not None:
                estimate = layers[-1].estimate(last, None)
                return (estimate, last) if return_state else estimate
        return self.network(data, **options_of(self.network, state, return_state))

    def __reduce__(self) -> tuple[Any, ...]:
        return Plain, (self.network,)

    def __repr__(self) -> str:
        return f"Plain({class_name(self.network)}, {'as written' if self._fused is None else 'all layers at once'})"


def options_of(network: nn.Module, state: Any, return_state: bool) -> dict[str, Any]:
    """What a module is given besides data.

    Raises:
        TypeError: a state is given or wanted, and the module's ``forward`` has no such argument.
    """
    options = ({} if state is None else {"state": state}) | ({"return_state": True} if return_state else {})
    for name in options:
        if not isinstance(network, Unrolled) and name not in inspect.signature(network.forward).parameters:
            raise TypeError(f"{class_name(network)} takes no `{name}`: its forward has no argument of this name")
    return options
