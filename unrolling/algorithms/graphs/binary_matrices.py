"""Arithmetic modulo two: the rank of parity-check matrices, and encoders."""

from __future__ import annotations

import torch
from torch import Tensor


def reduced_rows(matrix: Tensor) -> tuple[Tensor, list[int]]:
    """The reduced row echelon form modulo two, without rows of zeros, and the columns of its pivots.

    Args:
        matrix: (m, n) of zeros and ones, of any dtype.

    Returns:
        (rank, n) bool, and the pivots' columns in order.
    """
    rows, pivots = matrix.bool().clone(), []
    for column in range(rows.shape[1]):
        first = len(pivots)
        ones = rows[first:, column].nonzero().flatten()
        if len(ones) == 0:
            continue
        pivot = first + int(ones[0])
        if pivot != first:
            rows[[first, pivot]] = rows[[pivot, first]]
        others = rows[:, column].clone()
        others[first] = False
        rows[others] ^= rows[first]
        pivots.append(column)
        if len(pivots) == rows.shape[0]:
            break
    return rows[: len(pivots)], pivots


def binary_rank(matrix: Tensor) -> int:
    """The rank modulo two of a matrix (m, n) of zeros and ones."""
    return len(reduced_rows(matrix)[1])


def generator_matrix(parity_check: Tensor) -> Tensor:
    """A basis of the words x with H x = 0 modulo two.

    Args:
        parity_check: H (m, n), of any rank.

    Returns:
        (n - rank, n) bool; the identity in the columns that are no pivots of H.
    """
    rows, pivots = reduced_rows(parity_check)
    n = parity_check.shape[1]
    free = [column for column in range(n) if column not in set(pivots)]
    basis = torch.zeros(len(free), n, dtype=torch.bool)
    basis[torch.arange(len(free)), free] = True
    if pivots:
        basis[:, pivots] = rows[:, free].T
    return basis


def syndrome(words: Tensor, parity_check: Tensor) -> Tensor:
    """H x modulo two of each word.

    Args:
        words: (batch, n) of zeros and ones.
        parity_check: H (m, n).

    Returns:
        (batch, m) bool; all False for words of the code.
    """
    return (words.float() @ parity_check.float().T).round().remainder(2).bool()
