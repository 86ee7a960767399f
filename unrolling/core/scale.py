"""Norms, quotients of energies and relative changes that are right at any scale of their numbers: without a floor, and
without a square that leaves the range of the precision.

All of it goes by one device: numbers are divided by a power of two near the largest of them first. That division is
exact, so that where the plain formula is right this one gives the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolling.core.execution import is_plain

Dim = int | tuple[int, ...]

# The bits of the exponent: of a number they make the power of two at or below it, of NaN and infinity infinity.
_EXPONENT = {torch.float32: (torch.int32, 0x7F800000), torch.float64: (torch.int64, 0x7FF << 52)}


def unit(x: Tensor, dim: Dim = -1) -> Tensor:
    """The power of two at or below the largest magnitude along some dimensions, which stay with size 1; real, without
    gradient.

    One where all are zero (or below the least normal number), and where one is NaN or infinite: x / unit(x) then shows
    what x is.

    Args:
        x: real or complex.
        dim: which dimensions; an empty one has the unit one.
    """
    x = x.detach()
    if x.numel() == 0:
        shape = [1 if i in _positive(dim, x.ndim) else size for i, size in enumerate(x.shape)]
        return x.real.new_ones(shape)
    return power_of_two(x.abs().amax(dim, keepdim=True))


def power_of_two(size: Tensor) -> Tensor:
    """The power of two at or below each entry of a tensor of positive numbers, one in the place of zero, NaN and
    infinity; without gradient.
    """
    size = size.detach()
    if size.dtype in _EXPONENT and is_plain():
        whole, mask = _EXPONENT[size.dtype]
        power = (size.view(whole) & mask).view(size.dtype)
    else:
        limits = torch.finfo(size.dtype)
        power = torch.exp2(torch.log2(size.clamp(limits.tiny, limits.max)).floor())
        power = torch.where(size >= limits.tiny, power, 0)
    return torch.where((power > 0) & (size < torch.inf), power, 1)


def norm(x: Tensor, dim: Dim = -1, *, keepdim: bool = False) -> Tensor:
    """|x|_2 along some dimensions, real; its gradient is x / |x|, and zero at zero."""
    scale = unit(x, dim)
    length = scale * torch.linalg.vector_norm(x / scale, dim=dim, keepdim=True)
    return length if keepdim else length.squeeze(dim)


def lengths(x: Tensor, dim: Dim) -> Tensor:
    """The Euclidean norm of every vector along ``dim``, which stays with size 1; its gradient is zero at zero.

    Each sample is divided by a power of two of its own, so that only vectors vanish that are 10^-19 of its largest
    entry (in single precision).
    """
    dims = tuple(range(x.ndim)) if x.ndim == 1 or 0 in _positive(dim, x.ndim) else tuple(range(1, x.ndim))
    scale = unit(x, dims)
    square = _energy(x / scale, dim, keepdim=True)
    zero = square == 0  # neither a root of zero nor a division by it may reach the backward pass
    return scale * torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def divide(numerator: Tensor, denominator: Tensor, otherwise: float = 0.0) -> Tensor:
    """numerator / denominator, and ``otherwise`` where the denominator is zero, with a gradient of zero there; NaN
    where the numerator is none, or infinite over zero.
    """
    zero = denominator == 0
    quotient = numerator / torch.where(zero, torch.inf, denominator)
    return torch.where(zero & (quotient == 0), otherwise, quotient) if otherwise else quotient


def energy_ratio(above: Tensor, below: Tensor, dim: Dim = -1) -> Tensor:
    """|above|^2 / |below|^2 along some dimensions: infinite where only the denominator is zero, NaN where both are, or
    where one is.
    """
    first, second = unit(above, dim), unit(below, dim)
    factor = (first / second).squeeze(dim)
    return factor * (factor * (_energy(above / first, dim) / _energy(below / second, dim)))


def relative_change(new: Tensor, old: Tensor) -> Tensor:
    """|new - old| / max(|new|, |old|) of each row, (batch, n) -> (batch,): 0 where both are zero, NaN where one is not
    finite.
    """
    if new.shape[1] == 0:
        return new.new_zeros(new.shape[0]).real
    if new.is_complex():  # complex numbers below the least normal one cannot be divided by one another
        new, old = (torch.view_as_real(x.resolve_conj()).flatten(1) for x in (new, old.to(new.dtype)))
    peak = torch.maximum(new.abs().amax(1), old.abs().amax(1)).unsqueeze(1)
    scale = torch.where(peak == 0, 1, peak)
    new, old = new / scale, old / scale
    length = torch.linalg.vector_norm
    size = torch.maximum(length(new, dim=1), length(old, dim=1))
    return length(new - old, dim=1) / torch.where(peak.squeeze(1) == 0, 1, size)


def _energy(x: Tensor, dim: Dim, *, keepdim: bool = False) -> Tensor:
    """Of numbers whose squares the precision holds."""
    square = x.real.square() + x.imag.square() if x.is_complex() else x.square()
    return square.sum(dim, keepdim=keepdim)


def _positive(dim: Dim, count: int) -> tuple[int, ...]:
    return tuple(d % count for d in (dim if isinstance(dim, tuple) else (dim,)))
