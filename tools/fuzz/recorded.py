"""Arguments as the systems of the catalogue give them, on the small versions of their tasks."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from unrolling.core import Iteration

PACKAGES = ("operators", "prox", "algorithms", "networks", "tasks")


class Call(NamedTuple):
    """Arguments by name, and data for what is made of them."""

    arguments: dict[str, Any]
    data: Any = None


@cache
def public() -> dict[str, Any]:
    """Everything public that can be called, by "package.name"; no tuples, no errors, no types of annotations."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"unrolling.{package}")
        for name in module.__all__:
            item = getattr(module, name)
            if callable(item) and getattr(item, "__module__", "").startswith("unrolling."):
                if inspect.isclass(item) and (issubclass(item, (tuple, Exception)) or getattr(item, "_is_protocol", 0)):
                    continue
                found[f"{package}.{name}"] = item
    return found


@contextlib.contextmanager
def _recording(calls: dict[type, list[Call]]) -> Iterator[None]:
    """Notes what classes are made with."""
    before = {}
    for item in public().values():
        if inspect.isclass(item) and "__init__" in vars(item) and issubclass(item, (nn.Module,)):
            before[item] = item.__init__
            item.__init__ = _noted(item, item.__init__, calls)
    try:
        yield
    finally:
        for item, method in before.items():
            item.__init__ = method


def _noted(item: type, method: Any, calls: dict[type, list[Call]]) -> Any:
    signature = inspect.signature(method)

    def noting(self: Any, *given: Any, **named: Any) -> None:
        if type(self) is item:
            arguments = dict(signature.bind(self, *given, **named).arguments)
            arguments.pop(next(iter(signature.parameters)))
            kinds = {name: p.kind for name, p in signature.parameters.items()}
            arguments |= arguments.pop(
                next((n for n in arguments if kinds[n] is inspect.Parameter.VAR_KEYWORD), ""), {}
            )
            calls.setdefault(item, []).append(Call(arguments))
        method(self, *given, **named)

    return noting


@cache
def recorded() -> dict[type, list[Call]]:
    """What public classes were made with while every system was built once, iterations with their data."""
    from unrolling.systems.catalogue import catalogue
    from unrolling.tasks.base import first
    from unrolling.tasks.catalogue import find_task

    calls: dict[type, list[Call]] = {}
    torch.manual_seed(0)
    with _recording(calls), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for system in catalogue().values():
            for name, recipe in system.recipes.items():
                task = find_task(name).small()
                data = first(task.timing, 3).data
                known = {kind: len(each) for kind, each in calls.items()}
                parent = recipe.parent(task)
                for kind, each in calls.items():
                    if issubclass(kind, Iteration) and isinstance(parent, kind):
                        for place in range(known.get(kind, 0), len(each)):
                            each[place] = each[place]._replace(data=data)
    return calls
