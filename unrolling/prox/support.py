"""Support selection of LISTA-SS: the largest entries of a row pass unshrunk."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.core import native
from unrolling.core.execution import transformed
from unrolling.core.refusals import explained
from unrolling.prox.thresholds import check_threshold, soft_threshold

_ORDINARY = (Tensor, torch.nn.Parameter)  # types whose data may be looked at; not a fake, traced or distributed tensor


@explained
def support_select(z: Tensor, threshold: Tensor | float, count: int | Tensor) -> Tensor:
    """In each row (last dimension): z_i where |z_i| > t and z_i is among the ``count`` largest magnitudes; the soft
    threshold S_t(z_i) elsewhere.

    ``count = 0`` is `soft_threshold`, ``count >= n`` is `hard_threshold`. Of equal magnitudes the first ranks highest.
    NaN ranks above all and stays NaN here. The gradient to ``z`` is 1 where the result is not zero, to ``t`` -sign(z)
    where an entry is shrunk and not zero; the selection has no gradient.

    A small C++ kernel does this on the CPU (`python -m benchmarks.support_selection` times it). It is compiled at the
    first call, once per user, into TORCH_EXTENSIONS_DIR or the user's cache directory. Where that is not possible,
    torch operators give the same result, to the bit, but take longer; with UNROLLING_VERBOSE set in the environment, a
    warning says why.

    Args:
        z: (..., n), real or complex (by magnitude).
        threshold: t >= 0, a number or a real tensor that broadcasts to ``z``.
        count: how many of a row may pass, at least 0: an int, or an int64 tensor that broadcasts to ``z.shape[:-1]``.

    Raises:
        TypeError: a count that is not an integer.
        ValueError: a negative count, shapes that do not broadcast, a ``z`` without dimensions.

    Source: Chen, Liu, Wang, Yin 2018, "Theoretical linear convergence of unfolded ISTA and its practical weights and
    thresholds", arXiv:1808.10038.
    """
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    traced = tracing or transformed() or type(z) not in _ORDINARY
    _check(z, threshold, count, traced)
    if not traced and ((isinstance(count, int) and count == 0) or z.numel() == 0):
        return soft_threshold(z, threshold)
    if not traced and z.is_cpu and z.dtype in _kernels():
        level = threshold if isinstance(threshold, Tensor) else torch.tensor(threshold, dtype=z.dtype)
        at_hand = all(x.is_cpu and type(x) in _ORDINARY for x in (level, count) if isinstance(x, Tensor))
        if at_hand and torch.result_type(z, level) is z.dtype:
            return (
                _SupportSelect.apply(z, level, count)[0]
                if torch.is_grad_enabled()
                else _run(z, level, count, sloped=False)[0]
            )
    return _plain(z, threshold, count, traced)


def _check(z: Tensor, threshold: Tensor | float, count: int | Tensor, traced: bool) -> None:
    if z.dim() == 0:
        raise ValueError("z has no dimensions; support_select ranks the entries of the last one")
    check_threshold(threshold)
    if isinstance(threshold, Tensor) and threshold.dim() > 0 and not _broadcasts(threshold, z.shape):
        raise ValueError(
            f"threshold has the shape {tuple(threshold.shape)}, which does not broadcast to that of z, {tuple(z.shape)}"
        )
    if isinstance(count, Tensor):
        if count.dtype != torch.int64:
            raise TypeError(f"count has the dtype {count.dtype}; it is an int or a tensor of torch.int64")
        if not _broadcasts(count, z.shape[:-1]):
            raise ValueError(
                f"count has the shape {tuple(count.shape)}, which does not broadcast to that of the rows "
                f"of z, {tuple(z.shape[:-1])}"
            )
        if not traced and count.numel() and int(count.min()) < 0:
            raise ValueError(f"count holds {int(count.min())}; the number of entries that pass is at least 0")
    elif isinstance(count, bool) or not isinstance(count, int | torch.SymInt):
        raise TypeError(f"count is {count!r}; it is an int or a tensor of torch.int64")
    elif count < 0:
        raise ValueError(f"count is {count}; the number of entries that pass is at least 0")


def _broadcasts(x: Tensor, shape: torch.Size) -> bool:
    # A size that is equal is asked first: a symbolic batch size is then never compared with 1.
    return x.dim() <= len(shape) and all(
        a == b or a == 1 for a, b in zip(reversed(x.shape), reversed(shape), strict=False)
    )


# With the operators of torch


def _plain(z: Tensor, threshold: Tensor | float, count: int | Tensor, traced: bool) -> Tensor:
    if not isinstance(threshold, Tensor):
        threshold = torch.full((), threshold, dtype=z.real.dtype, device=z.device)
    if isinstance(count, Tensor):
        count = count.expand(z.shape[:-1])
    with torch.no_grad():
        size = z.detach().abs()
        # Counts in floats are exact below 2^24; on another device each look at a value would wait for it.
        look = not traced and z.is_cpu and size.dtype in (torch.float32, torch.float64) and z.shape[-1] < 2**24
        shrinks = (_shrinks_where_needed if look else _shrinks)(size, threshold.detach(), count)
    if z.is_complex():
        return torch.where(shrinks.bool(), soft_threshold(z, threshold), z)
    # On a scattered mask torch.where takes longer than either of these. The derivative of soft_threshold cannot be
    # traced with a batch of any size.
    if torch.is_grad_enabled() and not traced:
        return soft_threshold(z, threshold * shrinks)
    return torch.addcmul(z, shrinks, torch.clamp(z, -threshold, threshold), value=-1)


def _cut(size: Tensor, count: int | Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Of each row the magnitude at rank ``count + 1``, which what is selected exceeds, and whether rank ``count`` has
    it too. ``most``: the largest count.
    """
    n = size.shape[-1]
    if isinstance(count, int):
        if count >= n:
            return size.new_full((*size.shape[:-1], 1), -torch.inf), torch.zeros(
                (), dtype=torch.bool, device=size.device
            )
        top = size.topk(count + 1, sorted=False).values.nan_to_num(torch.inf, torch.inf)
        cut = top.amin(-1, keepdim=True)
        return cut, (top == cut).sum(-1, keepdim=True) > 1
    top = size.topk(min(most + 1, n)).values.nan_to_num(torch.inf, torch.inf)
    count = count.unsqueeze(-1)
    cut = torch.where(count < n, top.gather(-1, count.clamp(max=top.shape[-1] - 1)), -torch.inf)
    return cut, (count > 0) & (top.gather(-1, (count - 1).clamp(0, top.shape[-1] - 1)) == cut)


def _shrinks(size: Tensor, level: Tensor, count: int | Tensor) -> Tensor:
    """One where an entry of magnitude ``size`` is not selected, else zero; without a look at a value, so that it can be
    traced.
    """
    if isinstance(count, int) and count == 0:
        return torch.ones_like(size)
    cut, _ = _cut(size, count, size.shape[-1])
    return (~((size > level) & ((size > cut) | _first_of_equal(size, cut, count)))).to(size.dtype)


def _first_of_equal(size: Tensor, cut: Tensor, count: int | Tensor) -> Tensor:
    """The first entries of a row that equal ``cut``, as many as there is room for."""
    equal = size == cut
    room = count - (~(size <= cut)).sum(-1)
    return equal & (equal.cumsum(-1) <= room.unsqueeze(-1))


def _shrinks_where_needed(size: Tensor, level: Tensor, count: int | Tensor) -> Tensor:
    """The same, but only rows of which more than ``count`` exceed their lowest level are ranked, and equal magnitudes
    sought only where they matter.
    """
    n = size.shape[-1]
    least = level.amin(-1, keepdim=True) if level.dim() else level
    shrinks = torch.empty_like(size)
    # Compared and counted in floats, faster than booleans; a few rows are ranked sooner than counted.
    need = torch.le(size, least, out=shrinks) @ shrinks.new_ones(n) < n - count if size.numel() > 8 * n else None
    if need is None or need.all():
        cut, equal = _cut(size, count, n if isinstance(count, int) else int(count.max()))
    elif need.any():
        some = count if isinstance(count, int) else count[need]
        cut, equal = size.new_full((*size.shape[:-1], 1), -torch.inf), need.new_zeros((*size.shape[:-1], 1))
        cut[need], equal[need] = _cut(size[need], some, n if isinstance(some, int) else int(some.max()))
    else:
        return torch.le(size, level, out=shrinks)
    torch.le(size, torch.maximum(level, cut), out=shrinks)
    if (equal & ~(cut <= least)).any():
        shrinks.masked_fill_((size > level) & _first_of_equal(size, cut, count), 0)
    return shrinks


# With the kernel


class _SupportSelect(torch.autograd.Function):
    @staticmethod
    def forward(z: Tensor, threshold: Tensor, count: int | Tensor) -> tuple[Tensor, Tensor]:
        return _run(z, threshold, count, sloped=True)  # pyright: ignore[reportReturnType]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int | Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)
        ctx.shape = inputs[1].shape

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None]:  # pyright: ignore
        output, slope = ctx.saved_tensors
        active = torch.ops.aten.hardshrink_backward(grad, output, 0.0)  # grad where the output is not zero, in one pass
        by_threshold = (slope * grad).sum_to_size(ctx.shape) if ctx.needs_input_grad[1] else None
        return active, by_threshold, None


def _run(z: Tensor, threshold: Tensor, count: int | Tensor, *, sloped: bool) -> tuple[Tensor, Tensor | None]:
    z = z.resolve_neg().contiguous()
    n = z.shape[-1]
    rows = z.numel() // n
    out = torch.empty_like(z)
    slope = torch.empty_like(z, dtype=torch.int8) if sloped else None
    # Strides of the threshold from row to row and within a row.
    if threshold.dim() == 0:
        strides = 0, 0
    elif threshold.dim() == 1:
        strides = 0, int(threshold.shape[0] > 1)
    elif threshold.shape[-1] == 1:
        threshold, strides = threshold.expand(*z.shape[:-1], 1), (1, 0)
    else:
        threshold, strides = threshold.expand(z.shape), (n, 1)
    threshold = threshold.to(z.dtype).resolve_neg().contiguous()
    counts = count.expand(z.shape[:-1]).contiguous() if isinstance(count, Tensor) else None
    most = count if isinstance(count, int) else 0
    threads = min(torch.get_num_threads(), 1 + z.numel() // 16384)
    addresses = (None if x is None else x.data_ptr() for x in (z, threshold, counts, out, slope))
    _kernels()[z.dtype](*addresses, rows, n, *strides, min(most, n), threads, native.openmp())
    native.counted(z.numel())  # a subtraction for each entry; the rest are comparisons
    return out, slope


@functools.cache
def _kernels() -> dict[torch.dtype, Callable[..., None]]:
    """The compiled function for each dtype; none where something fails."""
    arguments = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 5 + [ctypes.c_uint, ctypes.c_void_p]
    without = "support_select runs on torch operators, which take longer, as its kernel could not be built"
    return native.kernels(Path(__file__).with_suffix(".cpp"), "support_select", arguments, without)
