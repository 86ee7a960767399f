"""The non-negative garrote, in units of the mean energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolling.core import scale
from unrolling.core.refusals import explain_call
from unrolling.prox.thresholds import check_threshold


@explain_call
@dataclass(frozen=True)
class MeanGarrote:
    """z max(1 - t m / |z|^2, 0) of every entry, m the mean of |z|^2 over each sample.

    The non-negative garrote (Breiman 1995, doi:10.1080/00401706.1995.10484371) with a level that follows the data:
    large entries lose less than under ``soft_threshold``, and G(c z) = c G(z) for c > 0. It is the prox of no penalty.

    A value, to be given to an iteration as its ``prox``.
    """

    def __call__(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The shrunk tensor.

        Args:
            z: (batch, ...), real or complex.
            threshold: t >= 0, a number or a real tensor that broadcasts to ``z``.
        """
        check_threshold(threshold)
        if z.numel() == 0:
            return z.clone()
        dims = tuple(range(1, z.ndim))
        own = z / scale.unit(z, dims)
        square = own.real.square() + own.imag.square() if z.is_complex() else own.square()
        level = threshold * square.mean(dims, keepdim=True)
        gone = square <= level  # not its opposite, which takes NaN for something small
        return z * torch.where(gone, 0, 1 - level / torch.where(gone, 1, square))
