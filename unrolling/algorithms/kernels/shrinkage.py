"""Thresholds taken in memory that is used again, and which data such memory is made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolling.prox import support_select

_ORDINARY = (Tensor, torch.nn.Parameter)  # types whose memory may be looked at; not a fake or traced tensor


class Scratch:
    """Two tensors in turn, made once for a shape: the state before and the state after a step never share memory."""

    def __init__(self) -> None:
        self._pairs: dict[Any, list[Tensor]] = {}

    def next(self, like: Tensor, width: int, old: Tensor | None, fresh: bool) -> Tensor:
        """(batch, width) in the precision of ``like``; not the memory of ``old``; ``fresh`` for one of its own."""
        shape = (like.shape[0], width)
        if fresh:
            return like.new_empty(shape)
        key = (shape, like.dtype, like.device)
        pair = self._pairs.get(key)
        if pair is None:
            self._pairs.clear()  # one batch size at a time
            pair = self._pairs[key] = [like.new_empty(shape), like.new_empty(shape)]
        return pair[1] if old is not None and old.data_ptr() == pair[0].data_ptr() else pair[0]


class Shrinkage:
    """S_theta of one layer in place; or, in steps that select any, ``support_select``, which gives new memory.

    Args:
        threshold: theta >= 0, a number or (n,).
        count: the number of a step -> how many entries of a row it selects.
    """

    def __init__(self, threshold: Tensor, count: Callable[[int], int] | None = None) -> None:
        level = threshold.detach()
        first = level.reshape(-1)[0]
        self._level, self._low, self._count, self._scratch = level, -level, count, Scratch()
        self._number = float(first) if bool((level == first).all()) else None  # the one that all entries have

    def __call__(self, z: Tensor, step: int) -> Tensor:
        """z (batch, n) after the threshold of step ``step``, counted from 0; z is lost."""
        if self._count is not None and (count := self._count(step)):
            return support_select(z, self._level, count)
        if self._number is not None:
            return torch.ops.aten.softshrink.out(z, self._number, out=z)
        middle = torch.clamp(z, self._low, self._level, out=self._scratch.next(z, z.shape[1], None, False))
        return z.sub_(middle)


def suits(y: Any, weights: Tensor) -> bool:
    """Whether data are samples (batch, m), at least one, of the kind of the weights, and nobody asked for another
    precision.
    """
    return (
        type(y) in _ORDINARY
        and y.ndim == 2
        and y.numel() > 0
        and y.dtype is weights.dtype
        and y.device == weights.device
        and not y.is_neg()
        and not torch.is_autocast_enabled(y.device.type)
    )


def own_copy(x: Any, y: Tensor, n: int) -> Tensor | None:
    """A state (batch, n) of the kind of suitable data y, in memory that steps may write into; None for others."""
    if type(x) not in _ORDINARY or x.shape != (y.shape[0], n) or x.dtype is not y.dtype or x.device != y.device:
        return None
    return x.detach().resolve_neg().clone(memory_format=torch.contiguous_format)
