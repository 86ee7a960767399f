"""Denoisers and data that tests of plug-and-play share."""

import torch
from torch import nn

from unrolling.algorithms import (
    LeastSquares,
)
from unrolling.operators import CircularConvolution
from unrolling.operators.transforms import fft2, ifft2

MIDDLE = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]], dtype=torch.float64)  # spectrum 0.2 to 1


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Linear(nn.Module):
    """D x = F^-1 (s F x), s = 1 / (1 + t |l|^2), l a Laplacian's: (I + t L^T L)^-1."""

    def __init__(self, strength=2.0, size=8):
        super().__init__()
        w = 2 - 2 * torch.cos(2 * torch.pi * torch.arange(size, dtype=torch.float64) / size)
        self.register_buffer("square", (w[:, None] + w).square())
        self.strength = strength

    def forward(self, x, sigma=None):
        t = self.strength if sigma is None else sigma.square().reshape(-1, 1, 1)
        return ifft2(fft2(x) / (1 + t * self.square)).real


TERM = LeastSquares(CircularConvolution(MIDDLE))
Y = noise(3, 8, 8)


class Channel(nn.Module):
    def forward(self, x):
        return x.unsqueeze(1)
