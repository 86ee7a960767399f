"""A list of the likeliest vectors of symbols by a breadth-first search, and the soft bits that follow from it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.detection.bit_ratios import ENTRIES, level_llrs
from unrolling.algorithms.detection.mimo import (
    Received,
    adjoint,
    at_unit_gain,
    check_received,
    check_rising,
    gram,
    noise_of,
)
from unrolling.algorithms.detection.safeguarded import blocks
from unrolling.core.arguments import check_count
from unrolling.core.refusals import explained

LEAST = 1e-12  # of a noise variance, relative to a stream's energy


class Listed(NamedTuple):
    """Vectors that are likely, the likeliest first."""

    index: Tensor  # of levels, int64 (batch, list, K)
    logs: Tensor  # -|y - H x|^2 / (2 sigma^2) (batch, list), in double precision


@explained
def k_best(data: Received, levels: Tensor, size: int = 64) -> Listed:
    """The ``size`` vectors that a breadth-first search keeps: stream by stream, the partial vectors that leave least.

    Of [y; 0] = [H; sigma I] x + n, in a QR decomposition with the most energetic column last, so that it is decided
    first (Guo and Nilsson 2006, doi:10.1109/JSAC.2005.862402, with the regularised channel of Wuebben, Boehnke, Kuehn
    and Kammeyer 2003, doi:10.1109/VETECF.2003.1285069). With a list of M^(K-1) and more it is a search over all
    vectors. All samples are searched at once; a stream costs ``size`` M candidates each.

    Args:
        data: with its noise variance.
        levels: (M,) of a real dimension, rising.
        size: of the list, at most M^K.

    Raises:
        TypeError, ValueError: as for ``check_received``; no noise variance; a list of none.
    """
    check_received(data, needs_noise=True)
    check_rising(levels)
    check_count(size, "size")
    scaled = at_unit_gain(data)
    y, channel, noise = scaled.y.double(), scaled.channel.double(), noise_of(scaled).double()
    batch, streams, order = len(y), channel.shape[2], len(levels)
    values, energy = levels.double().to(y.device), channel.square().sum(1)
    permutation = energy.argsort(1)  # rising
    ordered = channel.gather(2, permutation.unsqueeze(1).expand_as(channel))
    ridge = torch.maximum(noise, LEAST * energy.mean(1, keepdim=True)).unsqueeze(2)
    ridge = torch.where(ridge == 0, 1.0, ridge)  # neither a channel nor noise: all vectors are as likely
    identity = torch.eye(streams, dtype=y.dtype, device=y.device)
    # R of [H; sigma I] from its Gram matrix, which is R^T R.
    upper = torch.linalg.cholesky_ex(gram(ordered) + ridge * identity)[0].mT
    matched = adjoint(ordered, y)
    seen = torch.linalg.solve_triangular(upper.mT.expand(batch, -1, -1), matched.unsqueeze(2), upper=False).squeeze(
        2
    )  # Q^T [y; 0]
    kept = torch.zeros(batch, 1, 0, dtype=torch.long, device=y.device)
    left = y.new_zeros(batch, 1)
    for k in range(streams - 1, -1, -1):
        row = upper[:, k, k + 1 :]  # of the streams that are decided
        decided = torch.einsum("bl,bnl->bn", row.expand(batch, -1), values[kept])
        target = seen[:, k].unsqueeze(1) - decided
        error = (target.unsqueeze(2) - upper[:, k, k].reshape(-1, 1, 1) * values).square()
        total = (left.unsqueeze(2) + error).flatten(1)
        left, best = total.topk(min(size, total.shape[1]), 1, largest=False)
        parent = torch.div(best, order, rounding_mode="floor").unsqueeze(2).expand(-1, -1, kept.shape[2])
        kept = torch.cat([(best % order).unsqueeze(2), kept.gather(1, parent)], 2)
    back = permutation.expand(batch, -1).argsort(1).unsqueeze(1).expand_as(kept)
    index = kept.gather(2, back)
    x = values[index]
    images = x @ channel.mT  # (batch, list, N)
    logs = -(y.unsqueeze(1) - images).square().sum(2) / (2 * ridge.squeeze(2))
    logs, first = logs.sort(1, descending=True)
    return Listed(index.gather(1, first.unsqueeze(2).expand_as(index)), logs)


@explained
def list_llrs(data: Received, levels: Tensor, size: int = 64) -> Tensor:
    """Log-likelihood ratios of bits, (batch, K, bits), the posterior summed over the list of ``k_best`` alone; exact
    where that is all vectors.

    A level of a symbol that no vector of the list has is as likely as the list's least likely vector (list sphere
    decoding; Hochwald and ten Brink 2003, doi:10.1109/TCOMM.2003.809789, with sums in the place of maxima).

    Args:
        data, levels, size: as for ``k_best``.

    Raises:
        TypeError, ValueError: as for ``k_best``.
    """
    per = max(1, ENTRIES // (size * data.channel.shape[-1] * max(len(levels), 1)))
    return torch.cat([_of_list(*k_best(part, levels, size), levels) for part in blocks(data, per)])


def _of_list(index: Tensor, logs: Tensor, levels: Tensor) -> Tensor:
    chosen = index.unsqueeze(3) == torch.arange(len(levels), device=index.device)  # (batch, list, K, M)
    each = logs.reshape(*logs.shape, 1, 1).expand(chosen.shape)
    found = each.masked_fill(~chosen, -torch.inf).logsumexp(1)
    return level_llrs(torch.where(chosen.any(1), found, logs[:, -1].reshape(-1, 1, 1)))
