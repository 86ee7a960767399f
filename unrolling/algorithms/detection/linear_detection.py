"""Linear detectors: a matrix times what was received."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import Received, adjoint, at_unit_gain, check_received, gram, noise_of
from unrolling.core.execution import is_plain
from unrolling.core.refusals import explained


@explained
def matched_filter(data: Received) -> Tensor:
    """h_k^T y / |h_k|^2 of each column of H, (batch, K): the best one stream can do that knows of no other.

    For orthogonal columns it is the maximum-likelihood detector, and its bit error rate for two levels is Q(|h_k| /
    sigma), Q(t) = P(N(0, 1) > t) (Proakis and Salehi, Digital Communications, 5th edition, section 15.1).

    Args:
        data: the noise variance is not needed.

    Raises:
        TypeError, ValueError: as for ``check_received``.
    """
    check_received(data)
    y, channel, _ = at_unit_gain(data)
    energy = channel.square().sum(1)
    return adjoint(channel, y) / torch.where(energy == 0, 1, energy)


@explained
def zero_forcing(data: Received) -> Tensor:
    """(H^T H)^-1 H^T y, (batch, K): the decorrelator, which removes what streams do to each other and lets the noise
    grow.

    Args:
        data: channels of full column rank, N >= K; the noise variance is not needed.

    Raises:
        TypeError, ValueError: as for ``check_received``; fewer antennas than streams; dependent columns (those of the
            first such channel are counted).
    """
    check_received(data)
    antennas, streams = data.channel.shape[1:]
    if antennas < streams:
        raise ValueError(
            f"zero forcing needs at least as many antennas as streams; the channel is {antennas} x "
            f"{streams}: use lmmse, or sphere_decode"
        )
    orthogonal, triangular = torch.linalg.qr(data.channel)
    diagonal = triangular.diagonal(dim1=-2, dim2=-1).abs()
    singular = diagonal.amin(1) <= max(antennas, streams) * torch.finfo(diagonal.dtype).eps * diagonal.amax(1)
    if bool(singular.any()):
        first = int(singular.nonzero()[0, 0])
        rank = int(torch.linalg.matrix_rank(data.channel[first].detach()))
        raise ValueError(
            f"the channel of sample {first} has rank {rank}, and zero forcing needs its {streams} columns to be "
            "independent: use lmmse, or sphere_decode"
        )
    return torch.linalg.solve_triangular(triangular, adjoint(orthogonal, data.y).unsqueeze(-1), upper=True).squeeze(-1)


@explained
def lmmse(data: Received, *, unbiased: bool = False) -> Tensor:
    """(H^T H + sigma^2 I)^-1 H^T y, (batch, K): the linear estimate of least mean square error, for symbols of mean
    square one.

    Args:
        data: with its noise variance. At zero it is zero forcing.
        unbiased: divide each entry by its gain, the diagonal of (H^T H + sigma^2 I)^-1 H^T H: what decisions between
            more than two levels need, as the estimate of least error is smaller than the symbol.

    Raises:
        TypeError, ValueError: as for ``check_received``; no noise variance; a channel of dependent columns without
            noise.
    """
    check_received(data, needs_noise=True)
    data = at_unit_gain(data)
    noise = noise_of(data)
    if is_plain() and bool((noise < 0).any()):
        raise ValueError(f"noise_variance is at least 0; the smallest is {float(noise.min()):.4g}")
    products = gram(data.channel)
    identity = torch.eye(products.shape[-1], dtype=products.dtype, device=products.device)
    factor, failed = torch.linalg.cholesky_ex(products + noise_of(data).unsqueeze(-1) * identity)
    pivots = factor.diagonal(dim1=-2, dim2=-1)
    lost = pivots.amin(1).square() <= 8 * products.shape[-1] * torch.finfo(pivots.dtype).eps * pivots.amax(1).square()
    if bool((lost | (failed != 0)).any()):
        raise ValueError(
            "a channel whose columns depend on each other needs noise to be inverted; its noise_variance "
            "is zero, or too small to count"
        )
    matched = adjoint(data.channel, data.y).unsqueeze(-1)
    if not unbiased:
        return torch.cholesky_solve(matched, factor).squeeze(-1)
    both = torch.cholesky_solve(torch.cat([matched, products.expand(matched.shape[0], -1, -1)], dim=2), factor)
    return both[..., 0] / both[..., 1:].diagonal(dim1=-2, dim2=-1)
