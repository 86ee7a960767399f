"""Batched solvers for u - M u = b, one independent system per sample: the backward pass of implicit gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.core.scale import divide, unit


class LinearSolution(NamedTuple):
    """The solution of u - M u = b and how good it is."""

    solution: Tensor  # (batch, n)
    residual: Tensor  # (batch,): |b - (u - M u)| / |b|
    iterations: int  # products with M
    converged: bool  # every residual is below the tolerance


LinearSolver = Callable[[Callable[[Tensor], Tensor], Tensor, float, int], LinearSolution]


def gmres(
    apply: Callable[[Tensor], Tensor], b: Tensor, tolerance: float, max_iterations: int, restart: int = 40
) -> LinearSolution:
    """Restarted GMRES (Saad and Schultz 1986, doi:10.1137/0907058) for (I - M) u = b.

    Args:
        apply: u -> M u, real, (batch, n) -> (batch, n), each sample by itself.
        b: (batch, n).
        tolerance: relative residual to reach.
        max_iterations: largest number of products with M.
        restart: dimension of the Krylov space, the memory being ``restart`` vectors.
    """
    # The equation is linear: solved on the scale of each sample's right-hand side, no square leaves the precision.
    whole = unit(b, 1)
    b = b / whole
    size_of_b = torch.linalg.vector_norm(b, dim=1)
    scale = torch.where(size_of_b == 0, 1, size_of_b)
    solution = torch.zeros_like(b)
    remainder = b
    residual = torch.linalg.vector_norm(remainder, dim=1) / scale
    used = 0
    while used < max_iterations and bool((residual > tolerance).any()):
        size = torch.linalg.vector_norm(remainder, dim=1)
        basis = [divide(remainder, size.unsqueeze(1))]
        columns: list[Tensor] = []  # of the Hessenberg matrix, each (batch, restart + 1)
        for _ in range(min(restart, max_iterations - used)):
            vector = basis[-1] - apply(basis[-1])
            used += 1
            column = b.new_zeros(b.shape[0], restart + 1)
            for _ in range(2):  # a second Gram-Schmidt pass keeps the basis orthogonal to rounding
                projection = torch.stack([(v * vector).sum(1) for v in basis], dim=1)
                vector = vector - torch.einsum("bk,kbn->bn", projection, torch.stack(basis))
                column[:, : len(basis)] += projection
            length = torch.linalg.vector_norm(vector, dim=1)
            column[:, len(basis)] = length
            columns.append(column)
            basis.append(divide(vector, length.unsqueeze(1)))
            coordinates, estimate = _least_squares(columns, size)
            if bool((estimate / scale <= tolerance).all()):
                break
        solution = solution + torch.einsum("bk,kbn->bn", coordinates, torch.stack(basis[:-1]))
        remainder = b - (solution - apply(solution))
        used += 1
        previous, residual = residual, torch.linalg.vector_norm(remainder, dim=1) / scale
        if bool((residual >= previous).all()):
            break
    return LinearSolution(whole * solution, residual, used, bool((residual <= tolerance).all()))


def _least_squares(columns: list[Tensor], size: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise |size e_1 - H c| per sample; a sample whose Krylov space is exhausted has a rank-deficient H."""
    matrix = torch.stack(columns, dim=2)[:, : len(columns) + 1]
    target = torch.zeros_like(matrix[:, :, :1])
    target[:, 0, 0] = size
    coordinates = torch.linalg.pinv(matrix, rtol=10 * torch.finfo(matrix.dtype).eps) @ target
    return coordinates.squeeze(2), torch.linalg.vector_norm((target - matrix @ coordinates).squeeze(2), dim=1)


def anderson(
    apply: Callable[[Tensor], Tensor], b: Tensor, tolerance: float, max_iterations: int, memory: int = 8
) -> LinearSolution:
    """Anderson mixing (Walker and Ni 2011, doi:10.1137/10078356X) of the fixed-point iteration u <- b + M u.

    Args:
        apply: u -> M u, real, (batch, n) -> (batch, n), each sample by itself.
        b: (batch, n).
        tolerance: relative residual to reach.
        max_iterations: largest number of products with M.
        memory: number of earlier iterates that are mixed.
    """
    whole = unit(b, 1)
    b = b / whole
    size_of_b = torch.linalg.vector_norm(b, dim=1)
    scale = torch.where(size_of_b == 0, 1, size_of_b)
    point = b
    image = b + apply(point)
    used = 1
    points: list[Tensor] = []
    images: list[Tensor] = []
    best, best_residual = point, torch.linalg.vector_norm(image - point, dim=1) / scale
    while used < max_iterations and bool((best_residual > tolerance).any()):
        points, images = [*points, point][-memory:], [*images, image][-memory:]
        if len(points) == 1:
            point = image
        else:
            gaps = torch.stack([g - p for p, g in zip(points, images, strict=True)], dim=2)  # (batch, n, k)
            steps = gaps[:, :, 1:] - gaps[:, :, :-1]
            weights = torch.linalg.pinv(steps.mT @ steps, rtol=10 * torch.finfo(b.dtype).eps, hermitian=True) @ (
                steps.mT @ gaps[:, :, -1:]
            )
            moves = torch.stack(images, dim=2).diff(dim=2)
            point = image - (moves @ weights).squeeze(2)
        image = b + apply(point)
        used += 1
        residual = torch.linalg.vector_norm(image - point, dim=1) / scale
        better = residual < best_residual
        best = torch.where(better.unsqueeze(1), point, best)
        best_residual = torch.where(better, residual, best_residual)
    return LinearSolution(whole * best, best_residual, used, bool((best_residual <= tolerance).all()))
