"""Inputs and outputs of an exported network: data as separate tensors, each with a name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import tree

ESTIMATE, STATE = "estimate", "state"
DTYPES = (
    *(torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.bool, torch.int32, torch.int64),
)


def named(data: Any, root: str = "data") -> dict[str, Tensor]:
    """The tensors of data by name: ``data`` for a single tensor, the fields' names for a NamedTuple, ``channel_noise``
    for one inside another; of a state ``state``, ``state_x``.

    Raises:
        ValueError: no tensor, or two of one name.
        TypeError: a dtype that not every format has.
    """
    found: dict[str, Tensor] = {}
    for path, tensor in tree.named_tensors(data, root):
        name = re.sub(r"\W+", "_", path.removeprefix("data.")).strip("_")
        if name in found:
            raise ValueError(f"two tensors of the {root} would be called {name}; give their fields other names")
        if tensor.dtype not in DTYPES:
            raise TypeError(
                f"{name} is {tensor.dtype}; exported networks take "
                f"{', '.join(str(d).removeprefix('torch.') for d in DTYPES)}"
            )
        found[name] = tensor
    if not found:
        raise ValueError(f"the {root} hold{'s' * (root == STATE)} no tensor: got a {type(data).__name__}")
    return found


def constants(data: Any) -> dict[str, int | float | bool | str]:
    """What data hold besides tensors, by path; exported as it is."""
    found: dict[str, int | float | bool | str] = {}

    def walk(item: Any, path: str) -> None:
        if isinstance(item, tuple | list | dict):
            labels = item if isinstance(item, dict) else getattr(item, "_fields", range(len(item)))
            for label, part in zip(labels, item.values() if isinstance(item, dict) else item, strict=True):
                walk(part, f"{path}_{label}" if path else str(label))
        elif isinstance(item, int | float | bool | str):
            found[path] = item

    walk(data, "")
    return found


class KeywordForward(nn.Module):
    """A network whose ``forward`` takes the tensors of its data as keywords.

    Args:
        call: the tensors by name -> the estimate, or a tuple of it and the parts of the next state.
        network: that it runs; it is kept for its parameters.
        names: of the tensors, in order.
    """

    def __init__(self, call: Callable[[dict[str, Tensor]], Any], network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.forward = keywords(lambda **tensors: call(tensors), names)


def keywords(function: Any, names: list[str]) -> Any:
    """``function(**tensors)`` with a signature that says which, as ``torch.export`` reads it there."""
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    function.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return function


def to_pair(tensor: Tensor) -> Tensor:
    """A complex tensor as real numbers (..., 2), real and imaginary part; a real one as it is."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def pairs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``to_pair`` of each."""
    return {name: to_pair(tensor) for name, tensor in tensors.items()}
