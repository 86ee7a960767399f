"""States of a stream as inputs and outputs: a file maps (data, state) to (estimate, next state)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.export.ports import STATE, named
from unrolling.export.precision import ReducedWeights

NEXT = "next_"  # before the name of a state's port where it comes out
NUMBERS = {bool: torch.bool, int: torch.int64, float: torch.float64}


def with_numbers_as_tensors(state: Any) -> Any:
    """The state with its plain numbers as tensors without dimension (int64, float64, bool), which a file can take in
    and give back; they promote as the numbers do.

    Raises:
        TypeError: a field that is neither a tensor nor a number.
    """
    if isinstance(state, Tensor):
        return state
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*map(with_numbers_as_tensors, state))
    if isinstance(state, tuple | list):
        return type(state)(map(with_numbers_as_tensors, state))
    if type(state) in NUMBERS:
        return torch.tensor(state, dtype=NUMBERS[type(state)])
    raise TypeError(
        f"a state that is exported holds tensors and numbers, in tuples and NamedTuples; got a {type(state).__name__}"
    )


def state_ports(state: Any) -> dict[str, Tensor]:
    """The tensors and numbers of a state by name: ``state`` for a single tensor, ``state_x`` for the field x."""
    return named(with_numbers_as_tensors(state), STATE)


def numbers_of(state: Any) -> list[str]:
    """The names of the ports that are plain numbers."""
    return [name for (name, _), leaf in zip(state_ports(state).items(), leaves(state), strict=True) if is_plain(leaf)]


def leaves(state: Any) -> Iterator[Any]:
    """Tensors and numbers, in order."""
    if isinstance(state, tuple | list):
        for item in state:
            yield from leaves(item)
    else:
        yield state


def is_plain(leaf: Any) -> bool:
    """Whether a leaf of a state is a plain number rather than a tensor."""
    return not isinstance(leaf, Tensor)


def like(template: Any, values: Iterator[Tensor]) -> Any:
    """The structure of a state with these values; numbers where the template has numbers."""
    if isinstance(template, tuple) and hasattr(template, "_fields"):
        return type(template)(*(like(item, values) for item in template))
    if isinstance(template, tuple | list):
        return type(template)(like(item, values) for item in template)
    value = next(values)
    return type(template)(value.item()) if is_plain(template) else value


def run(network: nn.Module, data: Any, state: Any) -> tuple[Any, Any]:
    """(estimate, next state); the next state is None where no state is given.

    Raises:
        TypeError: a module that gives no pair.
    """
    if state is None:
        return network(data), None
    inner = network.network if isinstance(network, ReducedWeights) else network
    options = {"return_state": True} if "return_state" in inspect.signature(inner.forward).parameters else {}
    found = network(data, state, **options)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], Tensor)):
        raise TypeError(
            "a network that is exported with a state takes (data, state) and returns (estimate, state); got a "
            f"{type(found).__name__}"
        )
    return found


def check_next(state: Any, after: Any) -> None:
    """Refuses a state that does not come out as it went in, so that it could not go in again.

    Raises:
        ValueError: other fields, another shape or dtype.
    """
    before, found = state_ports(state), state_ports(after)
    if before.keys() != found.keys():
        raise ValueError(
            f"the state goes in with {', '.join(before)} and comes out with {', '.join(found)}: a stream needs the same"
        )
    for name, tensor in before.items():
        other = found[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f"{name} goes in as {tensor.dtype} {tuple(tensor.shape)} and comes out as {other.dtype} "
                f"{tuple(other.shape)}: a stream needs the same"
            )


@torch.no_grad()
def last_state(network: nn.Module, data: Any) -> Any:
    """The state in which a network leaves the data, as an example of what goes in.

    Raises:
        TypeError: a network that has no state of its own to start from.
    """
    if not isinstance(network, Unrolled):
        raise TypeError(
            f"stream=True takes the state from an Unrolled; for a {type(network).__name__} give an example, state=..."
        )
    return network(data, return_state=True)[1]


@torch.no_grad()
def first_state(network: nn.Module, data: Any) -> Any:
    """The state that an unrolled network starts from by itself; None for other modules."""
    if not isinstance(network, Unrolled):
        return None
    layer: Any = network.layers[0]
    return layer.start(layer.prepare(data))


def starts(first: Any, state: Any) -> dict[str, float | None]:
    """For each port of a state the one number that it starts with, None where there is no such number."""
    known: Mapping[str, Tensor] = {} if first is None else state_ports(first)
    return {name: _constant(known.get(name)) for name in state_ports(state)}


def _constant(tensor: Tensor | None) -> float | None:
    if tensor is None or tensor.numel() == 0:
        return None
    value = tensor.flatten()[0]
    if not bool((tensor == value).all()) or (tensor.is_complex() and bool(value.imag != 0)):
        return None
    return value.real.item() if tensor.is_complex() else value.item()


def select(state: Any, index: Tensor, samples: int, batched: bool) -> Any:
    """The state of some of the samples; all of it where it has no samples."""
    return state if state is None or not batched else tree.select(state, index, samples, "the state")
