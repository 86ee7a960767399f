"""What compilers and exporters are told of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def constant_in_graphs(function: Function) -> Function:
    """A function whose results are constants of a graph that calls it.

    This is what ``torch.compiler.assume_constant_result`` marks, which imports the compiler to do so: that takes about
    as long as the import of all systems.
    """
    function._dynamo_marked_constant = True  # pyright: ignore[reportAttributeAccessIssue]
    return function
