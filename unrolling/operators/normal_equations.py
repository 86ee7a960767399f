"""Conjugate gradients for equations with a positive definite operator, differentiable without storing their
iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolling.core.arguments import check_count, check_range
from unrolling.core.execution import transformed
from unrolling.core.scale import divide, unit
from unrolling.operators.linear import LinearOperator

Apply = Callable[[Tensor], Tensor]


def conjugate_gradients(apply: Apply, b: Tensor, *, tolerance: float = 1e-6, max_iterations: int = 100) -> Tensor:
    """x with M x = b, sample by sample, from x = 0 (Hestenes and Stiefel 1952, doi:10.6028/jres.049.044).

    Args:
        apply: x -> M x, Hermitian and positive definite, each sample by itself.
        b: (batch, ...).
        tolerance: |b - M x| / |b| at which to stop, for the slowest sample; 0 takes all iterations and looks at no
            value, so that it can be traced.
        max_iterations: products with M at most.
    """
    check_range(tolerance, "tolerance", 0.0)
    check_count(max_iterations, "max_iterations")
    # The equation is linear: solved on the scale of each sample's b, no square leaves the precision.
    scale = unit(b, tuple(range(1, b.ndim)))
    b = b / scale
    x, residual, direction = torch.zeros_like(b), b, b
    square = _inner(residual, residual)
    goal = tolerance**2 * square
    rounding = (torch.finfo(square.dtype).eps / 16) ** 2 * square.detach()
    for _ in range(max_iterations):
        if tolerance > 0 and bool((square <= goal).all()):
            break
        image = apply(direction)
        # A sample that is solved, its residual zero or all rounding, stays where it is.
        square = torch.where(square <= rounding, 0, square)
        step = divide(square, _inner(direction, image))
        x = x + step * direction
        residual = residual - step * image
        following = _inner(residual, residual)
        direction = residual + divide(following, square) * direction
        square = following
    return scale * x


def solve_positive(apply: Apply, b: Tensor, *, tolerance: float = 1e-6, max_iterations: int = 100) -> Tensor:
    """``conjugate_gradients``, differentiable in b and in all that ``apply`` holds: the backward pass solves one more
    such equation.

    With M x = b, dx = M^-1 (db - dM x). Exact up to ``tolerance``, and of constant memory. Under ``torch.compile``,
    ``torch.export`` and ``torch.func`` the iterations are traced, as many as ``max_iterations``.

    Args:
        apply: x -> M x, Hermitian and positive definite, each sample by itself.
        b: (batch, ...).
        tolerance: relative residual, of the solution and in the backward pass.
        max_iterations: products with M at most, likewise.
    """
    if torch.compiler.is_compiling() or transformed():  # pyright: ignore[reportPrivateImportUsage]
        return conjugate_gradients(apply, b, tolerance=0.0, max_iterations=max_iterations)

    def solve(right: Tensor) -> Tensor:
        with torch.no_grad():
            return conjugate_gradients(apply, right, tolerance=tolerance, max_iterations=max_iterations)

    x = solve(b.detach())
    if not torch.is_grad_enabled():
        return x
    return x + _Correction.apply(b - apply(x), solve)  # pyright: ignore[reportOperatorIssue]


class _Correction(torch.autograd.Function):
    """M^-1 r of a residual r that is zero up to the tolerance: zero, with the gradient of M^-1 r."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, solve: Apply) -> Tensor:
        ctx.solve = solve
        return torch.zeros_like(residual)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.solve(grad), None


def solve_regularised(
    operator: LinearOperator, b: Tensor, rho: Tensor | float, *, tolerance: float = 1e-6, max_iterations: int = 100
) -> Tensor:
    """(A^H A + rho I)^-1 b of any operator, by ``solve_positive``; rho > 0, or A of full column rank."""
    return solve_positive(
        lambda x: operator.adjoint(operator(x)) + rho * x, b, tolerance=tolerance, max_iterations=max_iterations
    )


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Re <a, b> of each sample, with dimensions of size 1 that broadcast to it."""
    product = (a.conj() * b).real if a.is_complex() else a * b
    return product.sum(tuple(range(1, a.ndim)), keepdim=True)
