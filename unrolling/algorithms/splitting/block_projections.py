"""Blocks of an image measured by a matrix that comes with the data: one iteration for many matrices and rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.core.arguments import check_count, check_numbers, kind_of
from unrolling.core.refusals import explain, explain_call
from unrolling.operators.patches import _from_cells, _to_cells

BLOCK = 33
REACH = 40.0  # pixels over which neighbours are taken to be alike
MEAN = 1.0  # variance of a block's mean over that of a pixel around it
RIDGE = 1e-5  # of the linear estimate, relative to the mean energy of a measurement
RATES = (
    0.01,
    0.04,
    0.1,
    0.25,
    0.5,
)  # of measurements per pixel, at which steps and thresholds have values of their own


class BlockSamples(NamedTuple):
    """The measurements of all blocks of an image, with the matrix that they were made with."""

    samples: Tensor  # (batch, rows, columns, m)
    # (batch, m, b b), or (1, m, b b) shared; orthonormal rows, the pixels of a block row by row
    matrix: Tensor


def orthonormalised(data: BlockSamples) -> BlockSamples:
    """The same measurements as by a matrix with orthonormal rows: with Phi^T = Q R, Q^T and R^-T y, worked out in
    double precision.

    Raises:
        ValueError: more measurements than pixels, or rows of which some depend on the others.
    """
    m, pixels = data.matrix.shape[-2:]
    if m > pixels:
        raise ValueError(f"{m} measurements of {pixels} pixels: the rows of the matrix depend on each other")
    q, r = torch.linalg.qr(data.matrix.double().mT)
    size = r.diagonal(dim1=-2, dim2=-1).abs()
    if not bool((size > 1e-6 * size.amax(-1, keepdim=True)).all()):
        raise ValueError("the rows of the matrix depend on each other; each measurement must tell something new")
    flat = data.samples.double().flatten(1, 2)
    solved = torch.linalg.solve_triangular(r.mT, flat.mT, upper=False).mT
    return BlockSamples(solved.reshape(data.samples.shape).to(data.samples), q.mT.contiguous().to(data.matrix))


def measure_blocks(x: Tensor, matrix: Tensor) -> Tensor:
    """Phi b of every block b of images (batch, height, width), the sides multiples of b: (batch, rows, columns, m).

    Args:
        x: the images.
        matrix: (batch or 1, m, b b).
    """
    return _to_cells(x, math.isqrt(matrix.shape[-1])) @ matrix.mT.unsqueeze(1)


def spread_blocks(y: Tensor, matrix: Tensor) -> Tensor:
    """The adjoint of ``measure_blocks``: Phi^T y of every block, put in its place.

    Args:
        y: (batch, rows, columns, m).
        matrix: (batch or 1, m, b b).
    """
    return _from_cells(y @ matrix.unsqueeze(1), math.isqrt(matrix.shape[-1]))


def rate_weights(rate: float) -> list[float]:
    """How much of the values at 1, 4, 10, 25 and 50 % of the measurements counts at a rate: linear in its logarithm
    between two of them, the nearest beyond the ends; they add up to 1.
    """
    places = [math.log(r) for r in RATES]
    at = min(max(math.log(rate), places[0]), places[-1])
    weights = [0.0] * len(places)
    k = max(i for i in range(len(places) - 1) if places[i] <= at)
    part = (at - places[k]) / (places[k + 1] - places[k])
    weights[k], weights[k + 1] = 1 - part, part
    return weights


@explain_call
class BlockProjections(DataTerm):
    """y = Phi b + noise for every block b of b x b pixels, Phi with orthonormal rows; data are ``BlockSamples``.

    Iterations start at the best linear estimate C Phi^T (Phi C Phi^T + r I)^-1 y of blocks whose pixels have the
    covariance 1 + exp(-d / 40), d their distance in pixels; `python -m benchmarks.compressive` prints how far on
    photographs it is from that of the covariance of training blocks. ``Problem.features`` are ``rate_weights`` of
    m / b^2.

    Args:
        block: b, the side of blocks.

    Raises:
        ValueError: fewer than one pixel; when run, a matrix for other blocks.
    """

    covariance: Tensor

    def __init__(self, block: int = BLOCK) -> None:
        super().__init__()
        check_count(block, "block")
        self.block = block
        place = torch.arange(block, dtype=torch.float64)
        y, x = (each.flatten() for each in torch.meshgrid(place, place, indexing="ij"))
        distance = ((y.unsqueeze(1) - y).square() + (x.unsqueeze(1) - x).square()).sqrt()
        covariance = (MEAN + torch.exp(-distance / REACH)).to(torch.get_default_dtype())
        self.register_buffer("covariance", covariance, persistent=False)

    def forward(self, data: BlockSamples) -> Problem:
        """Phi^T y, and what the rate means for steps and thresholds."""
        samples, matrix = data
        weights = samples.new_tensor([rate_weights(matrix.shape[-2] / self.block**2)])
        return Problem(spread_blocks(samples, matrix), None, data, weights)

    def image(self, x: Tensor, data: BlockSamples) -> Tensor:
        return measure_blocks(x, data.matrix)

    def adjoint(self, y: Tensor, data: BlockSamples) -> Tensor:
        return spread_blocks(y, data.matrix)

    def gradient(self, x: Tensor, problem: Problem) -> Tensor:
        """Phi^T (Phi x - y), in the precision of x under autocast too: a residual is a small difference."""
        samples, matrix = problem.data
        if not torch.is_autocast_enabled(x.device.type):
            return spread_blocks(measure_blocks(x, matrix) - samples, matrix)
        with torch.autocast(x.device.type, enabled=False):
            return spread_blocks(measure_blocks(x, matrix) - samples, matrix)

    def start(self, problem: Problem) -> Tensor:
        """The linear estimate."""
        if not torch.is_autocast_enabled(problem.back.device.type):
            return self._linear(problem.data)
        with torch.autocast(problem.back.device.type, enabled=False):
            return self._linear(problem.data)

    def _linear(self, data: BlockSamples) -> Tensor:
        samples, matrix = data
        across = matrix @ self.covariance  # (batch or 1, m, b b)
        gram = across @ matrix.mT
        energy = gram.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True).unsqueeze(-1)
        lower = torch.linalg.cholesky(gram + RIDGE * energy * torch.eye(gram.shape[-1], dtype=gram.dtype).to(gram))
        batch, rows, columns, m = samples.shape
        shared = matrix.shape[0] == 1
        right = samples.reshape(1, -1, m) if shared else samples.flatten(1, 2)
        solved = torch.cholesky_solve(right.mT, lower).mT.reshape(batch, rows, columns, m)
        return spread_blocks(solved, across)

    def solve(self, b: Tensor, rho: Tensor | float, problem: Problem) -> Tensor:
        """(Phi^T Phi + rho I)^-1 b = (b - Phi^T Phi b / (1 + rho)) / rho, the rows being orthonormal."""
        matrix = problem.data.matrix
        return (b - spread_blocks(measure_blocks(b, matrix), matrix) / (1 + rho)) / rho

    def check(self, data: BlockSamples) -> None:
        check_blocks(data, self.block)


def check_blocks(data: Any, block: int) -> None:
    """Refuses what are no ``BlockSamples`` of blocks of a size, from shapes and dtypes alone.

    Raises:
        TypeError: another type, or no real floating-point numbers.
        ValueError: shapes that do not belong together.
    """
    if not isinstance(data, BlockSamples):
        raise TypeError(f"data are BlockSamples(samples, matrix); got {kind_of(data)}")
    samples, matrix = data
    check_numbers(samples, "samples", "BlockProjections", real=True)
    check_numbers(matrix, "matrix", "BlockProjections", real=True)
    if samples.ndim != 4 or matrix.ndim != 3:
        raise ValueError(
            "samples are (batch, rows, columns, m) and the matrix (batch or 1, m, pixels of a block); got "
            f"{tuple(samples.shape)} and {tuple(matrix.shape)}"
        )
    if matrix.shape[-1] != block**2:
        raise ValueError(
            f"a row of the matrix measures blocks of {block} x {block} = {block**2} pixels; got rows of "
            f"{matrix.shape[-1]} numbers"
        )
    if matrix.shape[0] not in (1, samples.shape[0]) or not 1 <= matrix.shape[1] <= block**2:
        raise ValueError(
            f"the matrix is ({samples.shape[0]} or 1, 1 to {block**2} rows, {block**2}); got {tuple(matrix.shape)}"
        )
    if samples.shape[-1] != matrix.shape[1]:
        raise ValueError(f"samples have {samples.shape[-1]} numbers a block, and the matrix {matrix.shape[1]} rows")


@explain
class RatedProximalGradient(ProximalGradient):
    """A proximal gradient step whose length and thresholds follow the rate of the measurements:

        x <- prox(x - mu exp(b . f) A^T (A x - y), t exp(C f), exp(E f)),

    f the weights of five rates (``rate_weights``), C and E of five numbers for each of the prox's channels: how large
    thresholds are, and how much of each channel counts. With b = C = E = 0, as at the start, it is
    ``ProximalGradient``.

    Parameters: those of ``ProximalGradient``; ``step_slope`` b (5,), ``threshold_slope`` C and ``gain_slope`` E
    (channels, 5).

    Args:
        data_term: its problems have ``features``.
        prox: (z, threshold, gain) -> z, thresholds and gains (channels,).
        weight: as for ``ProximalGradient``.
        step_size: likewise.
        channels: of the prox.

    Raises:
        ValueError: as ``ProximalGradient``; fewer than one channel.
    """

    algorithm = "ProximalGradient"
    added = ("step_slope", "threshold_slope", "gain_slope")

    def __init__(
        self,
        data_term: DataTerm,
        prox: Callable[..., Tensor],
        weight: float | Tensor,
        *,
        step_size: float = 1.0,
        channels: int,
    ) -> None:
        super().__init__(data_term, prox, weight, step_size=step_size)
        check_count(channels, "channels")
        self.step_slope = nn.Parameter(torch.zeros(len(RATES)))
        self.threshold_slope, self.gain_slope = (nn.Parameter(torch.zeros(channels, len(RATES))) for _ in range(2))

    def descend(self, state: Tensor, problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
        """What the prox is given: the picture after the gradient step, thresholds and gains."""
        found = problem.features
        if found is None:
            raise ValueError("the step depends on the rate of the measurements, and the data term tells none")
        # Sums of products, which are not rounded under autocast; all samples have one rate.
        length = self.step_size * torch.exp((self.step_slope * found[0]).sum())
        threshold = self.threshold * torch.exp((self.threshold_slope * found[0]).sum(1))
        gain = torch.exp((self.gain_slope * found[0]).sum(1))
        return state - length * self.data_term.gradient(state, problem), threshold, gain

    def forward(self, state: Tensor, problem: Problem, scale: float = 1.0) -> Tensor:
        moved, threshold, gain = self.descend(state, problem)
        return self.prox(moved, threshold if scale == 1.0 else scale * threshold, gain)

    def objective(self, state: Tensor, problem: Problem) -> Tensor:
        """0.5 |A x - y|^2, (batch,): the prox stands for a penalty that nobody has written down."""
        return self.data_term.value(state, problem)
