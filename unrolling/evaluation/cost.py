"""What a method costs besides time: multiply-adds, memory, bytes on a disk."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import log2, prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from unrolling.evaluation.records import Cost


def _complex(input_shape: Any, dim: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """5 n log2 n operations of a complex transform of n numbers (the usual count of radix 2)."""
    length = prod(input_shape[d] for d in dim)
    return round(5 * prod(input_shape) * log2(max(length, 1)))


def _real(input_shape: Any, dim: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """Half as many of a real one, whose longer side is the real one's."""
    shape = max(input_shape, out_shape or input_shape, key=prod)
    return _complex(shape, dim) // 2


_FOURIER = {
    torch.ops.aten._fft_c2c: _complex,
    torch.ops.aten._fft_r2c: _real,
    torch.ops.aten._fft_c2r: _real,
}


class _Peak(TorchDispatchMode):
    """Follows every storage that an operator makes until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)}
        for tensor in tree_flatten(out)[0]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self._known and storage.data_ptr() not in given:
                    self._known.add(key)
                    size = storage.nbytes()
                    self.now += size
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._free, key, size)
        return out

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


@torch.no_grad()
def cost_of(run: Callable[[Any], Any], data: Any, network: nn.Module | None = None) -> Cost:
    """Count what a method does on one sample.

    Args:
        run: data -> estimates.
        data: one sample, with its batch dimension.
        network: whose learned numbers are counted.
    """
    flops: int | None = None
    counter = FlopCounterMode(display=False, custom_mapping=_FOURIER)
    with counter:
        run(data)
    flops = counter.get_total_flops() // 2 or None
    peak = _Peak()
    with peak:
        run(data)
    stored = None
    if network is not None:
        stored = sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
    return Cost(flops, peak.peak, stored)
