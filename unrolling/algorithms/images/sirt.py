"""The simultaneous iterative reconstruction technique of tomography."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Bounded, Iteration, constrain
from unrolling.operators.linear import LinearOperator


class SIRT(Iteration):
    """x+ <- P(x + omega C A^T R (y - A x)), R one over the row sums of A, C over its column sums, P the projection onto
    x >= 0 where it is asked for.

    Gilbert 1972, doi:10.1016/0022-5193(72)90180-4; that it converges, to a minimum of (y - A x)^T R (y - A x), for 0 <
    omega < 2: Jiang and Wang 2003, doi:10.1109/TMI.2003.815867. With noise the first iterations are the better ones.

    Parameters: ``relaxation`` omega, in (0, 2).

    Args:
        operator: A, of known shapes and without negative entries; data are (batch, *output_shape).
        relaxation: omega.
        nonnegative: whether x is known to be at least 0.

    Raises:
        ValueError: a relaxation outside (0, 2), an operator that takes any size.
    """

    relaxation: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, operator: LinearOperator, relaxation: float = 1.0, *, nonnegative: bool = True) -> None:
        super().__init__()
        if None in (*operator.input_shape, *operator.output_shape):
            raise ValueError(f"{type(operator).__name__} takes any size; SIRT needs the sums of its rows and columns")
        value = float(relaxation)
        if not 0 < value < 2:
            raise ValueError(f"relaxation is {value}; it lies between 0 and 2")
        self.operator, self.nonnegative = operator, nonnegative
        tensors = [*operator.parameters(), *operator.buffers()]
        like = next((t for t in tensors if t.is_floating_point()), torch.zeros(()))
        with torch.no_grad():
            rows = operator(like.new_ones(1, *operator.input_shape))
            columns = operator.adjoint(like.new_ones(1, *operator.output_shape))
        self.register_buffer("rows", _inverse(rows), persistent=False)
        self.register_buffer("columns", _inverse(columns), persistent=False)
        self.relaxation = scalar_parameter(relaxation, like)
        constrain(self, "relaxation", Bounded(0.0, 2.0))

    def start(self, problem: Tensor) -> Tensor:
        """Zero."""
        return problem.new_zeros(problem.shape[0], *self.operator.input_shape)

    def forward(self, state: Tensor, problem: Tensor) -> Tensor:
        step = self.columns * self.operator.adjoint(self.rows * (problem - self.operator(state)))
        new = state + self.relaxation * step
        return new.clamp_min(0) if self.nonnegative else new

    def objective(self, state: Tensor, problem: Tensor) -> Tensor:
        """0.5 (y - A x)^T R (y - A x), (batch,)."""
        return 0.5 * (self.rows * (problem - self.operator(state)).square()).flatten(1).sum(1)

    def check(self, data: Any) -> None:
        super().check(data)
        self.operator.check_output(data, "data")


def _inverse(sums: Tensor) -> Tensor:
    """One over sums; 0 where a ray misses the image, or a pixel is on no ray."""
    return torch.where(sums > 1e-6 * sums.max(), 1 / sums, 0)
