"""A linear estimate and what a network finds missing in it."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core import Iteration
from unrolling.core.refusals import kind_of
from unrolling.core.scale import norm
from unrolling.operators.linear import LinearOperator


class PostProcessing(Iteration):
    """x <- x + U(x),  x = B y at the start: one step is x = B y + U(B y), B a linear operator, U a network of images.

    With B filtered back-projection and U a U-Net, FBPConvNet: Jin, McCann, Froustey and Unser 2017,
    doi:10.1109/TIP.2017.2713099. Where U is zero, as that of an untrained ``BatchNormUNet``, it is B y to the bit, and
    that is its classical algorithm.

    It is no iteration that was unrolled. The measurements are seen once, by B; what follows knows nothing of them. Its
    authors start from ISTA, x <- S(x - W^T A^T (A W x - y) / L): where A^T A hardly depends on the place, as for
    tomography, each step is a convolution and a threshold, and a U-Net has many of these in a row (survey, section on
    connections to other networks).

    With ``homogeneous`` one step is x + s U(x / s), s the root mean square of each x, over all but the batch: N(c y) =
    c N(y) for c > 0, whatever U is. Artefacts of few projections scale with the slice, and so does noise that is given
    in parts of the data, so that dim slices and bright ones are one problem.

    Parameters: those of ``network`` and of ``initial``.

    Args:
        initial: B, from data to images.
        network: U, from images to what is missing in them.
        homogeneous: whether U sees images of root mean square 1.

    Raises:
        TypeError: ``initial`` is no linear operator.
    """

    def __init__(self, initial: LinearOperator, network: nn.Module, *, homogeneous: bool = False) -> None:
        super().__init__()
        if not isinstance(initial, LinearOperator):
            raise TypeError(f"initial is {kind_of(initial)}; it is a linear operator from data to images")
        self.prepare = self.initial = initial
        self.network = network
        self.homogeneous = homogeneous

    def start(self, problem: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """x = B y."""
        return problem

    def forward(self, state: Float[Tensor, "batch ..."], problem: Tensor) -> Float[Tensor, "batch ..."]:
        if not self.homogeneous:
            return state + self.network(state)
        inner = tuple(range(1, state.ndim))
        size = norm(state, inner, keepdim=True) / math.sqrt(math.prod(state.shape[1:]))
        return state + size * self.network(state / torch.where(size == 0, 1, size))

    def check(self, data: Any) -> None:
        super().check(data)
        self.initial.check_input(data, "data")

    def advice(self) -> str:
        return "it is made for one step"
