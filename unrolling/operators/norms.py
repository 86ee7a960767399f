"""The spectral norm of an operator from its products alone, with a bound on what may have been missed."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor

from unrolling.core import scale

MISSED = (
    1e-9  # probability, over the random start, that the norm lies above what is returned by more than the tolerance
)
BASIS = (
    20_000_000  # numbers of a Krylov basis that is kept; later vectors are orthogonal to their two forerunners alone
)


@torch.no_grad()
def spectral_norm(
    operator: Any, shape: tuple[int, ...], like: Tensor, tolerance: float = 1e-6, max_iterations: int = 10_000
) -> float:
    """|A|_2 = max |A x| / |x| by Lanczos' method on A^H A from a random vector: from below, within ``tolerance`` but
    for one start in 10^9.

    The k-th vector of Lanczos is p_k(A^H A) v, p_k a polynomial that rises beyond its last root, the estimate theta_k.
    As it has norm one, |p_k(lambda)| is at most 1 / |<u, v>| for each eigenvalue lambda with its vector u, and a random
    v has |<u, v>| >= d but for a probability of d sqrt(2 n / pi): once p_k(t) >= 1 / d no eigenvalue lies above t but
    for that probability (Hochstenbach 2013, doi:10.1007/s10543-013-0438-z). Clusters and repeated values do no harm.
    Complex vectors are pairs of real ones here, so that operators between real and complex ones are served too.

    Args:
        operator: A, with ``adjoint``.
        shape: of one input.
        like: of what dtype and device the vectors are.
        tolerance: relative.
        max_iterations: products with A^H A after which to give up.

    Raises:
        ArithmeticError: the bound is not reached; the message holds the last estimate.
    """
    count = getattr(operator, "batch_size", None)
    if count is not None:
        operator, shape = _Stacked(operator), (count, *shape)
    vector = _start(shape, like)
    image = operator(vector.to(like.dtype))
    back = operator.adjoint(image)
    if back.is_complex() and not vector.is_complex():  # the inputs are complex, whatever the operator's own numbers
        like = like.to(like.dtype.to_complex())
        vector = _start(shape, like)
        image = operator(vector.to(like.dtype))
    level = float(scale.unit(image, tuple(range(image.ndim))))  # so that A^H A x is as large as A is
    tolerance = max(tolerance, 4 * torch.finfo(like.dtype).eps)
    before, basis, diagonal, beside = torch.zeros_like(vector), [vector], [], []
    estimate, look = 0.0, 1
    for step in range(1, max_iterations + 1):
        following = operator.adjoint(operator(vector.to(like.dtype)) / level).to(vector.dtype)
        if not bool(torch.isfinite(following).all()):
            raise ArithmeticError(f"{type(operator).__name__} gives values that are not finite; it has no norm")
        diagonal.append(float(_inner(vector, following)))
        following = following - diagonal[-1] * vector - (beside[-1] if beside else 0.0) * before
        if step * vector.numel() <= BASIS:
            known = torch.cat(basis)
            for _ in range(2):
                following = following - torch.tensordot(_inner(known, following), known, 1).unsqueeze(0)
        length = float(torch.linalg.vector_norm(following))
        # Where rounding is all that is left, no product says more.
        ended = length <= torch.finfo(vector.dtype).eps * max(diagonal)
        if ended or step >= look:
            estimate, look = _largest(diagonal, beside), step + 1 + step // 10
            if ended or _bounded(diagonal, [*beside, length], estimate * (1 + 2 * tolerance), _least(vector)):
                return sqrt(estimate) * sqrt(level)
        beside.append(length)
        before, vector = vector, following / length
        if (step + 1) * vector.numel() <= BASIS:
            basis.append(vector)
    raise ArithmeticError(
        f"the norm is not known to {tolerance:g} after {max_iterations} products; the last estimate is "
        f"{sqrt(max(estimate, 0.0)) * sqrt(level):.6g}"
    )


def _start(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A random vector of length one, in double precision where the device has it."""
    parts = (2,) if like.is_complex() else ()
    drawn = torch.randn(1, *shape, *parts, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = torch.view_as_complex(drawn) if parts else drawn
    wide = like.dtype if like.device.type == "mps" else torch.promote_types(like.dtype, torch.float64)
    return (drawn / torch.linalg.vector_norm(drawn)).to(like.device, wide)


def _inner(vectors: Tensor, other: Tensor) -> Tensor:
    """Re <v_i, w>, (count,) or (1,)."""
    product = vectors.flatten(1).conj() @ other.flatten()
    return product.real.to(vectors.dtype) if product.is_complex() else product


def _largest(diagonal: list[float], beside: list[float]) -> float:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beside, dtype=torch.float64)
    if len(off):
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
    return max(float(torch.linalg.eigvalsh(matrix)[-1]), 0.0)


def _least(vector: Tensor) -> float:
    """d."""
    numbers = vector.numel() * (2 if vector.is_complex() else 1)
    return MISSED * sqrt(pi / (2 * numbers))


def _bounded(diagonal: list[float], beside: list[float], point: float, least: float) -> bool:
    """Whether one of the polynomials is above 1 / d at a point beyond their roots."""
    before, value = 0.0, 1.0
    for i, (here, off) in enumerate(zip(diagonal, beside, strict=True)):
        if off == 0.0:
            return True
        before, value = value, ((point - here) * value - (beside[i - 1] * before if i else 0.0)) / off
        if value * least >= 1:
            return True
    return False


class _Stacked:
    """An operator with parameters for each sample as one on all of them: (1, samples, ...)."""

    def __init__(self, operator: Any) -> None:
        self.operator = operator

    def __call__(self, x: Tensor) -> Tensor:
        return self.operator(x.squeeze(0)).unsqueeze(0)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.adjoint(y.squeeze(0)).unsqueeze(0)
