"""Channels between many streams and many antennas: drawn, or from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import (
    Modulation,
    real_form,
)
from unrolling.files.decoding import Arrays


def fixed_channel(
    kind: str, antennas: int, streams: int, correlation: float, modulation: Modulation, seed: int
) -> Tensor:
    """A channel that a seed draws once for all samples, real, (1, N, K)."""
    generator = torch.Generator().manual_seed(1_000_003 + seed)
    dtype = torch.complex128 if modulation.complex else torch.float64
    if kind == "toeplitz":
        drawn = toeplitz_channel(antennas, streams, correlation, generator, dtype)
    else:
        drawn = kronecker_channels(1, antennas, streams, correlation, generator, dtype)
    return (as_real(drawn) if modulation.complex else drawn).float()


def noise_variance(channel: Tensor, ratio: Tensor) -> Tensor:
    """sigma^2 = |H|_F^2 / (K SNR), (batch, 1), of real channels (batch, N, K) or (1, N, K); SNR (batch, 1) as a
    ratio.
    """
    return channel.square().sum((1, 2)).unsqueeze(1) / (channel.shape[2] * ratio)


def iid_channels(count: int, antennas: int, streams: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """(count, N, K), independent entries of mean square 1 / N, so that columns have norm one on average."""
    return torch.randn(count, antennas, streams, generator=generator, dtype=dtype) / antennas**0.5


def exponential_correlation(size: int, correlation: float, dtype: torch.dtype) -> Tensor:
    """R_ij = r^|i - j|, (size, size)."""
    index = torch.arange(size)
    return (correlation ** (index.unsqueeze(1) - index).abs().to(torch.float64)).to(dtype)


def toeplitz_channel(
    antennas: int, streams: int, correlation: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """H = Q L^T (1, N, K) with H^H H = L L^T, (L L^T)_ij = r^|i - j|, and Q (N, K) with orthonormal columns, uniformly
    distributed.
    """
    basis, triangular = torch.linalg.qr(torch.randn(antennas, streams, generator=generator, dtype=dtype))
    basis = basis * torch.sgn(triangular.diagonal())
    factor = torch.linalg.cholesky(exponential_correlation(streams, correlation, torch.float64)).to(dtype)
    return (basis @ factor.T).unsqueeze(0)


def kronecker_channels(
    count: int, antennas: int, streams: int, correlation: float, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """L_N H L_K^T, (count, N, K), L L^T the exponential correlation of each side: for Gaussian H distributed as with
    symmetric square roots.
    """
    left, right = (
        torch.linalg.cholesky(exponential_correlation(n, correlation, torch.float64)).to(dtype)
        for n in (antennas, streams)
    )
    return left @ iid_channels(count, antennas, streams, generator, dtype) @ right.T


def as_real(channels: Tensor) -> Tensor:
    """[[Re, -Im], [Im, Re]] / sqrt(2), (count, 2 N, 2 K), of complex channels (count, N, K)."""
    return real_form(channels[..., 0], channels).channel


def read_channels(path: str | Path) -> Tensor:
    """Channels (count, N, K) from a ``.npy`` file of one, (N, K), or several, (count, N, K); single precision, real or
    complex.

    Raises:
        ValueError: not a readable array of numbers, another shape, NaN or infinity, a channel of zeros.
    """
    try:
        content = Arrays(Path(path)).only
        single = np.complex64 if np.iscomplexobj(content) else np.float32
        channels = torch.from_numpy(np.asarray(content, dtype=single))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a .npy file of numbers: {error}") from error
    channels = channels.unsqueeze(0) if channels.ndim == 2 else channels
    if channels.ndim != 3 or channels.numel() == 0:
        raise ValueError(f"{path} has the shape {content.shape}; channels are (N, K) or (count, N, K)")
    if not bool(torch.isfinite(channels).all()):
        raise ValueError(f"{path} holds NaN or infinite values")
    energy = channels.abs().square().sum((1, 2))
    if not bool((energy > 0).all()):
        raise ValueError(f"channel {int((energy == 0).nonzero()[0, 0])} of {path} is zero: nothing arrives through it")
    return channels
