"""Sparse signals, their measurements, and how well they are recovered."""

import math

import torch
from iterations import gaussian

from unrolling import unroll


def sparse(batch, n, probability, seed):
    """Bernoulli times N(0, 1)."""
    return gaussian(batch, n, seed=seed) * (
        torch.rand(batch, n, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64) < probability
    )


def measure(dictionary, x, snr=math.inf, seed=9):
    """y = A x + e, the noise level of each sample its own."""
    y = x @ dictionary.T
    return y if snr == math.inf else y + y.std(dim=1, keepdim=True) * 10 ** (-snr / 20) * gaussian(*y.shape, seed=seed)


def conditioned(m, n, condition, seed=0):
    """Geometric singular values with this condition number, columns then normalised."""
    left, _, right = torch.linalg.svd(gaussian(m, n, seed=seed), full_matrices=False)
    dictionary = left * torch.logspace(0, -math.log10(condition), m, dtype=torch.float64) @ right
    return dictionary / torch.linalg.vector_norm(dictionary, dim=0)


def nmse(estimate, x):
    return 10 * math.log10(float((estimate - x).square().sum() / x.square().sum()))


@torch.no_grad()
def path(iteration, y, x, depth):
    """NMSE after each step, dB."""
    return [nmse(estimate, x) for estimate in unroll(iteration, depth).estimates(y)]
