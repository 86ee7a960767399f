"""Products with large sparse matrices of which the rows are computed, in both directions, differentiable."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils._python_dispatch import _disable_current_modes

from unrolling.operators._graphs import constant_in_graphs

Stored = bool | Literal["one"]  # both M and M^T, M alone, or neither
KEPT = 4  # matrices that are remembered although nothing uses them
KEPT_BYTES = 256 * 2**20  # and the largest of these


class Rows(NamedTuple):
    """Some rows of a matrix, one after the other: how many entries each has, their columns (sorted), their values."""

    counts: Tensor
    columns: Tensor
    values: Tensor


class SparseMatrix:
    """M (m, n) as compressed rows, int32 indices, and M^T as compressed rows of its own: products with both walk along
    memory, and the second is the transpose of the first to the bit.

    Matrices are made when first asked for, for each dtype and device, and belong to whoever has the same key: copies
    of an operator, layers of a network, and operators made twice share them. They are not part of a state dict.

    Args:
        key: what M follows from.
        shape: (m, n).
        rows: blocks of rows of M in their order, values float64.
        expected: how many entries M has, about.
    """

    _all: ClassVar[WeakValueDictionary[Hashable, SparseMatrix]] = WeakValueDictionary()
    _recent: ClassVar[OrderedDict[Hashable, SparseMatrix]] = OrderedDict()
    _lock: ClassVar[Any] = threading.RLock()

    def __init__(
        self, key: Hashable, shape: tuple[int, int], rows: Callable[[], Iterator[Rows]], expected: int = 0
    ) -> None:
        self.key, self.shape, self.expected, self._rows = key, shape, expected, rows
        self._made: dict[tuple[bool, torch.dtype, torch.device], Tensor] = {}
        self._padded: dict[tuple[bool, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(
        cls, key: Hashable, shape: tuple[int, int], rows: Callable[[], Iterator[Rows]], expected: int = 0
    ) -> SparseMatrix:
        """The one matrix of this key in the process."""
        with cls._lock:
            found = cls._all.get(key)
            if found is None:
                found = cls._all[key] = cls(key, shape, rows, expected)
            cls._recent[key] = found
            cls._recent.move_to_end(key)
            while len(cls._recent) > KEPT or (len(cls._recent) > 1 and cls._first_is_large()):
                cls._recent.popitem(last=False)
            return found

    @classmethod
    def _first_is_large(cls) -> bool:
        return next(iter(cls._recent.values())).memory > KEPT_BYTES

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseMatrix:
        return self

    def __copy__(self) -> SparseMatrix:
        return self

    def __reduce__(self) -> Any:
        """What it follows from; another process makes it again."""
        return SparseMatrix.of, (self.key, self.shape, self._rows, self.expected)

    @property
    def memory(self) -> int:
        """Memory of what has been made so far."""
        held = [
            part for made in self._made.values() for part in (made.crow_indices(), made.col_indices(), made.values())
        ]
        held += [part for pair in self._padded.values() for part in pair]
        return sum(part.numel() * part.element_size() for part in held)

    def multiply(self, x: Tensor, transposed: bool = False, stored: Stored = True) -> Tensor:
        """M x, (..., n) -> (..., m), or M^T x: half precision is multiplied in float32. Where it is not to be stored, M
        is computed anew each time, unless it has been stored before; of ``one``, products with M^T go along M.

        Watched by a compiler or an exporter, rows are padded to one length and gathered, which these know.
        """
        dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
        flat = x.reshape(-1, x.shape[-1]).to(dtype)
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            columns, values = self.padded(transposed, dtype, x.device)
            taps = flat.index_select(1, columns.flatten()).unflatten(1, columns.shape)
            found = (taps * values).sum(-1)
        else:
            found = _Product.apply(flat, self, transposed, stored)
        return found.reshape(*x.shape[:-1], self.shape[1 if transposed else 0]).to(x.dtype)

    def streamed(self, x: Tensor, transposed: bool) -> Tensor:
        """M x, (count, n) -> (count, m), or M^T x, from rows that are computed and forgotten, a block at a time."""
        parts, row = [], 0
        found = x.new_zeros(self.shape[1], len(x)) if transposed else x
        held = self._made.get((False, x.dtype, x.device))
        for block in self._rows() if held is None else _blocks(held):
            counts, columns, values = (part.to(x.device) for part in block)
            if transposed:
                own = torch.repeat_interleave(torch.arange(row, row + len(counts), device=x.device), counts)
                found.index_add_(0, columns.long(), x.T[own] * values.to(x.dtype).unsqueeze(1))
            else:
                rows = _csr(_starts(counts), columns.int(), values.to(x.dtype), (len(counts), self.shape[1]))
                parts.append(torch.mm(rows, x.T))
            row += len(counts)
        return found.T.contiguous() if transposed else torch.cat(parts).T.contiguous()

    def compressed(self, transposed: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
        """M, or M^T, as a ``torch.sparse_csr`` tensor."""
        found = self._made.get((transposed, dtype, device))
        if found is None:
            with self._lock, torch.no_grad():
                found = self._made.get((transposed, dtype, device))
                if found is None:
                    found = self._make(transposed, dtype, device)
                    self._made[transposed, dtype, device] = found
        return found

    @constant_in_graphs
    def padded(self, transposed: bool, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """Columns, int32, and values of M, or M^T, (rows, most entries in one): short rows end in zeros."""
        found = self._padded.get((transposed, dtype, device))
        if found is None:
            with self._lock, _disable_current_modes(), torch.no_grad():  # numbers, whoever is tracing
                matrix = self.compressed(transposed, dtype, device)
                start = matrix.crow_indices().long()
                counts = start.diff()
                places = torch.arange(int(counts.max()), device=device)
                inside = places < counts.unsqueeze(1)
                values = torch.zeros(inside.shape, dtype=dtype, device=device)
                columns = torch.zeros(inside.shape, dtype=torch.int32, device=device)
                values[inside], columns[inside] = matrix.values(), matrix.col_indices()
                found = self._padded[transposed, dtype, device] = columns, values
        return found

    def _make(self, transposed: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
        cpu = torch.device("cpu")
        if device != cpu:
            return self.compressed(transposed, dtype, cpu).to(device)
        if transposed:
            return _transposed(self.compressed(False, dtype, cpu))
        # Room for about as much as there will be, so that nothing is copied; what is not written takes no memory.
        counts, end, room = [], 0, max(self.expected, 1)
        columns, values = torch.empty(room, dtype=torch.int32), torch.empty(room, dtype=dtype)
        for block in self._rows():
            first, end = end, end + len(block.columns)
            if end > len(columns):
                more = end // 4
                columns = torch.cat([columns[:first], columns.new_empty(end - first + more)])
                values = torch.cat([values[:first], values.new_empty(end - first + more)])
            columns[first:end], values[first:end] = block.columns, block.values
            counts.append(block.counts)
        return _csr(_starts(torch.cat(counts)), columns[:end], values[:end], self.shape)


def _starts(counts: Tensor) -> Tensor:
    ends = counts.cumsum(0)
    if len(ends) and int(ends[-1]) > torch.iinfo(torch.int32).max:
        raise ValueError(
            f"the matrix of this operator has {int(ends[-1])} entries, more than 2^31: give fewer views, bins or pixels"
        )
    return torch.cat([ends.new_zeros(1), ends]).int()


def _csr(start: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(beta state|invariant checks).*")
        return torch.sparse_csr_tensor(start, columns, values, shape, check_invariants=False)


def _blocks(matrix: Tensor, entries: int = 4_000_000) -> Iterator[Rows]:
    """The rows of a compressed matrix, some at a time."""
    start, columns, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    row, m = 0, matrix.shape[0]
    while row < m:
        last = max(row + 1, int(torch.searchsorted(start, start[row] + entries, right=True)) - 1)
        last = min(m, last)
        part = slice(int(start[row]), int(start[last]))
        yield Rows(start[row : last + 1].diff(), columns[part], values[part])
        row = last


def _transposed(matrix: Tensor, block: int = 250_000) -> Tensor:
    """M^T: entries go to their places a block of rows at a time, which takes little memory besides the result."""
    start, columns, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    m, n = matrix.shape
    counts = torch.bincount(columns, minlength=n)
    starts = _starts(counts)
    place = starts[:-1].long()
    there, numbers = torch.empty_like(columns), torch.empty_like(values)
    row = 0
    while row < m:
        last = int(torch.searchsorted(start, start[row] + block, right=True)) - 1
        last = min(m, max(last, row + 1))
        first, end = int(start[row]), int(start[last])
        own = torch.repeat_interleave(
            torch.arange(row, last, dtype=torch.int32), (start[row + 1 : last + 1] - start[row:last]).long()
        )
        kept, order = torch.sort(columns[first:end], stable=True)
        found, how_many = torch.unique_consecutive(kept, return_counts=True)
        found = found.long()
        rank = torch.arange(end - first) - torch.repeat_interleave(how_many.cumsum(0) - how_many, how_many)
        to = torch.repeat_interleave(place[found], how_many) + rank
        there[to], numbers[to] = own[order], values[first:end][order]
        place[found] += how_many
        row = last
    return _csr(starts, there, numbers, (n, m))


class _Product(Function):
    """M x^T for the rows of x; its gradient is the product with the other of M and M^T."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        x: Tensor, matrix: SparseMatrix, transposed: bool, stored: Stored
    ) -> Tensor:
        if not len(x):
            return x.new_zeros(0, matrix.shape[1 if transposed else 0])
        with torch.autocast(x.device.type, enabled=False):  # which knows no sparse products in half precision
            if (transposed, x.dtype, x.device) not in matrix._made:
                if stored == "one":
                    matrix.compressed(False, x.dtype, x.device)
                if not stored or (stored == "one" and transposed):
                    return matrix.streamed(x, transposed)
            held = matrix.compressed(transposed, x.dtype, x.device)
            if len(x) == 1:
                return torch.mv(held, x[0]).unsqueeze(0)
            return torch.mm(held, x.T).T.contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.matrix, ctx.transposed, ctx.stored = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Product.apply(gradient, ctx.matrix, not ctx.transposed, ctx.stored), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Product.apply(tangent, ctx.matrix, ctx.transposed, ctx.stored)

    @staticmethod
    def vmap(
        info: Any, dims: tuple[Any, ...], x: Tensor, matrix: SparseMatrix, transposed: bool, stored: Stored
    ) -> Any:
        x = x.movedim(dims[0], 0)
        found = _Product.apply(x.reshape(-1, x.shape[-1]), matrix, transposed, stored)
        return found.reshape(*x.shape[:-1], -1), 0
