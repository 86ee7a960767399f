"""Steps of ISTA in residual form for one sample at a time, where reading the weights is what takes the time."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from unrolling.core import native

_columns: WeakIdKeyDictionary = WeakIdKeyDictionary()  # transposed dictionaries, which the layers of a network share


class ThinStep(NamedTuple):
    """What x <- S_theta(x + s W (y - A x)) needs, as the kernel reads it."""

    columns: Tensor  # (n, m): A^T
    encoder: Tensor  # (n, m): W
    threshold: Tensor  # theta, (n,) or (1,)
    scale: float  # s


class _Layer(ctypes.Structure):
    """The same for C."""

    _fields_ = (
        ("columns", ctypes.c_void_p),
        ("encoder", ctypes.c_void_p),
        ("threshold", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("scale", ctypes.c_double),
    )


def thin_step(encoder: Tensor, dictionary: Tensor, threshold: Tensor, scale: float = 1.0) -> ThinStep | None:
    """A step for ``run_thin_steps``; None for what that is not made for: other devices and dtypes, thresholds per
    sample, no compiler.

    Args:
        encoder: W (n, m).
        dictionary: A (m, n).
        threshold: theta >= 0, a number or (n,).
        scale: s.

    Raises:
        ValueError: shapes that do not belong together, which the kernel would read beyond.
    """
    if encoder.ndim != 2 or dictionary.shape != encoder.T.shape or 0 in encoder.shape:
        raise ValueError(
            f"encoder is (n, m) and dictionary (m, n), neither empty; got {tuple(encoder.shape)} and "
            f"{tuple(dictionary.shape)}"
        )
    n = encoder.shape[0]
    if encoder.dtype not in _kernels() or any(
        not t.is_cpu or t.dtype != encoder.dtype for t in (encoder, dictionary, threshold)
    ):
        return None
    if threshold.ndim > 1 or threshold.numel() not in (1, n):
        return None
    if dictionary not in _columns:
        _columns[dictionary] = dictionary.detach().T.contiguous()
    columns: Tensor = _columns[dictionary]
    if encoder.is_contiguous():
        rows = encoder.detach()
    else:  # the transposed dictionary itself, mostly
        rows = (
            columns
            if encoder.data_ptr() == dictionary.data_ptr() and dictionary.is_contiguous()
            else encoder.detach().contiguous()
        )
    return ThinStep(columns, rows, threshold.detach().reshape(-1).contiguous(), scale)


def check_steps(steps: Sequence[ThinStep]) -> None:
    """Refuses steps that a kernel would read beyond.

    Raises:
        ValueError: none, or of several sizes or dtypes.
    """
    kinds = {(tuple(step.encoder.shape), step.encoder.dtype) for step in steps}
    if len(kinds) != 1:
        raise ValueError(f"steps are at least one, all of one size and dtype; got {sorted(map(str, kinds)) or 'none'}")


def run_thin_steps(steps: Sequence[ThinStep]) -> Callable[[Tensor, Tensor], Tensor]:
    """Steps after one another, as a function that changes x (1, n) in place, given y (1, m), and returns it.

    A C++ kernel, compiled at the first call and kept as that of ``support_select`` is. It reads each W once, and of A
    the columns where x is not zero; with torch's operators a step is three launches and all of A. One thread does it.
    Equal to them to rounding (``python -m benchmarks.roofline`` times it).

    Args:
        steps: what ``thin_step`` gave, at least one, of one m and n.

    Raises:
        ValueError: no steps, or of several sizes or dtypes; when called, x or y of another shape, dtype or place.
    """
    check_steps(steps)
    n, m = steps[0].encoder.shape
    dtype, x_shape, y_shape = steps[0].encoder.dtype, (1, n), (1, m)
    layers = (_Layer * len(steps))(
        *(
            _Layer(
                s.columns.data_ptr(),
                s.encoder.data_ptr(),
                s.threshold.data_ptr(),
                int(s.threshold.numel() > 1),
                s.scale,
            )
            for s in steps
        )
    )
    gap, nonzero = steps[0].encoder.new_empty(m), torch.empty(n + 1, dtype=torch.int32)
    memory = [*steps, layers, gap, nonzero]  # lives as long as the function
    kernel, depth, where = _kernels()[steps[0].encoder.dtype], len(steps), ctypes.addressof(layers)

    def run(x: Tensor, y: Tensor) -> Tensor:
        assert memory
        if x.shape != x_shape or y.shape != y_shape or x.dtype is not dtype or y.dtype is not dtype:
            raise ValueError(
                f"x is {x_shape} and y {y_shape}, both {dtype}; got {tuple(x.shape)}, {tuple(y.shape)}, {x.dtype}, "
                f"{y.dtype}"
            )
        if not (x.is_cpu and y.is_cpu and x.is_contiguous()):
            raise ValueError("x and y are on the processor, and x, which is written into, is contiguous")
        y = y.resolve_neg().contiguous()
        kernel(x.data_ptr(), y.data_ptr(), where, depth, gap.data_ptr(), nonzero.data_ptr(), m, n)
        native.counted(2 * depth * m * n)  # at most: columns of zeros are left out
        return x

    return run


@functools.cache
def _kernels() -> dict[torch.dtype, Callable[..., None]]:
    """The compiled function for each dtype; none where something fails."""
    arguments = [ctypes.c_void_p] * 3 + [ctypes.c_int64] + [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2
    without = "single samples run on torch operators, which take longer, as the kernel could not be built"
    return native.kernels(Path(__file__).with_suffix(".cpp"), "thin_steps", arguments, without)
