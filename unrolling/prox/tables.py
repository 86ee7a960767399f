"""Functions of one variable, one per channel, as polynomials on evenly spaced cells: quick to evaluate, and exactly
differentiable in their coefficients.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core import native
from unrolling.core.execution import transformed
from unrolling.core.refusals import explained

_ORDINARY = (Tensor, torch.nn.Parameter)  # types whose data may be looked at; not a fake, traced or distributed tensor


@explained
def piecewise_polynomial(
    z: Float[Tensor, "batch channels ..."], table: Float[Tensor, "channels cells terms"], first: float, spacing: float
) -> Tensor:
    """sum_k c_k f^k, k = 0 ... terms - 1, f = (z - first) / spacing - cell, c the coefficients of the channel's cell
    that z lies in.

    What lies outside belongs to the first or the last cell, whose polynomial goes on. NaN stays NaN.

    A small C++ kernel does this on the CPU, compiled at the first call, once per user (see
    ``unrolling.prox.support``). Where that is not possible, torch operators give the same up to rounding, but take
    longer; with UNROLLING_VERBOSE set in the environment, a warning says why.

    Args:
        z: the arguments, real.
        table: the coefficients; 2 terms (linear) or 4 (cubic).
        first: where the first cell begins.
        spacing: the length of a cell.

    Raises:
        ValueError: channels that differ, no cell, other than 2 or 4 terms, a spacing that is not positive.
    """
    if z.ndim < 2 or table.ndim != 3 or z.shape[1] != table.shape[0]:
        raise ValueError(
            "z (batch, channels, ...) and table (channels, cells, terms) have other shapes: "
            f"{tuple(z.shape)} and {tuple(table.shape)}"
        )
    if table.shape[1] < 1:
        raise ValueError(f"a table has at least one cell per channel; got {tuple(table.shape)}")
    if table.shape[2] not in (2, 4):
        raise ValueError(f"a table has 2 terms (linear) or 4 (cubic) per cell; got {table.shape[2]}")
    if not spacing > 0:
        raise ValueError(f"spacing is {spacing}; a cell has a length above 0")
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    traced = tracing or transformed() or type(z) not in _ORDINARY or type(table) not in _ORDINARY
    if traced or not (z.is_cpu and table.is_cpu and z.dtype is table.dtype and z.dtype in _kernels()):
        return _plain(z, table, first, spacing)
    return (
        _Piecewise.apply(z, table, first, spacing)
        if torch.is_grad_enabled()
        else _run(z, table, None, first, spacing)[0]
    )  # pyright: ignore[reportReturnType]


# With the operators of torch


def _plain(z: Tensor, table: Tensor, first: float, spacing: float) -> Tensor:
    cells, terms = table.shape[1:]
    position = (z - first) * (1 / spacing)
    cell = position.detach().floor().clamp(0, cells - 1).nan_to_num(0.0)
    channel = torch.arange(z.shape[1], device=z.device).mul(cells).reshape(1, -1, *[1] * (z.ndim - 2))
    rows = table.flatten(0, 1)[cell.long() + channel]
    fraction = position - cell
    value = rows[..., terms - 1]
    for k in reversed(range(terms - 1)):
        value = value * fraction + rows[..., k]
    return value


# With the kernel


class _Piecewise(torch.autograd.Function):
    @staticmethod
    def forward(z: Tensor, table: Tensor, first: float, spacing: float) -> Tensor:
        return _run(z, table, None, first, spacing)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float, float], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.first, ctx.spacing = inputs[2:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:  # pyright: ignore
        z, table = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of the gradient is asked for
            with torch.enable_grad():
                value = _plain(z, table, ctx.first, ctx.spacing)
                by_z, by_table = torch.autograd.grad(value, (z, table), grad, create_graph=True, allow_unused=True)
            return by_z, by_table, None, None
        by_z, by_table = _run(z, table, grad, ctx.first, ctx.spacing, by_table=ctx.needs_input_grad[1])
        return by_z, by_table, None, None


def _run(
    z: Tensor, table: Tensor, grad: Tensor | None, first: float, spacing: float, *, by_table: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The values; or with ``grad`` the gradients in z and, if wanted, in the table."""
    z, table = z.resolve_neg().contiguous(), table.resolve_neg().contiguous()
    grad = None if grad is None else grad.resolve_neg().contiguous()
    out = torch.empty_like(z)
    channels, cells, terms = table.shape
    sums = table.new_zeros(channels, 2, cells, terms) if by_table else None
    sizes = z.shape[0], channels, z.shape[2:].numel(), cells, terms
    threads = min(torch.get_num_threads(), channels, 1 + z.numel() // 16384)
    addresses = (None if x is None else x.data_ptr() for x in (z, table, grad, out, sums))
    _kernels()[z.dtype](*addresses, *sizes, first, 1 / spacing, threads, native.openmp())
    native.counted(z.numel() * terms)  # the place in the table, and a product for each power
    return out, None if sums is None else sums.sum(1)


@functools.cache
def _kernels() -> dict[torch.dtype, Callable[..., None]]:
    """The compiled function for each dtype; none where something fails."""
    arguments = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 5 + [ctypes.c_double] * 2 + [ctypes.c_uint, ctypes.c_void_p]
    without = "piecewise_polynomial runs on torch operators, which take longer, as its kernel could not be built"
    return native.kernels(Path(__file__).with_suffix(".cpp"), "piecewise", arguments, without)
