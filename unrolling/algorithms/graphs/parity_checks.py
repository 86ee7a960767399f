"""The graph of a parity-check matrix: bits, checks, and an edge for every one."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from unrolling.algorithms.graphs.binary_matrices import binary_rank


class ParityChecks(nn.Module):
    """The edges of a parity-check matrix H, row by row, and where a check and a bit find theirs.

    Buffers: ``matrix`` H (m, n) bool; ``bits`` (edges,), the bit of each edge; ``at_checks`` (m, largest weight of a
    row), the edges of each check, and ``at_bits`` (n, largest weight of a column), those of each bit, both filled up
    with the number of edges; ``places`` (edges,), where an edge lies in ``at_checks`` made flat.

    Args:
        matrix: H (m, n) of zeros and ones.

    Raises:
        ValueError: not a matrix of zeros and ones, or no one in it.

    Warns:
        UserWarning: rows that are empty (they say nothing), columns that are (bits that no check protects). Rows that
            depend on others are of use to belief propagation, and are no fault; ``rank`` counts the others.
    """

    matrix: Tensor
    bits: Tensor
    at_checks: Tensor
    at_bits: Tensor
    places: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        matrix = check_parity_check(matrix)
        m, n = matrix.shape
        rows, columns = matrix.nonzero().unbind(1)
        self.rank = binary_rank(matrix)
        at_checks, places = _slots(rows, m)
        at_bits, _ = _slots(columns, n)
        for name, value in (
            ("matrix", matrix),
            ("bits", columns),
            ("at_checks", at_checks),
            ("at_bits", at_bits),
            ("places", places),
        ):
            self.register_buffer(name, value, persistent=False)

    @property
    def edges(self) -> int:
        """Ones of H."""
        return len(self.bits)

    @property
    def length(self) -> int:
        """n, bits of a word."""
        return self.matrix.shape[1]

    def gather_at_checks(self, values: Tensor, filling: float) -> Tensor:
        """(batch, edges) -> (batch, m, largest weight), filled up."""
        return _gathered(values, self.at_checks, filling)

    def gather_at_bits(self, values: Tensor) -> Tensor:
        """(batch, edges) -> (batch, n, largest weight), filled up with zeros."""
        return _gathered(values, self.at_bits, 0.0)

    def scatter_from_checks(self, values: Tensor) -> Tensor:
        """(batch, m, largest weight) -> (batch, edges)."""
        return values.flatten(1).index_select(1, self.places)


def check_parity_check(matrix: Tensor) -> Tensor:
    """H as bool, told of what is odd about it.

    Raises:
        ValueError: not a matrix of zeros and ones, or no one in it.
    """
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"a parity-check matrix has the shape (checks, bits); got {tuple(matrix.shape)}")
    if not bool(((matrix == 0) | (matrix == 1)).all()):
        raise ValueError("a parity-check matrix holds zeros and ones and nothing else")
    found = matrix.bool()
    if not bool(found.any()):
        raise ValueError("the parity-check matrix has no ones: it protects nothing")
    for what, dim, means in (("rows", 1, "they say nothing"), ("columns", 0, "no check protects these bits")):
        empty = (~found.any(dim)).nonzero().flatten().tolist()
        if empty:
            listed = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
            warnings.warn(f"the parity-check matrix has {len(empty)} empty {what} ({listed}): {means}", stacklevel=3)
    return found


def _slots(group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """The members of each group, (groups, most), filled up with their number; and the place of each member in it."""
    count = len(group)
    sizes = torch.bincount(group, minlength=groups)
    order = torch.argsort(group, stable=True)
    rank = torch.empty_like(group)
    rank[order] = torch.arange(count) - (sizes.cumsum(0) - sizes)[group[order]]
    most = int(sizes.max())
    slots = torch.full((groups, most), count)
    slots[group, rank] = torch.arange(count)
    return slots, group * most + rank


def _gathered(values: Tensor, slots: Tensor, filling: float) -> Tensor:
    filled = nn.functional.pad(values, (0, 1), value=filling)
    return filled.index_select(1, slots.flatten()).unflatten(1, slots.shape)
