"""Steps of ISTA in residual form for many samples: matrices packed once, and rows that stay in a core's cache through
all layers.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.kernels.thin_step import ThinStep, check_steps
from unrolling.core import native

# samples in a batch for which packing pays; rows that a thread takes at once, whose state fits a core's second cache
FEWEST, MOST = 64, 320
_ROW_MAJOR, _AS_IT_IS, _TRANSPOSED, _SECOND = 101, 111, 112, 162  # of CBLAS


class Products(NamedTuple):
    """oneMKL's products with a packed matrix, and the kernel of all layers."""

    size: Any
    pack: Any
    compute: int  # address
    layers: Any


class _Layer(ctypes.Structure):
    """A step for C."""

    _fields_ = (
        ("down", ctypes.c_void_p),
        ("up", ctypes.c_void_p),
        ("threshold", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
    )


class _Packed(NamedTuple):
    """The matrices of all steps, packed for products of so many rows."""

    rows: int
    layers: Any
    held: list[Tensor]


def run_packed_steps(steps: Sequence[ThinStep]) -> Callable[[Tensor], Tensor] | None:
    """Steps after one another from zero, as a function of y (batch, m) that returns x (batch, n); None but for float32,
    oneMKL and a compiler.

    Each thread takes rows of the batch through all layers. With torch's operators the state leaves the cache between
    two of them, and every product packs its matrix anew. Equal to them to rounding (``python -m benchmarks.roofline``
    times it). Packed matrices are kept, for one number of rows at a time: as much memory as the weights and the
    dictionary.

    Args:
        steps: what ``thin_step`` gave, at least one, of one m and n.

    Raises:
        ValueError: as for ``run_thin_steps``.
    """
    check_steps(steps)
    first = steps[0].encoder
    if first.dtype != torch.float32 or (products := _products()) is None:
        return None
    (n, m), parallel = first.shape, native.openmp()
    kept: list[_Packed] = []

    def run(y: Tensor) -> Tensor:
        if y.ndim != 2 or y.shape[0] < 1 or y.shape[1] != m or y.dtype is not torch.float32 or not y.is_cpu:
            raise ValueError(
                f"y is (batch, {m}), float32 on the processor; got {tuple(y.shape)}, {y.dtype}, {y.device}"
            )
        batch, threads = y.shape[0], torch.get_num_threads() if parallel else 1
        rows = rows_of(batch, threads)
        if not kept or kept[0].rows != rows:
            kept[:] = [_pack(products, steps, rows)]
        y, out = y.resolve_neg().contiguous(), y.new_empty(batch, n)
        threads = min(threads, -(-batch // rows))
        scratch = y.new_empty(threads * rows * (m + n))
        given = (y.data_ptr(), out.data_ptr(), scratch.data_ptr(), ctypes.addressof(kept[0].layers))
        products.layers(*given, len(steps), batch, rows, m, n, threads, parallel, products.compute)
        native.counted(2 * len(steps) * batch * m * n)
        return out

    return run


def rows_of(batch: int, threads: int) -> int:
    """How many rows a thread takes at once: as many turns for every thread, of at most ``MOST`` rows."""
    turns = -(-batch // (threads * MOST))
    return -(-batch // (threads * turns))


def _pack(products: Products, steps: Sequence[ThinStep], rows: int) -> _Packed:
    done: dict[tuple[int, bool, float], Tensor] = {}  # layers that share a matrix share its packed form

    def once(matrix: Tensor, transposed: bool, scale: float) -> Tensor:
        key = matrix.data_ptr(), transposed, scale
        if key not in done:
            done[key] = pack(products, matrix, rows, transposed=transposed, scale=scale)
        return done[key]

    packed = [(once(step.columns, False, -1.0), once(step.encoder, True, step.scale)) for step in steps]
    made = (
        _Layer(down.data_ptr(), up.data_ptr(), step.threshold.data_ptr(), int(step.threshold.numel() > 1))
        for (down, up), step in zip(packed, steps, strict=True)
    )
    return _Packed(rows, (_Layer * len(steps))(*made), list(done.values()))


def pack(products: Products, matrix: Tensor, rows: int, *, transposed: bool, scale: float) -> Tensor:
    """scale B, B being the matrix or its transpose, in oneMKL's own order for products X B with X of so many rows."""
    inner, columns = matrix.shape[::-1] if transposed else matrix.shape
    matrix, line = matrix.contiguous(), 16  # numbers in a line of the cache, where the memory has to begin
    memory = matrix.new_empty(-(-products.size(_SECOND, rows, columns, inner) // 4) + line)
    memory = memory[-(memory.data_ptr() // 4) % line :]
    order = _TRANSPOSED if transposed else _AS_IT_IS
    products.pack(
        _ROW_MAJOR, _SECOND, order, rows, columns, inner, scale, matrix.data_ptr(), matrix.shape[1], memory.data_ptr()
    )
    return memory


@functools.cache
def _products() -> Products | None:
    """None where oneMKL, whose functions libtorch has for float32, or the compiler is missing."""
    try:
        mkl = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        size, pack, compute = (
            mkl.cblas_sgemm_pack_get_size,
            mkl.cblas_sgemm_pack,
            ctypes.cast(mkl.cblas_sgemm_compute, ctypes.c_void_p).value,
        )
        layers = native.load(Path(__file__).with_suffix(".cpp")).packed_steps
    except Exception as error:  # whatever it is, torch operators do the same
        native.report("batches run on torch operators, which take longer, as packed products cannot be had", error)
        return None
    size.restype, size.argtypes = ctypes.c_size_t, [ctypes.c_int] * 4
    pack.restype, pack.argtypes = (
        None,
        [ctypes.c_int] * 6 + [ctypes.c_float, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p],
    )
    layers.restype, layers.argtypes = (
        None,
        [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 5 + [ctypes.c_uint] + [ctypes.c_void_p] * 2,
    )
    assert compute is not None
    return Products(size, pack, compute, layers)
