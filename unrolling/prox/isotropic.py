"""Shrinkage of vectors by their length: the prox of isotropic penalties, such as that of total variation on
gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolling.core import scale
from unrolling.core.refusals import explain_call
from unrolling.prox.thresholds import check_threshold


@explain_call
@dataclass(frozen=True)
class IsotropicShrink:
    """z_p max(1 - t / |z_p|, 0) for the vector z_p of every pixel: the prox of t sum_p |z_p|, |.| the Euclidean norm.

    Goldstein and Osher 2009 (generalised shrinkage), doi:10.1137/080725891. With vectors of one entry it is
    ``soft_threshold``. Of movies (batch, height, width, frames) along ``dim=-1`` it is the prox of |.|_{1,2}, the sum
    of the norms of the rows of pixels by frames; along several dimensions that of groups of rows. With ``nonnegative``
    it is the prox of the same penalty on the non-negative orthant, the shrunk max(z, 0).

    A value, to be given to an iteration as its ``prox``.

    Attributes:
        dim: along which the entries of a vector lie; 1 for gradients (batch, 2, height, width). Several for groups.
        nonnegative: whether the result may hold positive entries only.
    """

    dim: int | tuple[int, ...] = 1
    nonnegative: bool = False

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The shrunk vectors.

        Args:
            z: real or complex, real with ``nonnegative``.
            threshold: t >= 0, a number or a real tensor that broadcasts to ``z`` with a size of 1 in ``dim``.

        Raises:
            TypeError: complex z, which has no order, with ``nonnegative``.
        """
        if self.nonnegative:
            if z.is_complex():
                raise TypeError("a non-negative threshold needs real numbers; complex ones have no order")
            z = torch.relu(z)
        check_threshold(threshold)
        norm = scale.lengths(z, self.dim)
        gone = norm <= threshold  # not its opposite, which takes NaN for something small
        return z * torch.where(gone, 0, 1 - threshold / torch.where(gone, 1, norm))

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """t sum_p |x_p| of each sample, (batch,); where x is negative, ``nonnegative`` does not make this infinite."""
        return (threshold * torch.linalg.vector_norm(x, dim=self.dim, keepdim=True)).flatten(1).sum(1)


@explain_call
class Ridge:
    """z / (1 + t): the prox of (t / 2) |.|^2."""

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The scaled tensor; ``threshold`` as for ``IsotropicShrink``."""
        check_threshold(threshold)
        return z / (1 + threshold)

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """(t / 2) |x|^2 of each sample, (batch,)."""
        return (0.5 * threshold * x.abs().square()).flatten(1).sum(1)
