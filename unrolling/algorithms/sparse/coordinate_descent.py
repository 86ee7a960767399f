"""Coordinate descent for the lasso, the coordinate that moves most first."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_dictionary, check_width, each_weight, scalar_parameter
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.operators.linear import RowMatrix
from unrolling.prox import soft_threshold


class CoDState(NamedTuple):
    """The state of coordinate descent."""

    b: Tensor  # (batch, n): W_e y + S z, the correlations that the next update thresholds
    z: Tensor  # (batch, n): the code so far


class CoordinateDescent(Iteration):
    """z' = S_theta(b); k = argmax |z' - z|; b += S[:, k] (z'_k - z_k); z_k = z'_k. Estimate S_theta(b).

    Li and Osher 2009, doi:10.3934/ipi.2009.3.487; Gregor and LeCun 2010, Algorithm 2. S = I - A^T A, b = A^T y at the
    start. One step changes one coordinate per sample and costs O(n), against O(m n) for a step of ISTA: compare at
    equal operations, not at equal depth.

    Parameters: ``encoder`` W_e (n, m), ``inhibition`` S (n, n), ``threshold`` theta (n,), positive. The chosen index
    carries no gradient.

    Args:
        dictionary: A (m, n), real, unit columns.
        weight: lambda >= 0, a number or (n,).

    Raises:
        ValueError: columns that are not of unit norm, a negative weight.
    """

    def __init__(self, dictionary: Float[Tensor, "m n"], weight: float | Float[Tensor, " n"]) -> None:
        super().__init__()
        dictionary = check_dictionary(dictionary.detach(), unit_columns=True)
        if dictionary.is_complex():
            raise TypeError("coordinate descent here is for real dictionaries")
        atoms = dictionary.shape[1]
        self.encoder = self.prepare = RowMatrix(nn.Parameter(dictionary.T.contiguous().clone()))
        self.inhibition = nn.Parameter(
            torch.eye(atoms, dtype=dictionary.dtype, device=dictionary.device) - dictionary.T @ dictionary
        )
        self.threshold = scalar_parameter(each_weight(weight, atoms), dictionary)
        constrain(self, "threshold", Positive())

    def start(self, problem: Float[Tensor, "batch ... n"]) -> CoDState:
        """b = W_e y, z = 0."""
        return CoDState(problem, torch.zeros_like(problem))

    def forward(self, state: CoDState, problem: Float[Tensor, "batch ... n"]) -> CoDState:
        """One coordinate per sample."""
        b, z = state
        proposal = soft_threshold(b, self.threshold)
        move = proposal - z
        index: Int[Tensor, "batch ... 1"] = move.detach().abs().argmax(dim=-1, keepdim=True)
        # S[:, k] of each sample is a row of S^T: one gather of n numbers, no product.
        b = torch.addcmul(b, move.gather(-1, index), self.inhibition.T[index.squeeze(-1)])
        return CoDState(b, z.scatter(-1, index, proposal.gather(-1, index)))

    def estimate(self, state: CoDState, problem: Tensor) -> Float[Tensor, "batch ... n"]:
        """S_theta(b): all coordinates, not only those visited."""
        return soft_threshold(state.b, self.threshold)

    def objective(self, state: CoDState, problem: Float[Tensor, "batch ... n"]) -> Float[Tensor, " batch"]:
        """0.5 x^T (I - S) x - <W_e y, x> + sum_i theta_i |x_i| at x = S_theta(b), (batch,): the lasso less 0.5 |y|^2,
        which the problem W_e y does not hold.
        """
        x = self.estimate(state, problem)
        terms = 0.5 * x * (x - x @ self.inhibition.T) - x * problem + self.threshold * x.abs()
        return tree.rows(terms).sum(1)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.encoder.matrix.T)
