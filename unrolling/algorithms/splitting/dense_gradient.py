"""Proximal gradient descent that remembers: each step begins at a combination of the iterates before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_count, check_range

History = Literal["none", "momentum", "dense"]
Order = Literal["grad_prox", "prox_grad"]
Combine = Literal["sum", "concat"]

MOST_ROWS = 1000  # b has half a million numbers then


class DenseState(NamedTuple):
    """The state of ``DenseProximalGradient``."""

    x: Tensor  # (batch, height, width), the newest iterate
    earlier: tuple[Tensor, ...]  # those before it, newest first; zero where there was none yet
    steps: int  # taken so far


class DenseProximalGradient(Iteration):
    """u = sum_{j <= k} b_kj x[j],    x[k+1] = R(u - mu A^H (A u - y)),    x[0] the start of the data term.

    Proximal gradient descent for min 0.5 |A x - y|^2 + lambda g(x) whose gradient is taken at a learned combination of
    all iterates so far: Hosseini, Yaman, Moeller, Hong and Akcakaya 2020, doi:10.1109/JSTSP.2020.3003170. R is the prox
    of mu lambda g, or a network in its place. With b the identity, as at the start, it is proximal gradient descent;
    with rows (1 + beta_k, -beta_k) it is FISTA (Beck and Teboulle 2009, doi:10.1137/080716542). b is lower triangular,
    negative entries are allowed, and rows need not sum to one. From step ``rows`` on the step is the plain one.

    Parameters: ``combination`` b, row by row, newest iterate first (rows (rows + 1) / 2 numbers for a dense history, 2
    rows - 1 for a momentum); ``step_size`` mu, and ``weight`` lambda where there is one, positive; those of ``prox``.

    Args:
        data_term: 0.5 |A x - y|^2.
        prox: z -> what takes the place of the prox, a module for instance; (z, threshold) -> the prox of g, called with
            mu lambda, where there is a ``weight``. With ``combine="concat"`` it is given (batch, images, height,
            width): z, then the earlier iterates.
        rows: K, steps that have a row of b: the number of layers.
        history: ``dense`` combines all iterates, ``momentum`` the last two, ``none`` is proximal gradient descent.
        order: ``grad_prox`` as above, or ``prox_grad``: x[k+1] = v - mu A^H (A v - y), v = R(u).
        combine: ``sum`` as above, or ``concat``: u = x[k], and R sees the earlier iterates (K - 1 of them, or one)
            beside its own input. There is no b then.
        weight: lambda >= 0, where ``prox`` takes a threshold.
        step_size: mu; 1 / |A|^2 where the start is to be proximal gradient descent that converges, which is 1 for
            masked Fourier transforms.

    Raises:
        ValueError: an unknown history, order or combination, no rows, a step size that is not positive, a negative
            weight, a weight with ``combine="concat"``.
    """

    algorithm = "FISTA"
    combination: Tensor | None
    step_size: Tensor
    weight: Tensor | None

    def __init__(
        self,
        data_term: DataTerm,
        prox: Callable[..., Tensor],
        rows: int,
        *,
        history: History = "dense",
        order: Order = "grad_prox",
        combine: Combine = "sum",
        weight: float | Tensor | None = None,
        step_size: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("history", history, History),
            ("order", order, Order),
            ("combine", combine, Combine),
        ):
            if value not in get_args(known):
                raise ValueError(f"{name} is {value!r}; it is one of {', '.join(get_args(known))}")
        check_count(rows, "rows", most=MOST_ROWS)
        check_range(step_size, "step_size", 0.0, above=True)
        if weight is not None and combine == "concat":
            raise ValueError("a prox with a weight takes one image; combine='concat' gives it several")
        self.data_term = data_term
        self.prepare = data_term
        self.prox = prox
        self.rows, self.history, self.order, self.combine = rows, history, order, combine
        self.span = {"none": 1, "momentum": min(2, rows), "dense": rows}[history]
        tensors = [*data_term.parameters(), *data_term.buffers()]
        like = next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        self.step_size = scalar_parameter(step_size, like)
        constrain(self, "step_size", Positive())
        self.weight = None
        if weight is not None:
            self.weight = scalar_parameter(check_weight(weight), like)
            constrain(self, "weight", Positive())
        self.combination = None
        if history != "none" and combine == "sum":
            row = torch.zeros(self._row(rows)[0], dtype=self.step_size.dtype)
            row[[self._row(k)[0] for k in range(rows)]] = 1
            self.combination = nn.Parameter(row)

    def _row(self, k: int) -> tuple[int, int]:
        """Where row k lies in ``combination``, and the number of its entries."""
        first = min(k, self.span)
        return first * (first + 1) // 2 + (k - first) * self.span, min(k + 1, self.span)

    def start(self, problem: Problem) -> DenseState:
        """x[0] is the data term's start: A^H y."""
        x = self.data_term.start(problem)
        return DenseState(x, (torch.zeros_like(x),) * (self.span - 1), 0)

    def forward(self, state: DenseState, problem: Problem) -> DenseState:
        u = self._combined(state)
        if self.order == "grad_prox":
            x = self._regularised(self._descended(u, problem), state)
        else:
            x = self._descended(self._regularised(u, state), problem)
        return DenseState(x, (state.x, *state.earlier)[: self.span - 1], state.steps + 1)

    def _combined(self, state: DenseState) -> Tensor:
        """u."""
        if self.combination is None or state.steps >= self.rows:
            return state.x
        first, count = self._row(state.steps)
        b = self.combination[first : first + count].unbind()
        u = b[0] * state.x
        for weight, x in zip(b[1:], state.earlier, strict=False):
            u = u + weight * x
        return u

    def _descended(self, x: Tensor, problem: Problem) -> Tensor:
        return x - self.step_size * self.data_term.gradient(x, problem)

    def _regularised(self, z: Tensor, state: DenseState) -> Tensor:
        if self.combine == "concat" and self.span > 1:
            return self.prox(torch.stack([z, *state.earlier], 1))
        return self.prox(z) if self.weight is None else self.prox(z, self.step_size * self.weight)

    def residual(self, new: DenseState, old: DenseState, problem: Problem) -> Tensor:
        """Of x; infinite until the rows of b are used up."""
        change = tree.relative_change(new.x, old.x)
        return change if self.combination is None or new.steps > self.rows else torch.full_like(change, torch.inf)

    @property
    def objective(self) -> Callable[[DenseState, Problem], Tensor]:
        """0.5 |A x - y|^2 + lambda g(x), (batch,), of a state and a problem; |.|_1 for a prox that does not know its
        ``penalty``.

        Raises:
            AttributeError: a prox without weight, whose penalty nobody knows.
        """
        if self.weight is None:
            raise AttributeError("a prox without weight has no known penalty, and so there is no objective")
        return self._objective

    def _objective(self, state: DenseState, problem: Problem) -> Tensor:
        assert self.weight is not None
        own = getattr(self.prox, "penalty", None)
        penalty = (self.weight * state.x.abs()).flatten(1).sum(1) if own is None else own(state.x, self.weight)
        return self.data_term.value(state.x, problem) + penalty

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)

    def advice(self) -> str:
        return f"its step size {float(self.step_size):.4g} must stay below 2/|A|^2"
