"""Ordered statistics decoding: the bits that are surest decide the others."""

from __future__ import annotations

from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unrolling.algorithms.graphs.binary_matrices import reduced_rows
from unrolling.core.arguments import check_count

WORK = 1 << 24  # candidate bits at a time


def ordered_statistics(llr: Float[Tensor, "batch n"], matrix: Tensor, order: int = 2) -> Bool[Tensor, "batch n"]:
    """The likeliest of the words that agree with the k surest independent bits, up to ``order`` of these flipped.

    Nearly maximum likelihood for short codes, at 1 + k + k (k - 1) / 2 candidates a word for an order of two (Fossorier
    and Lin 1995, doi:10.1109/18.412683).

    Args:
        llr: log p(y | 0) / p(y | 1) of each bit.
        matrix: H (m, n) of any rank.
        order: 0, 1 or 2.

    Returns:
        Words of the code.

    Raises:
        ValueError: an order that is another number.
    """
    check_count(order, "order", 0, 2)
    checks = reduced_rows(matrix)[0]
    rank, n = checks.shape
    k = n - rank
    flips = [[], *([i] for i in range(k) if order > 0), *(list(p) for p in combinations(range(k), 2) if order > 1)]
    pattern = torch.zeros(len(flips), k)
    for row, places in enumerate(flips):
        pattern[row, places] = 1
    found = [_decoded(part, checks, pattern, rank) for part in llr.float().split(max(1, WORK // (n * len(flips))))]
    return torch.cat(found) if found else llr.new_zeros(0, n, dtype=torch.bool)


def _decoded(llr: Tensor, checks: Tensor, pattern: Tensor, rank: int) -> Tensor:
    batch, n = llr.shape
    order = llr.abs().argsort(1)  # least sure first: they are to follow from the others
    rows = checks.expand(batch, -1, -1).gather(2, order.unsqueeze(1).expand(-1, rank, -1)).clone()
    done = torch.zeros(batch, dtype=torch.int64)
    dependent = torch.zeros(batch, n, dtype=torch.bool)
    words = torch.arange(batch)
    level = torch.arange(rank)
    for column in range(n):  # elimination, a pivot for each word that still has one here
        ones = rows[:, :, column] & (level >= done.unsqueeze(1))
        has = ones.any(1)
        if not bool(has.any()):
            continue
        pivot = torch.where(has, ones.int().argmax(1), 0)
        place = done.clamp_max(rank - 1)
        chosen, other = rows[words, pivot].clone(), rows[words, place].clone()
        rows[words[has], pivot[has]] = other[has]
        rows[words[has], place[has]] = chosen[has]
        clear = rows[:, :, column] & has.unsqueeze(1)
        clear[words, place] &= ~has
        rows ^= clear.unsqueeze(2) & chosen.unsqueeze(1)
        dependent[:, column] |= has
        done += has
    # In every word the dependent bits, in order, belong to the rows, and the rest are free.
    where = dependent.int().argsort(dim=1, descending=True, stable=True)
    bound, free = where[:, :rank], where[:, rank:]
    sorted_llr = llr.gather(1, order)
    hard = (sorted_llr < 0).float()
    tried = (hard.gather(1, free).unsqueeze(1) + pattern).remainder(2)  # (batch, candidates, k)
    parity = rows.float().gather(2, free.unsqueeze(1).expand(-1, rank, -1))
    follows = (tried @ parity.mT).remainder(2)
    cost = tried @ sorted_llr.gather(1, free).unsqueeze(2) + follows @ sorted_llr.gather(1, bound).unsqueeze(2)
    best = cost.squeeze(2).argmin(1)  # the sum of the ratios of the ones is what words differ by
    result = torch.zeros(batch, n)
    result.scatter_(1, free, tried[words, best])
    result.scatter_(1, bound, follows[words, best])
    return torch.zeros(batch, n).scatter_(1, order, result).bool()
