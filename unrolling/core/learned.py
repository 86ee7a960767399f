"""The learned values of a network by their names in the algorithm, and what reading and writing them takes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core.naming import value_of
from unrolling.core.sharing import working_buffers, written_buffers


class Learned(NamedTuple):
    """One row of ``parameter_table``."""

    name: str  # in the algorithm: "threshold"
    layer: int | None  # from 0; None when all layers share it
    value: Tensor  # as the layer uses it, constraints applied
    classical: Tensor  # the parent's

    @property
    def key(self) -> str:
        """A name of its own in a weights file: ``threshold`` when tied, ``layers.3.threshold`` when untied."""
        return self.name if self.layer is None else f"layers.{self.layer}.{self.name}"


def statistics_of(layers: Sequence[nn.Module], several: bool) -> dict[str, Tensor]:
    """The buffers that forward writes and an answer needs, each once: ``layers.3.prior.1.running_mean``, or without the
    layer where all share it and there are not several.
    """
    found: dict[int, tuple[str, Tensor]] = {}
    for number, layer in enumerate(layers):
        working = working_buffers(layer)
        for name, buffer in written_buffers(layer):
            if id(buffer) in working:
                continue
            found.setdefault(id(buffer), (f"layers.{number}.{name}" if several else name, buffer))
    return dict(found.values())


def row_of(name: str, layer: int | None, module: nn.Module, parent: nn.Module) -> Learned:
    """The row of a parameter of a layer, beside its parent's."""
    return Learned(name, layer, value_of(module, name), value_of(parent, name).detach())


def some(names: list[str], most: int = 4) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def check_value(owner: nn.Module, leaf: str, key: str, value: Tensor, statistics: Mapping[int, Tensor]) -> None:
    """Refuses a value that a constraint does not allow or does not give back, on a copy: nothing has changed yet."""
    lists: Any = owner.get_submodule(f"parametrizations.{leaf}")
    constraint: Any = copy.deepcopy(lists).eval()
    for old, new in zip(lists.buffers(), constraint.buffers(), strict=True):
        if id(old) in statistics:
            new.copy_(statistics[id(old)])
    constraint.right_inverse(value)
    back = constraint()
    scale = float(value.abs().max()) if value.numel() else 0.0
    if back.shape != value.shape or not torch.allclose(back, value, rtol=1e-4, atol=1e-5 * scale):
        raise ValueError(
            f"{key} is constrained by {type(constraint[0]).__name__}, which does not give back the value that it is "
            f"given (it is {float((back - value).abs().max()):.3g} off): save and load the network's state_dict instead"
        )


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """While all sub-modules are in the mode for evaluation."""
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
