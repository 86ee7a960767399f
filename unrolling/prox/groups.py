"""Shrinkage of groups of neighbours by their norm: the prox of the group lasso."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolling.core import scale
from unrolling.core.refusals import explain_call
from unrolling.prox.thresholds import check_threshold


@explain_call
@dataclass(frozen=True)
class BlockSoftThreshold:
    """B_t(z)_g = z_g max(1 - t_g / |z_g|, 0) for every group g of ``size`` neighbours: the prox of sum_g t_g |x_g|, |.|
    the Euclidean norm.

    Yuan and Lin 2006, doi:10.1111/j.1467-9868.2005.00532.x. Groups of one are ``soft_threshold``; within a group it
    commutes with rotations. With ``nonnegative`` it is the prox of the same penalty on the non-negative orthant,
    B_t(max(z, 0)): an entry that is negative would only be punished twice.

    A value, to be given to an iteration as its ``prox``: ``CoupledISTA(dictionary, weight,
    prox=BlockSoftThreshold(5))``.

    Attributes:
        size: entries of a group, at least 1; divides the last dimension of what it is applied to.
        nonnegative: whether the result may hold positive entries only.
    """

    size: int
    nonnegative: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size is {self.size}; a group has at least one entry")

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The shrunk tensor.

        Args:
            z: (..., n), real, or complex unless ``nonnegative``.
            threshold: t >= 0, a number or a real tensor that broadcasts to ``z``; t_g is the mean over the entries of a
                group.

        Raises:
            ValueError: n is not a multiple of ``size``.
            TypeError: complex z, which has no order, with ``nonnegative``.
        """
        if self.nonnegative:
            if z.is_complex():
                raise TypeError("a non-negative threshold needs real numbers; complex ones have no order")
            z = torch.relu(z)
        check_threshold(threshold)
        groups = self._groups(z)
        level = self._levels(threshold)
        norm = scale.lengths(groups, -1)
        gone = norm <= level  # not its opposite, which takes NaN for something small
        factor = torch.where(gone, 0, 1 - level / torch.where(gone, 1, norm))
        return (groups * factor).reshape(z.shape)

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """sum_g t_g |x_g| of each sample, (batch,).

        Args:
            x: (batch, ..., n); where it is negative, ``nonnegative`` does not make this infinite.
            threshold: as for a call.
        """
        norms = torch.linalg.vector_norm(self._groups(x), dim=-1, keepdim=True)
        return (self._levels(threshold) * norms).reshape(x.shape[0], -1).sum(1)

    def _groups(self, z: Tensor) -> Tensor:
        """(..., n / size, size)."""
        n = z.shape[-1]
        if n % self.size:
            raise ValueError(f"groups of {self.size} do not divide the {n} entries of the last dimension")
        return z.reshape(*z.shape[:-1], n // self.size, self.size)

    def _levels(self, threshold: Tensor | float) -> Tensor | float:
        """t_g, which broadcasts to (..., n / size, 1)."""
        if not isinstance(threshold, Tensor) or threshold.ndim == 0:
            return threshold
        return threshold.unsqueeze(-1) if threshold.shape[-1] == 1 else self._groups(threshold).mean(-1, keepdim=True)
