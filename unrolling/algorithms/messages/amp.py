"""Approximate message passing: a denoiser, a matched filter, and the Onsager term that keeps them from hearing their
own echo.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_dictionary, check_width
from unrolling.core import Iteration, tree
from unrolling.operators.linear import RowMatrix
from unrolling.prox.denoisers import Denoised

_LEAST = 1e-14  # of a deviation, relative to that of the measurements


class AMPState(NamedTuple):
    """The state of AMP."""

    x: Tensor  # (batch, n)
    residual: Tensor  # (batch, m): v, the residual with its Onsager term
    derivative: Tensor  # (batch, 1): <eta'>, the average derivative with which x was denoised


class AMP(Iteration):
    """v+ = y - A x + (n/m) <eta'> v, tau = |v+| / sqrt(m), x+ = eta(x + B v+, tau^2), B = A^T, <eta'> the average
    derivative of eta at its last use.

    Donoho, Maleki and Montanari 2009, doi:10.1073/pnas.0909892106. For A with independent N(0, 1/m) entries x + B v+ is
    x plus white Gaussian noise of variance tau^2, which ``state_evolution`` predicts; for other matrices it may
    diverge: damp it, or use ``VAMP``. With ``SoftDenoiser(alpha)`` the Onsager term is (|x|_0 / m) v, and a fixed point
    solves the lasso with weight alpha tau (1 - |x|_0 / m). ``BernoulliGaussian`` is told the prior,
    ``TunedBernoulliGaussian`` is not; neither needs the noise level. Unrolled it is LAMP, Borgerding, Schniter and
    Rangan 2017, arXiv:1612.01183, with ``encoder`` tied or untied and ``denoiser`` untied.

    Parameters: ``encoder`` B (n, m), and those of ``denoiser``.

    Args:
        dictionary: A (m, n), real, with columns of norm one on average.
        denoiser: eta, a module (r, tau^2) -> (estimate, average derivative); AMP works on a copy in the dictionary's
            precision.
        damping: the fraction of the old x and v that stays, in [0, 1); 0 is AMP. The fixed points do not depend on it.

    Raises:
        TypeError: a complex dictionary, or one that is not floating point.
        ValueError: a zero column, columns whose norms are far from one, a damping outside [0, 1).
    """

    dictionary: Tensor

    def __init__(self, dictionary: Float[Tensor, "m n"], denoiser: nn.Module, *, damping: float = 0.0) -> None:
        super().__init__()
        dictionary = check_real(dictionary, "AMP")
        power = float(dictionary.square().sum(0).mean())
        if not 0.8 < power < 1.25:
            raise ValueError(
                f"AMP needs columns of norm 1; the mean square of this dictionary's norms is {power:.4g}: divide by "
                "torch.linalg.vector_norm(dictionary, dim=0)"
            )
        self.damping = check_damping(damping)
        self.register_buffer("dictionary", dictionary)
        self.encoder = RowMatrix(nn.Parameter(dictionary.T.contiguous().clone()))
        self.denoiser = copy.deepcopy(denoiser).to(dictionary)

    def start(self, problem: Float[Tensor, "batch ... m"]) -> AMPState:
        """x = 0, v = y, no Onsager term."""
        x = problem.new_zeros(*problem.shape[:-1], self.dictionary.shape[1])
        return AMPState(x, problem, problem.new_zeros(*problem.shape[:-1], 1))

    def forward(self, state: AMPState, problem: Float[Tensor, "batch ... m"]) -> AMPState:
        """One step."""
        m, n = self.dictionary.shape
        residual = problem - state.x @ self.dictionary.T + (n / m) * state.derivative * state.residual
        residual = damp(residual, state.residual, self.damping)
        seen = state.x + self.encoder(residual)
        if getattr(self.denoiser, "scale_free", False):
            x, derivative = self.denoiser(seen, deviation=deviation_of(residual, problem))
        else:
            x, derivative = self.denoiser(seen, clamp_variance(residual.square().mean(-1, keepdim=True)))
        return AMPState(damp(x, state.x, self.damping), residual, derivative)

    def residual(self, new: AMPState, old: AMPState, problem: Tensor) -> Tensor:
        """Of x; the residual and the derivative only accompany it."""
        return tree.relative_change(new.x, old.x)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)

    def advice(self) -> str:
        return (
            "AMP is for dictionaries with independent entries of mean zero: raise its damping, or use VAMP, which "
            "also works for ill-conditioned ones"
        )


def check_real(dictionary: Tensor, name: str) -> Tensor:
    """A usable, real dictionary.

    Raises:
        TypeError: complex, or not floating point.
        ValueError: not a matrix, not finite, a zero column.
    """
    dictionary = check_dictionary(dictionary.detach())
    if dictionary.is_complex():
        raise TypeError(f"{name} here is for real dictionaries")
    return dictionary


def check_damping(damping: float) -> float:
    """The fraction of the old state that stays.

    Raises:
        ValueError: outside [0, 1).
    """
    if not 0 <= damping < 1:
        raise ValueError(f"damping must lie in [0, 1), 0 for none; got {damping}")
    return damping


def damp(new: Tensor, old: Tensor, damping: float) -> Tensor:
    """(1 - damping) new + damping old."""
    return torch.lerp(new, old, damping) if damping else new


def deviation_of(x: Tensor, beside: Tensor | None = None) -> Tensor:
    """The root mean square of the last dimension, which stays with size 1, of numbers of any size; positive, and at
    least 10^-14 times that of ``beside``, so that quotients by it, and their derivatives, are numbers.
    """
    wide = x.dtype if x.device.type == "mps" else torch.promote_types(x.dtype, torch.float64)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    if beside is not None:
        length = torch.maximum(length, _LEAST * torch.linalg.vector_norm(beside, dim=-1, keepdim=True, dtype=wide))
    return (length * x.shape[-1] ** -0.5).to(x.dtype).clamp_min(torch.finfo(x.dtype).tiny)


def denoise(denoiser: nn.Module, r: Tensor, deviation: Tensor) -> Denoised:
    """denoiser(r, tau^2); one without a scale of its own (``scale_free``) is given tau, whose square may leave the
    precision.

    Args:
        denoiser: eta.
        r: (batch, ..., n).
        deviation: tau (batch, ..., 1).
    """
    if getattr(denoiser, "scale_free", False):
        return denoiser(r, deviation=deviation)
    return denoiser(r, clamp_variance(deviation.square()))


def clamp_variance(variance: Tensor) -> Tensor:
    """Kept from zero (a sample that is exactly zero, or exactly recovered), far enough that its inverse, and its ratio
    to others, are finite.
    """
    return variance.clamp_min(torch.finfo(variance.dtype).tiny ** 0.75)
