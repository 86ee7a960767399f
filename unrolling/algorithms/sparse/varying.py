"""ISTA for dictionaries that come with the data: one network for many dictionaries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_numbers
from unrolling.core.naming import class_name
from unrolling.core.refusals import explain
from unrolling.prox import soft_threshold


class Sensed(NamedTuple):
    """Measurements with the dictionary they were made with."""

    y: Tensor  # (batch, m)
    dictionary: Tensor  # A (batch, m, n), or (1, m, n) shared by all samples


class Mixed(NamedTuple):
    """What a step needs of them."""

    matched: Tensor  # A^T W_2^T y (batch, n)
    mixed: Tensor  # W_1 A (batch, m, n) or (1, m, n)


@explain
class Mixing(nn.Module):
    """Sensed -> Mixed; ``inner`` W_1 and ``outer`` W_2, (m, m), identities at the start."""

    def __init__(self, rows: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.eye(rows, dtype=dtype))
        self.outer = nn.Parameter(torch.eye(rows, dtype=dtype))

    def forward(self, data: Sensed) -> Mixed:
        return Mixed(_adjoint(data.dictionary, data.y @ self.outer), self.inner @ data.dictionary)


class VaryingISTA(Iteration):
    """x <- S_theta(x + gamma A^T (W_2^T y - W_1^T W_1 A x)), A belonging to the sample: ISTA where W_1 = W_2 = I, gamma
    = 1/L and theta = lambda/L.

    Unrolled with ``mixing`` tied, ``step_size`` and ``threshold`` untied it is Ada-LISTA, Aberdam, Golts and Elad 2020,
    arXiv:2001.08456. Permuting the columns of A permutes x, whatever has been learned; W_1^T W_1 = W_2 = (A A^T)^-1,
    which all column permutations of A share, makes it ALISTA without the scaling of its rows.

    Data: ``Sensed(y, dictionary)``, a dictionary per sample or one with a leading size of 1 for all.

    Parameters: ``mixing.inner`` W_1 and ``mixing.outer`` W_2 (m, m), ``step_size`` gamma, ``threshold`` theta, both
    positive.

    Args:
        rows: m.
        weight: lambda >= 0.
        lipschitz: an upper bound L of |A|^2 over the dictionaries that will come; one of them above 2 L makes the
            untrained iteration diverge.
        dtype: of the parameters.

    Raises:
        ValueError: a negative weight, a bound or a size that is not positive.
    """

    algorithm = "ISTA"

    def __init__(self, rows: int, weight: float, lipschitz: float, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if rows < 1 or not 0 < lipschitz < float("inf"):
            raise ValueError(f"rows and lipschitz must be positive; got {rows} and {lipschitz}")
        self.mixing = self.prepare = Mixing(rows, dtype)
        like = self.mixing.inner
        self.step_size = scalar_parameter(1 / lipschitz, like)
        self.threshold = scalar_parameter(check_weight(weight) / lipschitz, like)
        constrain(self, "step_size", Positive())
        constrain(self, "threshold", Positive())

    def start(self, problem: Mixed) -> Float[Tensor, "batch n"]:
        """x = 0."""
        return torch.zeros_like(problem.matched)

    def forward(self, state: Float[Tensor, "batch n"], problem: Mixed, scale: float = 1.0) -> Float[Tensor, "batch n"]:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        descent = problem.matched - _adjoint(problem.mixed, _apply(problem.mixed, state))
        return soft_threshold(
            state + self.step_size * descent, self.threshold if scale == 1.0 else scale * self.threshold
        )

    def check(self, data: Sensed) -> None:
        super().check(data)
        rows = self.mixing.inner.shape[0]
        for name, value in zip(Sensed._fields, data, strict=True):
            check_numbers(value, name, class_name(self), real=not self.mixing.inner.is_complex())
        y, dictionary = data.y, data.dictionary
        if y.ndim != 2 or y.shape[1] != rows or dictionary.ndim != 3 or dictionary.shape[1] != rows:
            raise ValueError(
                f"data is Sensed(y (batch, {rows}), dictionary (batch, {rows}, n) or (1, {rows}, n)); got "
                f"{tuple(y.shape)} and {tuple(dictionary.shape)}"
            )

    def advice(self) -> str:
        return (
            f"its step size {float(self.step_size):.4g} must stay below 2 / |A|^2 for the dictionary A of every "
            "sample: raise `lipschitz`"
        )


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    """A x: (batch or 1, m, n), (batch, n) -> (batch, m)."""
    return x @ matrix[0].mT if matrix.shape[0] == 1 else (matrix @ x.unsqueeze(-1)).squeeze(-1)


def _adjoint(matrix: Tensor, y: Tensor) -> Tensor:
    """A^T y: (batch or 1, m, n), (batch, m) -> (batch, n)."""
    return y @ matrix[0] if matrix.shape[0] == 1 else (matrix.mT @ y.unsqueeze(-1)).squeeze(-1)
