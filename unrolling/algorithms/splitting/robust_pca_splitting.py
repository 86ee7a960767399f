"""Robust principal component analysis by the method of multipliers, and by projections in turn."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.splitting.robust_pca import Movies, Prox, Separated, Separation
from unrolling.core import Positive, constrain, tree
from unrolling.core.arguments import check_count, check_range
from unrolling.operators.linear import LinearOperator
from unrolling.operators.normal_equations import solve_positive
from unrolling.prox.low_rank import rank_projection


class SplitSeparation(NamedTuple):
    """The state of ``RobustPCAADMM``."""

    low_rank: Tensor  # Z1, which has low rank, (batch, ..., frames)
    sparse: Tensor  # Z2, which is sparse
    low_rank_dual: Tensor  # U1, the scaled multipliers of L = Z1
    sparse_dual: Tensor  # U2


class RobustPCAADMM(Separation):
    """ADMM for min 0.5 |D - H1 L - H2 S|^2 + lambda1 |L|_* + lambda2 |S|_{1,2} (survey (16)), split as L = Z1, S = Z2:

        (L, S) <- argmin 0.5 |D - H1 L - H2 S|^2 + (rho / 2) (|L - Z1 + U1|^2 + |S - Z2 + U2|^2),
        Z1 <- T_{lambda1 / rho}(L + U1),    Z2 <- S_{lambda2 / rho}(S + U2),    U1 <- U1 + L - Z1,    U2 <- U2 + S - Z2.

    Boyd, Parikh, Chu, Peleato and Eckstein 2011, doi:10.1561/2200000016. The first line is (V1 + H1^H W, V2 + H2^H W)
    with V = Z - U and (H1 H1^H + H2 H2^H + rho) W = D - H1 V1 - H2 V2: in closed form without operators, else by
    conjugate gradients. All is zero at the start; the estimate is Z2. It converges for every rho.

    Parameters: ``penalty`` rho, ``low_rank_weight`` lambda1 and ``sparse_weight`` lambda2, positive; those of the
    operators and proxes.

    Args:
        low_rank_weight: lambda1 >= 0.
        sparse_weight: lambda2 >= 0.
        low_rank_operator: H1; the identity by default.
        sparse_operator: H2, likewise.
        penalty: rho.
        low_rank_prox: (z, threshold) -> the prox of the penalty on L, ``SingularValueThreshold()`` by default.
        sparse_prox: (z, threshold) -> that on S, ``IsotropicShrink(dim=-1)`` by default.
        inner: tolerance and largest number of iterations of conjugate gradients.

    Raises:
        ValueError: a penalty that is not positive, a negative weight; of data: fewer than two frames.
    """

    low_rank_weight: Tensor
    sparse_weight: Tensor
    penalty: Tensor

    def __init__(
        self,
        low_rank_weight: float,
        sparse_weight: float,
        low_rank_operator: LinearOperator | None = None,
        sparse_operator: LinearOperator | None = None,
        *,
        penalty: float = 1.0,
        low_rank_prox: Prox | None = None,
        sparse_prox: Prox | None = None,
        inner: tuple[float, int] = (1e-6, 50),
    ) -> None:
        super().__init__(low_rank_operator, sparse_operator, low_rank_prox, sparse_prox)
        if not penalty > 0:
            raise ValueError(f"penalty must be positive; got {penalty}")
        check_range(inner[0], "inner's tolerance", 0.0)
        check_count(inner[1], "inner's iterations")
        like = self.like()
        self.low_rank_weight = scalar_parameter(check_weight(low_rank_weight), like)
        self.sparse_weight = scalar_parameter(check_weight(sparse_weight), like)
        self.penalty = scalar_parameter(penalty, like)
        for name in ("low_rank_weight", "sparse_weight", "penalty"):
            constrain(self, name, Positive())
        self.inner = inner

    def start(self, problem: Tensor) -> SplitSeparation:
        """All zero."""
        parts = self.zeros(problem)
        return SplitSeparation(*parts, *parts)

    def forward(self, state: SplitSeparation, problem: Tensor) -> SplitSeparation:
        rho = self.penalty
        pulled = Separated(state.low_rank - state.low_rank_dual, state.sparse - state.sparse_dual)
        rest = self._solved(problem - self.mixed(pulled), rho)
        low = pulled.low_rank + self.low_rank_operator.adjoint(rest) + state.low_rank_dual
        sparse = pulled.sparse + self.sparse_operator.adjoint(rest) + state.sparse_dual
        first = self.low_rank_prox(low, self.low_rank_weight / rho)
        second = self.sparse_prox(sparse, self.sparse_weight / rho)
        return SplitSeparation(first, second, low - first, sparse - second)

    def _solved(self, right: Tensor, rho: Tensor) -> Tensor:
        """(H1 H1^H + H2 H2^H + rho)^-1 of it."""
        if isinstance(self.low_rank_operator, Movies) and isinstance(self.sparse_operator, Movies):
            return right / (2 + rho)

        def apply(w: Tensor) -> Tensor:
            both = Separated(self.low_rank_operator.adjoint(w), self.sparse_operator.adjoint(w))
            return self.mixed(both) + rho * w

        tolerance, most = self.inner
        return solve_positive(apply, right, tolerance=tolerance, max_iterations=most)

    def objective(self, state: SplitSeparation, problem: Tensor) -> Tensor:
        """0.5 |D - H1 Z1 - H2 Z2|^2 + lambda1 |Z1|_* + lambda2 |Z2|_{1,2}, (batch,)."""
        return self.value(state, problem, (self.low_rank_weight, self.sparse_weight))

    def advice(self) -> str:
        return "it converges for every penalty; solve its equations to a smaller tolerance (inner)"


class AlternatingProjections(Separation):
    """L <- P_r(L + mu1 H1^H (D - H1 L - H2 S)),    S <- P_k(S + mu2 H2^H (D - H1 L - H2 S)) with the new L: P_r the
    nearest movie of rank r, P_k what keeps the k rows of largest norm.

    For min |D - H1 L - H2 S|^2 over movies L of rank r and S with k rows that are not zero. Without operators and with
    steps of 1 it is L <- P_r(D - S), S <- P_k(D - L) (Zhou and Tao 2011, GoDec; Netrapalli et al. 2014,
    arXiv:1410.7660, with a number of entries in the place of a threshold). Neither set is convex: it ends where it
    ends, from S = 0. The error does not grow for steps up to 1 / |H|^2.

    Args:
        rank: r, at least 1.
        kept: k in parts of the pixels, in (0, 1].
        low_rank_operator: H1; the identity by default.
        sparse_operator: H2, likewise.
        low_rank_step: mu1.
        sparse_step: mu2.

    Raises:
        ValueError: a rank below 1, a share outside (0, 1], steps that are not positive; of data: fewer than two frames.
    """

    def __init__(
        self,
        rank: int = 1,
        kept: float = 0.2,
        low_rank_operator: LinearOperator | None = None,
        sparse_operator: LinearOperator | None = None,
        *,
        low_rank_step: float = 1.0,
        sparse_step: float = 1.0,
    ) -> None:
        super().__init__(low_rank_operator, sparse_operator)
        check_count(rank, "rank")
        check_range(kept, "kept", 0.0, 1.0, above=True)
        for name, step in (("low_rank_step", low_rank_step), ("sparse_step", sparse_step)):
            if not step > 0:
                raise ValueError(f"{name} must be positive; got {step}")
        self.rank, self.kept, self.low_rank_step, self.sparse_step = rank, kept, low_rank_step, sparse_step

    def start(self, problem: Tensor) -> Separated:
        """L = S = 0."""
        return self.zeros(problem)

    def forward(self, state: Separated, problem: Tensor) -> Separated:
        gap = self.low_rank_operator.adjoint(problem - self.mixed(state))
        moved = state.low_rank + self.low_rank_step * gap
        low_rank = rank_projection(moved.flatten(1, -2), self.rank).reshape(moved.shape)
        gap = self.sparse_operator.adjoint(problem - self.mixed(Separated(low_rank, state.sparse)))
        return Separated(low_rank, self._largest(state.sparse + self.sparse_step * gap))

    def _largest(self, z: Tensor) -> Tensor:
        """Its rows of largest norm, all of those that are as large as the last one."""
        norms = tree.rows(torch.linalg.vector_norm(z.detach(), dim=-1))
        count = max(1, round(self.kept * norms.shape[1]))
        least = norms.topk(count, 1).values[:, -1:].reshape(-1, *[1] * (z.ndim - 1))
        small = norms.reshape(*z.shape[:-1], 1) < least  # not its opposite, which takes NaN for something small
        return torch.where(small, 0, z)

    def objective(self, state: Separated, problem: Tensor) -> Tensor:
        """0.5 |D - H1 L - H2 S|^2, (batch,)."""
        return 0.5 * (problem - self.mixed(state)).abs().square().flatten(1).sum(1)

    def advice(self) -> str:
        return "its steps must stay at or below 1 / |H1|^2 and 1 / |H2|^2"
