"""Shrinkage of vectors by their length: the prox of isotropic penalties, such as that of total variation on
gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class IsotropicShrink:
    """z_p max(1 - t / |z_p|, 0) for the vector z_p of every pixel: the prox of t sum_p |z_p|, |.| the Euclidean norm.

    Goldstein and Osher 2009 (generalised shrinkage), doi:10.1137/080725891. With vectors of one entry it is
    ``soft_threshold``.

    A value, to be given to an iteration as its ``prox``.

    Attributes:
        dim: along which the entries of a vector lie; 1 for gradients (batch, 2, height, width).
    """

    dim: int = 1

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The shrunk vectors.

        Args:
            z: real or complex.
            threshold: t >= 0, a number or a real tensor that broadcasts to ``z`` with a size of 1 in ``dim``.
        """
        square = (z.abs() if z.is_complex() else z).square().sum(self.dim, keepdim=True)
        # Neither a root of zero nor a division by it may reach the backward pass, even where its result is thrown away.
        norm = torch.where(square > 0, square, 1).sqrt()
        kept = (square > 0) & (norm > threshold)
        return z * torch.where(kept, 1 - threshold / torch.where(kept, norm, 1), 0)

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """t sum_p |x_p| of each sample, (batch,)."""
        return (threshold * torch.linalg.vector_norm(x, dim=self.dim, keepdim=True)).flatten(1).sum(1)


class Ridge:
    """z / (1 + t): the prox of (t / 2) |.|^2."""

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The scaled tensor; ``threshold`` as for ``IsotropicShrink``."""
        return z / (1 + threshold)

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """(t / 2) |x|^2 of each sample, (batch,)."""
        return (0.5 * threshold * x.abs().square()).flatten(1).sum(1)
