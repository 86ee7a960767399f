"""Networks that begin where another one ended: deeper, tied otherwise, or with weights known beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from unrolling.core import Unrolled, unroll


def deepen(network: Unrolled, depth: int, *, new: str = "last") -> Unrolled:
    """A deeper network whose first layers are those of a trained one.

    Args:
        network: the shallower one; it is not changed.
        depth: of the new one, at least that of the old one.
        new: what the added layers start from: ``last``, the values of the last trained layer, or ``classical``, the
            parent's.

    Raises:
        ValueError: a smaller depth, or another word.
    """
    if depth < len(network):
        raise ValueError(f"depth is {depth}; the network has {len(network)} layers already")
    if new not in ("last", "classical"):
        raise ValueError(f"new is {new!r}; added layers start from 'last' or 'classical' values")
    deeper = unroll(network.parent, depth, tied=network.tied, untied=network.untied, gradient=network.gradient)
    values = network.learned()
    if new == "last":
        last = len(network) - 1
        values |= {
            f"layers.{k}.{name}": values[f"layers.{last}.{name}"]
            for k in range(last + 1, depth)
            for name in network.untied
        }
    deeper.load_learned(values, partial=True)
    return deeper


def retie(network: Unrolled, *, tied: str | Iterable[str] = (), untied: str | Iterable[str] = ()) -> Unrolled:
    """The same function with other parameters tied: an untied one takes the tied value in every layer, a tied one the
    value that all layers have.

    Args:
        network: it is not changed.
        tied: as for ``unroll``.
        untied: as for ``unroll``.

    Raises:
        ValueError: layers whose values of a parameter to tie (or to fix) differ, so that no such network computes the
            same.
    """
    new = unroll(network.parent, len(network), tied=tied, untied=untied, gradient=network.gradient)
    old = {row.key: row.value.detach() for row in network.parameter_table()}

    def value(name: str, layer: int) -> Tensor | None:
        return old.get(name, old.get(f"layers.{layer}.{name}"))

    values: dict[str, Tensor] = {}
    for name in (*new.tied, *new.untied):
        for layer in range(len(new)):
            own = value(name, layer)
            if own is None:
                continue
            if name in new.untied:
                values[f"layers.{layer}.{name}"] = own
            else:
                values[name] = _agreed(name, own, values.get(name), layer)
    classical = {row.name: row.classical for row in network.parameter_table()}
    for name in {*network.tied, *network.untied} - {*new.tied, *new.untied}:
        for layer in range(len(network)):
            _agreed(
                name, value(name, layer), classical[name], layer, "its classical value, which a fixed parameter keeps"
            )
    new.load_learned(values, partial=True)
    return new


def _agreed(name: str, own: Tensor | None, other: Tensor | None, layer: int, what: str = "that of layer 0") -> Tensor:
    assert own is not None
    if other is not None and not torch.equal(own, other):
        raise ValueError(
            f"{name} of layer {layer} differs from {what}: no such network computes the same. Leave it "
            "untied, or train on from unroll(...)"
        )
    return own


def assign(network: Unrolled, values: Mapping[str, Tensor]) -> None:
    """Give learned parameters values known beforehand, such as analytic weights, in every layer.

    Args:
        network: changed in place.
        values: by name in the algorithm (all layers) or key of ``parameter_table`` (one layer).

    Raises:
        ValueError: an unknown name or another shape; nothing has changed then.
    """
    rows = network.parameter_table()
    unknown = [name for name in values if not any(name in (row.name, row.key) for row in rows)]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is not learned; learned are {', '.join(dict.fromkeys(row.name for row in rows))}"
        )
    chosen = {
        row.key: values[row.key] if row.key in values else values[row.name]
        for row in rows
        if row.key in values or row.name in values
    }
    network.load_learned(chosen, partial=True)
