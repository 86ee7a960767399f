"""Iterative hard thresholding."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import as_operator, check_step_size, scalar_parameter, step_advice
from unrolling.core import Iteration, Positive, constrain
from unrolling.operators import LinearOperator
from unrolling.prox import k_sparse


class IHT(Iteration):
    """x <- H_k(x + mu A^H (y - A x)) for min_x 0.5 |y - A x|^2 subject to |x|_0 <= k; H_k keeps the k largest
    magnitudes.

    Blumensath and Davies 2009, doi:10.1016/j.acha.2009.04.002; survey (31)-(32). A magnitude threshold instead of a
    count is ``ISTA`` with ``prox=hard_threshold``.

    Parameter: ``step_size`` mu, positive.

    Args:
        dictionary: A, a matrix (m, n) or a linear operator with vector inputs.
        sparsity: k, the number of non-zeros.
        step_size: mu; by default 1/L with L = |A|^2.

    Raises:
        ValueError: a zero column, k outside 1..n, a step size that is not positive.
    """

    def __init__(self, dictionary: Tensor | LinearOperator, sparsity: int, *, step_size: float | None = None) -> None:
        super().__init__()
        self.dictionary = as_operator(dictionary)
        atoms = self.dictionary.input_shape[-1]
        if not 1 <= sparsity <= atoms:
            raise ValueError(f"sparsity must be between 1 and the number of atoms, {atoms}; got {sparsity}")
        self.sparsity = sparsity
        step_size = check_step_size(step_size, self.dictionary)
        self.step_size = scalar_parameter(
            step_size, next(iter([*self.dictionary.parameters(), *self.dictionary.buffers()]), torch.zeros(()))
        )
        constrain(self, "step_size", Positive())

    def start(self, problem: Float[Tensor, "batch m"]) -> Float[Tensor, "batch n"]:
        """x = 0."""
        return problem.new_zeros(problem.shape[0], *self.dictionary.input_shape)

    def forward(self, state: Float[Tensor, "batch n"], problem: Float[Tensor, "batch m"]) -> Float[Tensor, "batch n"]:
        """One step."""
        return k_sparse(
            state + self.step_size * self.dictionary.adjoint(problem - self.dictionary(state)), self.sparsity
        )

    def objective(self, state: Tensor, problem: Tensor) -> Float[Tensor, " batch"]:
        """0.5 |y - A x|^2, (batch,)."""
        return 0.5 * (problem - self.dictionary(state)).flatten(1).abs().square().sum(1)

    def check(self, data: Tensor) -> None:
        super().check(data)
        self.dictionary.check_output(data, "data")

    def advice(self) -> str:
        return step_advice(float(self.step_size), self.dictionary)
