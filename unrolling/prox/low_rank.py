"""Shrinkage of singular values: the prox of the nuclear norm, and the projection onto matrices of low rank.

All goes by the smaller Gram matrix, G = Z^H Z say: what shrinks singular values is Z f(G), and the derivative of f(G)
is known by divided differences of f, which stay finite where singular values are equal or zero. (The derivative of
singular vectors, which automatic differentiation would go through, does not exist there.) G is formed in double
precision, so that its squares cost single precision no digits; in double precision singular values below 10^-8 of the
largest are not told from zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolling.core import scale
from unrolling.core.arguments import check_count
from unrolling.core.execution import transformed
from unrolling.core.refusals import explain_call, explained
from unrolling.prox.thresholds import check_threshold


@explained
def singular_value_threshold(z: Tensor, threshold: Tensor | float, *, relative: bool = False) -> Tensor:
    """T_t(Z) = sum_i max(s_i - t, 0) u_i v_i^H for Z = sum_i s_i u_i v_i^H: the prox of t |.|_*, the sum of the
    singular values.

    Cai, Candes and Shen 2010, doi:10.1137/080738970, Theorem 2.1. Its gradient is right at repeated and at zero
    singular values, in z and in the threshold; second derivatives are refused.

    Args:
        z: matrices (..., m, n), real or complex.
        threshold: t >= 0, a number or a real tensor that broadcasts to z with its last two sizes 1.
        relative: whether t counts in units of the largest singular value of each matrix; then this is the prox of no
            norm.

    Raises:
        ValueError: a negative number as threshold, fewer than two dimensions.
    """
    check_threshold(threshold)
    if z.numel() == 0:
        return z.clone()
    decomposed = _Decomposed(z)
    values = decomposed.values
    level = decomposed.like_values(threshold)
    if relative:
        level = level * decomposed.largest()
    else:
        level = level / decomposed.unit_of_values()
    # Not the opposites of these, which take NaN for something small. A threshold of zero leaves all as it is.
    gone = (values <= level) & (level > 0)
    root = torch.where(gone | (values == 0), 1, values)
    factor = torch.where(gone, 0, 1 - level / root)
    wanted = decomposed.differentiated
    return decomposed.times(factor, _quotients(values, root, gone, factor.detach(), level.detach()) if wanted else None)


@explained
def rank_projection(z: Tensor, rank: int) -> Tensor:
    """The nearest matrix of a rank: the sum of the ``rank`` largest s_i u_i v_i^H.

    Eckart and Young 1936, doi:10.1007/BF02288367. Not continuous where the next singular value is as large as the last
    that is kept; elsewhere it has a gradient. Second derivatives are refused.

    Args:
        z: matrices (..., m, n), real or complex.
        rank: at least 0.

    Raises:
        ValueError: a negative rank, fewer than two dimensions.
    """
    check_count(rank, "rank", 0)
    if z.numel() == 0:
        return z.clone()
    decomposed = _Decomposed(z)
    values = decomposed.values
    count = values.shape[-1]
    kept = (torch.arange(count, device=z.device) >= count - rank).expand(values.shape)  # they ascend
    apart = kept.unsqueeze(-1) != kept.unsqueeze(-2)
    if not decomposed.differentiated:
        return decomposed.times(kept.to(values.dtype), None)
    square = values.square()
    difference = (square.unsqueeze(-1) - square.unsqueeze(-2)).abs()
    quotients = torch.where(apart & (difference > 0), 1 / torch.where(difference > 0, difference, 1), 0)
    return decomposed.times(kept.to(values.dtype), quotients)


@explained
def nuclear_norm(z: Tensor) -> Tensor:
    """|Z|_* = sum_i s_i, (...,) for matrices (..., m, n); NaN where an entry is not finite."""
    if z.numel() == 0:
        return z.real.sum((-2, -1))
    finite = torch.isfinite(z).all(-1).all(-1)
    values = torch.linalg.svdvals(torch.where(finite[..., None, None], z, 0))
    return torch.where(finite, values.sum(-1), torch.nan)


@explain_call
@dataclass(frozen=True)
class SingularValueThreshold:
    """``singular_value_threshold`` of movies: the matrix of a movie has a row for each pixel, a column for each frame.

    A value, to be given to an iteration as its ``prox``.

    Attributes:
        relative: whether thresholds count in units of each movie's largest singular value.
        real_pairs: whether the singular values are those of the real matrix (Re Z, Im Z), with twice as many columns.
            What is kept are then real combinations of real and imaginary frames, and the result is another one.
    """

    relative: bool = False
    real_pairs: bool = False

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The shrunk movies.

        Args:
            z: (batch, ..., frames), real or complex.
            threshold: t >= 0, a number or a real tensor that broadcasts to (batch, 1, 1).
        """
        matrix = _casorati(z)
        if self.real_pairs and z.is_complex():
            pairs = torch.cat([matrix.real, matrix.imag], -1)
            shrunk = singular_value_threshold(pairs, threshold, relative=self.relative)
            return torch.complex(*shrunk.chunk(2, -1)).reshape(z.shape)
        return singular_value_threshold(matrix, threshold, relative=self.relative).reshape(z.shape)

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """t |X|_* of each movie, (batch,).

        Raises:
            ValueError: with ``relative``, which is the prox of nothing.
        """
        if self.relative:
            raise ValueError("a threshold relative to the largest singular value belongs to no penalty")
        matrix = _casorati(x)
        if self.real_pairs and x.is_complex():
            matrix = torch.cat([matrix.real, matrix.imag], -1)
        level = threshold.reshape(-1) if isinstance(threshold, Tensor) else threshold
        return level * nuclear_norm(matrix)


def _casorati(z: Tensor) -> Tensor:
    """(batch, pixels, frames)."""
    if z.ndim < 3:
        raise ValueError(
            f"a batch of movies has shape (batch, ..., frames), with at least one dimension of pixels; got "
            f"{tuple(z.shape)}"
        )
    return z.flatten(1, -2)


class _Decomposed:
    """Matrices with the eigenvectors of their smaller Gram matrix, on a scale of their own.

    Attributes:
        values: singular values s_i / unit, ascending, (..., k) with k = min(m, n), in double precision, constants for
            automatic differentiation.
        unit: a power of two near the largest entry, (..., 1, 1); 1 for single precision.
    """

    def __init__(self, z: Tensor) -> None:
        if z.ndim < 2:
            raise ValueError(f"singular values are those of matrices (..., m, n); got shape {tuple(z.shape)}")
        self.z = z
        self.tall = z.shape[-2] >= z.shape[-1]
        wide = z.to(torch.complex128 if z.is_complex() else torch.float64)
        if wide.dtype == z.dtype:  # the squares of single precision fit as they are
            self.unit = scale.unit(wide, (-2, -1))
            wide = wide / self.unit
        else:
            self.unit = wide.real.new_ones(())
        self.gram = wide.mH @ wide if self.tall else wide @ wide.mH
        fixed = self.gram.detach()
        self.finite = torch.isfinite(fixed).all(-1, keepdim=True).all(-2, keepdim=True)
        squares, self.vectors = torch.linalg.eigh(torch.where(self.finite, fixed, 0))
        self.values = squares.clamp_min(0).sqrt()

    def like_values(self, threshold: Tensor | float) -> Tensor:
        """A threshold that broadcasts to (..., k)."""
        if not isinstance(threshold, Tensor):
            return self.values.new_tensor(threshold)
        level = threshold.to(self.values.dtype)
        if level.ndim == 0:
            return level
        if level.ndim < 2 or level.shape[-2:] != (1, 1):
            raise ValueError(
                f"a matrix has one threshold: a number, or a tensor (..., 1, 1); got shape {tuple(threshold.shape)}"
            )
        return level.squeeze(-1)

    def unit_of_values(self) -> Tensor:
        """The unit, which broadcasts to (..., k)."""
        return self.unit.squeeze(-1) if self.unit.ndim else self.unit

    @property
    def differentiated(self) -> bool:
        """Whether anybody may ask for the derivative of what becomes of the matrices."""
        return (torch.is_grad_enabled() and self.gram.requires_grad) or transformed()

    def largest(self) -> Tensor:
        """The largest singular value, (..., 1): the eigenvalue v^H G v moves with G as if its vector stood still."""
        vector = self.vectors[..., -1:]
        square = (vector.mH @ self.gram @ vector).real.squeeze(-1)
        positive = square > 0
        return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)

    def times(self, factor: Tensor, quotients: Tensor | None) -> Tensor:
        """Z f(G), f given by its values at the eigenvalues and, for its derivative, by its divided differences."""
        if quotients is None:
            quotients = factor.new_zeros(())
        shrink: Any = _OfMatrix.apply(self.gram, factor, quotients, self.vectors)
        shrink = torch.where(self.finite, shrink, torch.nan).to(self.z.dtype)
        return self.z @ shrink if self.tall else shrink @ self.z


def _quotients(s: Tensor, root: Tensor, gone: Tensor, factor: Tensor, level: Tensor) -> Tensor:
    """(f(s_i^2) - f(s_j^2)) / (s_i^2 - s_j^2) of f(s^2) = max(1 - t / s, 0), without a difference of near numbers.

    It is t / (s_i s_j (s_i + s_j)) where both are above t, f(s_i^2) / (s_i^2 - s_j^2) where s_i alone is, else 0.
    """
    row, column = s.unsqueeze(-1), s.unsqueeze(-2)
    products = root.unsqueeze(-1) * root.unsqueeze(-2) * (root.unsqueeze(-1) + root.unsqueeze(-2))
    both = level.unsqueeze(-1) / products
    apart = (row - column).abs() * (row + column)
    one = (factor.unsqueeze(-1) - factor.unsqueeze(-2)).abs() / torch.where(apart > 0, apart, 1)
    out, other = gone.unsqueeze(-1), gone.unsqueeze(-2)
    return torch.where(out & other, 0, torch.where(out | other, one, both))


class _OfMatrix(torch.autograd.Function):
    """V diag(f) V^H of a Hermitian G = V diag(l) V^H, with the derivative V (Q o (V^H dG V)) V^H in G (Daleckii and
    Krein 1965), Q the divided differences of f.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(gram: Tensor, factor: Tensor, quotients: Tensor, vectors: Tensor) -> Tensor:
        return (vectors * factor.unsqueeze(-2)) @ vectors.mH

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        gram, factor, quotients, vectors = ctx.saved_tensors
        turned = vectors.mH @ grad @ vectors
        by_gram = vectors @ (quotients * turned) @ vectors.mH
        by_factor = turned.diagonal(dim1=-2, dim2=-1).real.sum_to_size(factor.shape)
        if torch.is_grad_enabled():  # somebody wants to differentiate what this returns
            return *_FirstDerivative.apply(by_gram, by_factor, gram, factor), None, None  # pyright: ignore
        return by_gram, by_factor, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:  # pyright: ignore
        _, _, quotients, vectors = ctx.saved_tensors
        moved = torch.zeros_like(vectors)
        if tangents[0] is not None:
            moved = moved + quotients * (vectors.mH @ tangents[0] @ vectors)
        if tangents[1] is not None:
            moved = moved + torch.diag_embed(tangents[1]).to(moved)
        return vectors @ moved @ vectors.mH


class _FirstDerivative(torch.autograd.Function):
    """The first two tensors as they are; refuses to be differentiated, as the constants of ``_OfMatrix`` are not
    constant to second order.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(by_gram: Tensor, by_factor: Tensor, gram: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        return by_gram.clone(), by_factor.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError("the shrinkage of singular values knows first derivatives only")
