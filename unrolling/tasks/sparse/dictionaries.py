"""Dictionaries that signals are measured with: drawn, or from a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_dictionary
from unrolling.core.arguments import check_count, check_range
from unrolling.files.decoding import Arrays


def gaussian_dictionary(m: int, n: int, seed: int) -> Tensor:
    """A (m, n) with independent N(0, 1/m) entries, columns then normalised."""
    check_count(m, "m")
    check_count(n, "n")
    matrix = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / m**0.5
    return (matrix / torch.linalg.vector_norm(matrix, dim=0)).float()


def conditioned_dictionary(m: int, n: int, condition: float, seed: int) -> Tensor:
    """The Gaussian dictionary with its singular values replaced by geometric ones, the first over the last being the
    condition number; columns then normalised.

    Normalising changes the singular values a little. Its singular vectors are those of independent entries: such a
    matrix is rotationally invariant from the right but for the normalisation, as VAMP assumes it to be.

    Args:
        m: rows, at most n.
        n: columns.
        condition: at least 1; 1 gives orthogonal rows before the columns are normalised.
        seed: as for ``gaussian_dictionary``.
    """
    check_range(condition, "condition", 1.0)
    left, _, right = torch.linalg.svd(gaussian_dictionary(m, n, seed).double(), full_matrices=False)
    values = torch.logspace(0, -math.log10(condition), min(m, n), dtype=torch.float64)
    matrix = left * values @ right
    return (matrix / torch.linalg.vector_norm(matrix, dim=0)).float()


def coherent_dictionary(m: int, n: int, block: int, coherence: float, seed: int) -> Tensor:
    """Blocks of columns that are alike: a_i = sqrt(c) u + sqrt(1 - c) v_i, u common to a block and orthogonal to its
    v_i, which are orthogonal to each other.

    The inner product of two unit columns is c within a block, exactly, and of order 1/sqrt(m) between blocks. Xin,
    Wang, Gao, Wipf and Wang 2016 (arXiv:1605.01636) study such clusters, on which thresholding and pursuit err.

    Args:
        m: rows, more than ``block``.
        n: columns, a multiple of ``block``.
        block: columns of a block.
        coherence: c, in [0, 1).
        seed: of the directions.
    """
    check_range(coherence, "coherence", 0.0, 1.0, below=True)
    if block < 1 or n % block or m <= block:
        raise ValueError(f"block is {block}; the columns of a block divide n = {n}, and are fewer than m = {m}")
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(n // block, m, block + 1, generator=generator, dtype=torch.float64))[0]
    columns = coherence**0.5 * directions[:, :, :1] + (1 - coherence) ** 0.5 * directions[:, :, 1:]
    return columns.transpose(0, 1).reshape(m, n).float()


def drawn_dictionary(m: int, n: int, condition: float, coherence: float, block: int, seed: int) -> Tensor:
    """A (m, n) with a condition number or coherent blocks of columns where these are not 0, Gaussian otherwise."""
    if condition:
        return conditioned_dictionary(m, n, condition, seed)
    if coherence:
        return coherent_dictionary(m, n, block, coherence, seed)
    return gaussian_dictionary(m, n, seed)


def read_dictionary(path: str | Path) -> Tensor:
    """A (m, n) from a ``.npy`` file, columns normalised.

    Raises:
        ValueError: not a readable array, not a matrix of finite real numbers, or a zero column.
    """
    try:
        content = Arrays(Path(path)).only
        if np.iscomplexobj(content):
            raise TypeError("it is complex")
        matrix = torch.from_numpy(np.asarray(content, dtype=np.float32))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a .npy file of real numbers: {error}") from error
    try:
        check_dictionary(matrix)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return matrix / torch.linalg.vector_norm(matrix, dim=0)
