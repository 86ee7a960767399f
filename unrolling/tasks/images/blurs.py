"""Blur kernels: straight motion, the trembling of a hand, and a lens that is out of focus."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count, check_range

FINE = 8  # samples of a path per pixel


def _check_size(size: int) -> None:
    check_count(size, "size")
    if size % 2 == 0:
        raise ValueError(f"size is {size}; the side of a kernel is odd, so that it has a middle")


def linear_motion(length: float, angle: float, size: int) -> Float[Tensor, "size size"]:
    """The kernel of a straight motion: the segment of so many pixels at an angle, spread over the four pixels around
    each of its points; sum 1.

    Args:
        length: pixels from end to end; 1 or less is no motion.
        angle: radians, from the horizontal.
        size: side of the kernel, odd and larger than the length.

    Raises:
        ValueError: a length that does not fit.
    """
    _check_size(size)
    if length > size:
        raise ValueError(f"a motion of {length:g} pixels does not fit into a kernel of {size}")
    steps = max(2, math.ceil(FINE * length))
    t = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps - 0.5
    reach = max(length - 1, 0.0)
    return _draw(-math.sin(angle) * reach * t, math.cos(angle) * reach * t, size)


def shake(size: int, generator: torch.Generator, *, smoothness: float = 0.3) -> Float[Tensor, "size size"]:
    """The kernel of a random path: both coordinates Gaussian processes over the time of exposure, with a Matern
    covariance of order 3/2; sum 1.

    As Schuler, Hirsch, Harmeling and Schoelkopf 2016 (doi:10.1109/TPAMI.2015.2481418) draw them; the path is scaled to
    a random part of the kernel.

    Args:
        size: side of the kernel, odd.
        generator: of the path.
        smoothness: the length scale, in times of exposure.
    """
    _check_size(size)
    check_range(smoothness, "smoothness", 0.0, above=True)
    steps = 4 * size
    t = torch.linspace(0, 1, steps, dtype=torch.float64)
    distance = math.sqrt(3) * (t.unsqueeze(1) - t).abs() / smoothness
    covariance = (1 + distance) * torch.exp(-distance) + 1e-9 * torch.eye(steps, dtype=torch.float64)
    path = torch.linalg.cholesky(covariance) @ torch.randn(steps, 2, generator=generator, dtype=torch.float64)
    path = path - (path.amax(0) + path.amin(0)) / 2
    extent = float(path.abs().max())
    part = 0.3 + 0.6 * float(torch.rand((), generator=generator))
    path = path * (part * (size - 1) / 2 / max(extent, 1e-9))
    return _draw(path[:, 0], path[:, 1], size)


def disc(radius: float, size: int, *, edge: float = 1.0) -> Float[Tensor, "size size"]:
    """The kernel of a lens that is out of focus: a disc, whose brightness falls from 1 to 0 along its edge; sum 1.

    Args:
        radius: pixels, where the brightness is a half; 0 is no blur.
        size: side of the kernel, odd.
        edge: pixels over which it falls.

    Raises:
        ValueError: a disc that does not fit.
    """
    _check_size(size)
    check_range(radius, "radius", 0.0)
    check_range(edge, "edge", 0.0, above=True)
    if radius + edge / 2 > size / 2:
        raise ValueError(f"a disc with a radius of {radius:g} pixels does not fit into a kernel of {size}")
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    distance = (x.square() + x.square().unsqueeze(1)).sqrt()
    kernel = ((radius - distance) / edge + 0.5).clamp(0, 1)
    kernel[size // 2, size // 2] = 1  # of discs smaller than a pixel as well
    return (kernel / kernel.sum()).float()


def _draw(rows: Tensor, columns: Tensor, size: int) -> Tensor:
    """Points around the middle, each spread over the four pixels around it by bilinear weights."""
    y, x = rows + (size - 1) / 2, columns + (size - 1) / 2
    top, left = y.floor(), x.floor()
    kernel = torch.zeros(size * size, dtype=torch.float64)
    for i in (0, 1):
        for j in (0, 1):
            weight = (1 - (y - top - i).abs()) * (1 - (x - left - j).abs())
            at_row, at_column = (top + i).clamp(0, size - 1).long(), (left + j).clamp(0, size - 1).long()
            kernel.index_add_(0, at_row * size + at_column, weight)
    return (kernel / kernel.sum()).reshape(size, size).float()
