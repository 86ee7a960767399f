"""Robust principal component analysis through two operators: a movie taken apart into a part of low rank and a sparse
one, by proximal gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.core import Iteration, Positive, constrain
from unrolling.operators.linear import LinearOperator
from unrolling.operators.spectral import Identity
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.prox.low_rank import SingularValueThreshold

Prox = Callable[..., Tensor]


class Separated(NamedTuple):
    """A movie's two parts."""

    low_rank: Tensor  # L, (batch, ..., frames): tissue, a background
    sparse: Tensor  # S, likewise: blood, what moves


class Separation(Iteration):
    """What the algorithms for D = H1 L + H2 S + noise share: operators, penalties, where they begin and what they
    answer.

    Args:
        low_rank_operator: H1; the identity by default.
        sparse_operator: H2, likewise.
        low_rank_prox: (z, threshold) -> the prox of the penalty on L.
        sparse_prox: (z, threshold) -> that on S.
    """

    def __init__(
        self,
        low_rank_operator: LinearOperator | None = None,
        sparse_operator: LinearOperator | None = None,
        low_rank_prox: Prox | None = None,
        sparse_prox: Prox | None = None,
    ) -> None:
        super().__init__()
        self.low_rank_operator = Movies() if low_rank_operator is None else low_rank_operator
        self.sparse_operator = Movies() if sparse_operator is None else sparse_operator
        self.low_rank_prox = SingularValueThreshold() if low_rank_prox is None else low_rank_prox
        self.sparse_prox = IsotropicShrink(dim=-1) if sparse_prox is None else sparse_prox

    def like(self) -> Tensor:
        """A tensor of the operators' precision."""
        parts = (self.low_rank_operator, self.sparse_operator)
        tensors = [t for part in parts for t in [*part.parameters(), *part.buffers()]]
        return next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))

    def zeros(self, problem: Tensor) -> Separated:
        """L = S = 0."""
        return Separated(
            torch.zeros_like(self.low_rank_operator.adjoint(problem)),
            torch.zeros_like(self.sparse_operator.adjoint(problem)),
        )

    def mixed(self, state: Any) -> Tensor:
        """H1 L + H2 S."""
        return self.low_rank_operator(state.low_rank) + self.sparse_operator(state.sparse)

    def value(self, state: Any, problem: Tensor, weights: tuple[Any, Any]) -> Tensor:
        """0.5 |D - H1 L - H2 S|^2 + lambda1 |L|_* + lambda2 |S|_{1,2} of each movie, (batch,)."""
        total = 0.5 * (problem - self.mixed(state)).abs().square().flatten(1).sum(1)
        for prox, part, weight in (
            (self.low_rank_prox, state.low_rank, weights[0]),
            (self.sparse_prox, state.sparse, weights[1]),
        ):
            own = getattr(prox, "penalty", None)
            total = total + ((weight * part.abs()).flatten(1).sum(1) if own is None else own(part, weight))
        return total

    def estimate(self, state: Any, problem: Any) -> Tensor:
        """S, the sparse part."""
        return state.sparse

    def supervised(self, state: Any, problem: Any) -> Separated:
        """Both parts."""
        return Separated(state.low_rank, state.sparse)

    def check(self, data: Any) -> None:
        super().check(data)
        check_movies(data)
        self.low_rank_operator.check_output(data, "data")


class RobustPCA(Separation):
    """L <- T_{mu lambda1}(L - mu H1^H R),  S <- S_{mu lambda2}(S - mu H2^H R),  R = H1 L + H2 S - D, both from the old
    L and S; T thresholds singular values, S_t shrinks the row of each pixel by its norm.

    For min 0.5 |D - H1 L - H2 S|^2 + lambda1 |L|_* + lambda2 |S|_{1,2}: survey (16) and the equations after it, ISTA
    for two unknowns (Solomon et al. 2020, doi:10.1109/TMI.2019.2941271). The survey writes 1 / mu for the step and
    leaves it out of the terms with H2 S, H1 L and D. ``FISTA(RobustPCA(...))`` accelerates it. Data D are movies
    (batch, height, width, frames), or (batch, ..., frames) as the operators take them, real or complex; L = S = 0 at
    the start. The estimate is S; a loss sees both parts.

    Parameters: ``step_size`` mu, ``low_rank_threshold`` mu lambda1 and ``sparse_threshold`` mu lambda2, positive; those
    of the operators and proxes.

    Args:
        low_rank_weight: lambda1 >= 0.
        sparse_weight: lambda2 >= 0.
        low_rank_operator: H1, from L to D; the identity by default.
        sparse_operator: H2, from S to D, likewise.
        step_size: mu; convergence needs mu < 2 / |(H1, H2)|^2, and FISTA mu <= 1 / |(H1, H2)|^2, which is 1/2 without
            operators.
        low_rank_prox: (z, threshold) -> the prox of the penalty on L, ``SingularValueThreshold()`` by default.
        sparse_prox: (z, threshold) -> that on S, ``IsotropicShrink(dim=-1)`` by default; ``soft_threshold`` for |S|_1.
        volumes: whether data are (batch, height, width, frames) and nothing else, in the precision of the numbers, as
            networks take them: a movie without a batch would else be a batch of its rows.

    Raises:
        ValueError: a step size that is not positive, a negative weight; of data: fewer than two frames.
        TypeError: of data with ``volumes``: another precision.
    """

    step_size: Tensor
    low_rank_threshold: Tensor
    sparse_threshold: Tensor

    def __init__(
        self,
        low_rank_weight: float,
        sparse_weight: float,
        low_rank_operator: LinearOperator | None = None,
        sparse_operator: LinearOperator | None = None,
        *,
        step_size: float = 0.5,
        low_rank_prox: Prox | None = None,
        sparse_prox: Prox | None = None,
        volumes: bool = False,
    ) -> None:
        super().__init__(low_rank_operator, sparse_operator, low_rank_prox, sparse_prox)
        self.volumes = volumes
        if not step_size > 0:
            raise ValueError(f"step_size must be positive; got {step_size}")
        like = self.like()
        self.step_size = scalar_parameter(step_size, like)
        self.low_rank_threshold = scalar_parameter(check_weight(low_rank_weight) * step_size, like)
        self.sparse_threshold = scalar_parameter(check_weight(sparse_weight) * step_size, like)
        for name in ("step_size", "low_rank_threshold", "sparse_threshold"):
            constrain(self, name, Positive())

    def check(self, data: Any) -> None:
        super().check(data)
        if not self.volumes or not isinstance(data, Tensor):
            return
        if data.ndim != 4:
            raise ValueError(
                f"data are movies of shape (batch, height, width, frames); got {tuple(data.shape)}. One movie is a "
                "batch of 1: data.unsqueeze(0)"
            )
        numbers = self.step_size.dtype
        if data.real.dtype != numbers:
            raise TypeError(f"data is {data.dtype} and the numbers of the iteration are {numbers}; use one precision")

    def start(self, problem: Tensor) -> Separated:
        """L = S = 0."""
        return self.zeros(problem)

    def forward(self, state: Separated, problem: Tensor, scale: float = 1.0) -> Separated:
        """One step; ``scale`` multiplies both thresholds (continuation)."""
        step = self.step_size * (problem - self.mixed(state))
        low_rank = state.low_rank + self.low_rank_operator.adjoint(step)
        sparse = state.sparse + self.sparse_operator.adjoint(step)
        levels = self.low_rank_threshold, self.sparse_threshold
        if scale != 1.0:
            levels = scale * levels[0], scale * levels[1]
        return Separated(self.low_rank_prox(low_rank, levels[0]), self.sparse_prox(sparse, levels[1]))

    def objective(self, state: Separated, problem: Tensor) -> Tensor:
        """0.5 |D - H1 L - H2 S|^2 + lambda1 |L|_* + lambda2 |S|_{1,2}, (batch,)."""
        step = self.step_size
        return self.value(state, problem, (self.low_rank_threshold / step, self.sparse_threshold / step))

    def advice(self) -> str:
        return f"its step size {float(self.step_size):.4g} must stay below 2 / |(H1, H2)|^2, which is 1 for identities"


class Movies(Identity):
    """A x = x for movies (batch, ..., frames) of any size."""

    leading = True

    def __init__(self) -> None:
        super().__init__()
        self.input_shape = self.output_shape = (None,)


def check_movies(data: Any) -> None:
    """Refuses what is no batch of movies (batch, ..., frames) with at least two frames, from its shape alone.

    Raises:
        ValueError: another number of dimensions, or one frame.
    """
    if not isinstance(data, Tensor):
        return
    if data.ndim < 3:
        raise ValueError(
            f"a batch of movies has shape (batch, height, width, frames); got {tuple(data.shape)}. One movie is a "
            "batch of 1: data.unsqueeze(0)"
        )
    if data.shape[-1] < 2:
        raise ValueError(
            f"a movie of {data.shape[-1]} frame has no part that stands still and no part that moves; shape "
            f"{tuple(data.shape)} is (batch, height, width, frames), with at least two frames"
        )
