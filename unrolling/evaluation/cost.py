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

from unrolling.core import native
from unrolling.evaluation.records import Cost


def _complex(input_shape: Any, dim: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """5 n log2 n operations of a complex transform of n numbers (the usual count of radix 2)."""
    length = prod(input_shape[d] for d in dim)
    return round(5 * prod(input_shape) * log2(max(length, 1)))


def _real(input_shape: Any, dim: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """Half as many of a real one, whose longer side is the real one's."""
    shape = max(input_shape, out_shape or input_shape, key=prod)
    return _complex(shape, dim) // 2


def _fetched(*shapes: Any, out_shape: Any = None, **named: Any) -> int:
    """A look-up: a multiply-add for every number that it fetches."""
    return 2 * prod(out_shape)


def _product(left: Any, right: Any, **named: Any) -> int:
    """Of a matrix, or a vector, with a vector."""
    return 2 * prod(left)


def _added_product(added: Any, left: Any, right: Any, **named: Any) -> int:
    return 2 * prod(left)


def _cubic(factor: float) -> Callable[..., int]:
    """``factor`` times the cube of the smaller side times the ratio of the sides: factorisations, as LAPACK counts."""

    def count(shape: Any, *rest: Any, **named: Any) -> int:
        short, long = sorted(shape[-2:])
        return round(factor * prod(shape[:-2]) * short * short * long)

    return count


def _solve(left: Any, right: Any, *rest: Any, **named: Any) -> int:
    """A factorisation, 2/3 n^3, and two triangular solutions for each right-hand side."""
    n = left[-1]
    return round(2 / 3 * prod(left) * n + 2 * prod(right) * n)


def _triangular(left: Any, right: Any, *rest: Any, **named: Any) -> int:
    """Half a product of the triangle and each right-hand side, whichever of the two comes first."""
    return max(left[-1], left[-2]) * prod(right) if left[-1] == left[-2] else max(right[-2:]) * prod(left)


def _interpolated(points: int) -> Callable[..., int]:
    def count(*shapes: Any, out_shape: Any = None, **named: Any) -> int:
        return 2 * points * prod(out_shape)

    return count


_aten = torch.ops.aten
# Numbers of operations, two for a multiply-add, besides those that torch knows (products and convolutions).
COUNTS = {
    _aten._fft_c2c: _complex,
    _aten._fft_r2c: _real,
    _aten._fft_c2r: _real,
    **dict.fromkeys((_aten.index, _aten.gather, _aten.index_select, _aten.embedding, _aten.take), _fetched),
    **dict.fromkeys((_aten.mv, _aten.dot, _aten.vdot), _product),
    **dict.fromkeys((_aten.addmv, _aten.addbmm, _aten.addr), _added_product),
    **dict.fromkeys((_aten.linalg_cholesky_ex, _aten.cholesky), _cubic(1 / 3)),
    **dict.fromkeys((_aten.linalg_lu_factor_ex, _aten.linalg_ldl_factor_ex), _cubic(2 / 3)),
    **dict.fromkeys((_aten.linalg_inv_ex, _aten.linalg_qr, _aten.linalg_lstsq), _cubic(2)),
    _aten._linalg_eigh: _cubic(9),
    _aten._linalg_svd: _cubic(22),
    _aten._linalg_solve_ex: _solve,
    _aten.linalg_solve_triangular: _triangular,
    _aten.triangular_solve: _triangular,
    _aten.cholesky_solve: _triangular,
    _aten.linalg_lu_solve: _triangular,
    _aten.upsample_bicubic2d: _interpolated(16),
    _aten.upsample_bilinear2d: _interpolated(4),
    _aten.grid_sampler_2d: _interpolated(4),
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


class _Foreign(TorchDispatchMode):
    """Whether operators were called that are not torch's own, or results made outside of torch came in: what they cost
    is not known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen = self.seen or func.namespace not in ("aten", "prim", "prims", "profiler")
        return func(*args, **(kwargs or {}))


def cost_of_long(
    prepare: Callable[[Any], Any], part: Callable[[Any], Any], scale: float, data: Any, network: nn.Module | None = None
) -> Cost:
    """As ``cost_of`` a run of many equal steps: what is done once, and a part of the steps times their number.

    Args:
        prepare: data -> x, done once.
        part: a function of x.
        scale: how many such parts there are.
        data: one sample, with its batch dimension.
        network: whose learned numbers are counted.
    """
    once, rest = cost_of(prepare, data, network), cost_of(part, prepare(data))
    known = [cost.multiply_adds for cost in (once, rest)]
    work = None if all(k is None for k in known) else round((known[0] or 0) + scale * (known[1] or 0))
    return Cost(work, max(once.peak_bytes or 0, rest.peak_bytes or 0), once.stored_bytes)


@torch.no_grad()
def cost_of(run: Callable[[Any], Any], data: Any, network: nn.Module | None = None) -> Cost:
    """Count what a method does on one sample. Multiply-adds are those of products, convolutions, Fourier transforms,
    factorisations, look-ups and compiled kernels, not of what is done entry by entry; None where none of these occurs
    or where something else was called whose work nobody knows.

    Args:
        run: data -> estimates.
        data: one sample, with its batch dimension.
        network: whose learned numbers are counted.
    """
    counter, foreign, peak = FlopCounterMode(display=False, custom_mapping=COUNTS), _Foreign(), _Peak()
    # the peak innermost: it follows operators as they are called, which the counter takes apart
    with native.counting() as kernels, foreign, counter, peak:
        run(data)
    found = counter.get_total_flops() // 2 + sum(kernels)
    flops = None if foreign.seen else found or None
    stored = None
    if network is not None:
        stored = sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
    return Cost(flops, peak.peak, stored)
