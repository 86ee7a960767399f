"""Which layers have a faster form than their step as written: known by the exact type of the layer, never inherited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn

from unrolling.core.iteration import Iteration
from unrolling.core.unroll import Unrolled

L = TypeVar("L", bound=Iteration)

# All layers at once: (data, state before the first layer or None for its own start) -> state after the last layer, in
# memory of its own; None for data that it is not made for, which then take the step as written. It writes into neither.
FusedLayers = Callable[[Any, Any], Any]

_BUILDERS: dict[type[Iteration], Callable[[Sequence[Any]], FusedLayers | None]] = {}
_METHODS = ("prepare", "start", "forward", "estimate")


def register(layer: type[L], build: Callable[[Sequence[L]], FusedLayers | None]) -> None:
    """Makes a faster form known for layers of exactly this type, whose ``estimate`` looks at the state alone.

    A subclass may have another step and does not inherit it: register the subclass too where the form is right for it.

    Args:
        layer: the type, as it is without constraints.
        build: the layers of a frozen network -> their form; None where these layers have none (another prox, say).
    """
    _BUILDERS[layer] = build


def fused_layers(network: Unrolled) -> FusedLayers | None:
    """The faster form of a frozen network, where its layers have one and nobody has hooked or replaced a part of it."""
    layers: list[Any] = list(network.layers)
    kind = type(layers[0])
    build = _BUILDERS.get(kind)
    if build is None or type(network) is not Unrolled or any(type(layer) is not kind for layer in layers):
        return None
    replaced = any(name in vars(layer) for layer in layers for name in _METHODS)
    return None if replaced or any(_is_hooked(module) for module in network.modules()) else build(layers)


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
