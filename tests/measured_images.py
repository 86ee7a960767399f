"""Small images and what a Gaussian matrix makes of them."""

import torch

from unrolling.algorithms import MatrixMeasurements, MatrixSamples, gaussian_matrix

SIDE = 16
TERM = MatrixMeasurements((SIDE, SIDE))


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def measured(x, m=96, seed=1):
    """Samples of images through a Gaussian matrix."""
    matrix = gaussian_matrix(m, x.shape[1:].numel(), torch.Generator().manual_seed(seed)).to(x)
    empty = MatrixSamples(x.new_zeros(len(x), m), matrix)
    return empty._replace(samples=MatrixMeasurements(tuple(x.shape[1:])).image(x, empty))
