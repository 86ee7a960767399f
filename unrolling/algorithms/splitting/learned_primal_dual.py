"""Learned primal-dual: the primal-dual hybrid gradient method with networks in the place of its proxes, for linear and
non-linear forward operators.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Iteration
from unrolling.core.arguments import check_count, check_range
from unrolling.operators.linear import LinearOperator


class LearnedPrimalDualState(NamedTuple):
    """The state of ``LearnedPrimalDual``: the iterates with what they remember."""

    primal: Tensor  # f (batch, memory, *input_shape of A)
    dual: Tensor  # h (batch, memory, *output_shape of A); one channel without a dual network


@runtime_checkable
class ForwardOperator(Protocol):
    """A non-linear T that knows the adjoint of its derivative."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """T(x), (batch, *output_shape)."""
        ...

    def derivative_adjoint(self, x: Tensor, h: Tensor) -> Tensor:
        """[dT(x)]^T h, (batch, *input_shape)."""
        ...


class Transmission(nn.Module):
    """T(f) = exp(-mu A f), the part of the photons that pass: [dT(f)]^T h = -mu A^T (exp(-mu A f) . h).

    Args:
        operator: A.
        attenuation: mu > 0, 1/mm, of what f = 1 stands for; 0.02 for water.

    Raises:
        ValueError: an attenuation that is not positive.
    """

    def __init__(self, operator: LinearOperator, attenuation: float = 0.02) -> None:
        super().__init__()
        check_range(attenuation, "attenuation", 0, above=True)
        self.operator, self.attenuation = operator, attenuation
        self.input_shape, self.output_shape = operator.input_shape, operator.output_shape

    def forward(self, x: Tensor) -> Tensor:
        """T(x), in (0, 1] where x is not negative."""
        return torch.exp(-self.attenuation * self.operator(x))

    def derivative_adjoint(self, x: Tensor, h: Tensor) -> Tensor:
        """[dT(x)]^T h."""
        return -self.attenuation * self.operator.adjoint(self(x) * h)

    def check_output(self, y: Tensor, name: str = "y") -> None:
        """Refuses a y that does not fit."""
        self.operator.check_output(y, name)


class LearnedPrimalDual(Iteration):
    """h <- h + Gamma([h, A f_1, y]),  f <- f + Lambda([f, A^T h_0]),  h = 0, f = 0 at the start; the answer is f_0.

    Adler and Oktem 2018, doi:10.1109/TMI.2018.2799231. Both iterates have several channels, which are a memory: A
    reads channel 1 of f (the extrapolated image, in ``PDHG``), A^T channel 0 of h. A and y are divided by |A|. Of a
    non-linear T, T(f_1) is in the place of A f_1 and [dT(f_0)]^T h_0 in that of A^T h_0, and nothing is divided.

    Without a dual network, h = A f_1 - y: the paper's Learned Primal.

    With Gamma and Lambda that start as ``least_squares_start`` it is ``PDHG`` for 0.5 |A f - y|^2, exactly.

    Parameters: those of ``dual`` (Gamma) and ``primal`` (Lambda).

    Args:
        operator: A, or a ``ForwardOperator``.
        dual: Gamma, (batch, memory + 2, *output_shape) -> (batch, memory, *output_shape); None for Learned Primal.
        primal: Lambda, (batch, memory + 1, *input_shape) -> (batch, memory, *input_shape).
        memory: channels of f and h, at least 1; with 1 channel A reads that.
        scale: what A and y are divided by; |A| by default, 1 for a non-linear T.

    Raises:
        ValueError: a memory below 1, a scale that is not positive.
    """

    algorithm = "PDHG"

    def __init__(
        self,
        operator: LinearOperator | ForwardOperator,
        dual: nn.Module | None,
        primal: nn.Module,
        *,
        memory: int = 5,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        check_count(memory, "memory")
        self.operator: Any = operator
        self.dual, self.primal, self.memory = dual, primal, memory
        # A number, not a buffer: weights are carried over to other operators, which have norms of their own.
        self.scale = _scale(operator, scale)

    def prepare(self, data: Tensor) -> Tensor:
        """y / |A|, (batch, 1, *output_shape)."""
        return (data / self.scale).unsqueeze(1)

    def start(self, problem: Tensor) -> LearnedPrimalDualState:
        """Zeros."""
        batch = problem.shape[0]
        return LearnedPrimalDualState(
            problem.new_zeros(batch, self.memory, *self.operator.input_shape),
            problem.new_zeros(batch, 1 if self.dual is None else self.memory, *self.operator.output_shape),
        )

    def forward(self, state: LearnedPrimalDualState, problem: Tensor) -> LearnedPrimalDualState:
        primal, dual = state
        projected = self._project(primal[:, min(1, self.memory - 1)]).unsqueeze(1)
        if self.dual is None:
            dual = projected - problem
        else:
            dual = dual + self.dual(torch.cat([dual, projected, problem], 1))
        back = self._back(primal[:, 0], dual[:, 0]).unsqueeze(1)
        return LearnedPrimalDualState(primal + self.primal(torch.cat([primal, back], 1)), dual)

    def estimate(self, state: LearnedPrimalDualState, problem: Tensor) -> Tensor:
        """f_0, (batch, *input_shape)."""
        return state.primal[:, 0]

    def _project(self, f: Tensor) -> Tensor:
        return self.operator(f) / self.scale

    def _back(self, f: Tensor, h: Tensor) -> Tensor:
        if isinstance(self.operator, LinearOperator):
            return self.operator.adjoint(h) / self.scale
        return self.operator.derivative_adjoint(f, h) / self.scale

    def check(self, data: Any) -> None:
        super().check(data)
        self.operator.check_output(data, "data")

    def advice(self) -> str:
        return "its networks grow what they are given; train them with a smaller learning rate or clipped gradients"


def least_squares_start(
    memory: int = 5, primal_step: float = 0.99, dual_step: float = 1.0, extrapolation: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Gamma and Lambda as matrices on the channels of each pixel, with which ``LearnedPrimalDual`` is ``PDHG`` for
    0.5 |A f - y|^2 (A divided by its norm).

    Gamma_0 = (-sigma h_0 + sigma A f_1 - sigma y) / (1 + sigma);  Lambda_0 = -tau A^T h_0,  Lambda_1 = f_0 - f_1 - (1 +
    theta) tau A^T h_0.

    Args:
        memory: channels of f and h, at least 2.
        primal_step: tau.
        dual_step: sigma; sigma tau < 1.
        extrapolation: theta.

    Returns:
        (memory, memory + 2) and (memory, memory + 1).

    Raises:
        ValueError: a memory of 1, which has no room for the extrapolated image.
    """
    check_count(memory, "memory", 2)
    dual, primal = (
        torch.zeros(memory, memory + 2, dtype=torch.float64),
        torch.zeros(memory, memory + 1, dtype=torch.float64),
    )
    share = dual_step / (1 + dual_step)
    dual[0, 0], dual[0, memory], dual[0, memory + 1] = -share, share, -share
    primal[0, memory], primal[1, memory] = -primal_step, -(1 + extrapolation) * primal_step
    primal[1, 0], primal[1, 1] = 1.0, -1.0
    return dual, primal


class LearnedPDHGState(NamedTuple):
    """The state of ``LearnedPDHG``."""

    x: Tensor  # (batch, *input_shape)
    ahead: Tensor  # the extrapolated x
    dual: Tensor  # (batch, *output_shape)


class LearnedPDHG(Iteration):
    """h <- h + Gamma([h + sigma A x', y]),  x+ <- x + Lambda(x - tau A^T h),  x' <- x+ + theta (x+ - x), zeros at the
    start.

    The Learned PDHG of Adler and Oktem 2018, doi:10.1109/TMI.2018.2799231: one channel each, A and y divided by |A|.
    With ``residual="none"`` h <- Gamma(...) and x+ <- Lambda(...), so that Gamma and Lambda may be the proxes of
    ``PDHG``; with ``previous``, the released form, they may not, as the point before the step is not among what they
    are given.

    Parameters: ``primal_step`` tau, ``dual_step`` sigma, ``extrapolation`` theta; those of ``dual`` (Gamma) and
    ``primal`` (Lambda).

    Args:
        operator: A.
        dual: Gamma, (batch, 2, *output_shape) -> (batch, 1, *output_shape).
        primal: Lambda, (batch, 1, *input_shape) -> (batch, 1, *input_shape).
        residual: ``previous`` or ``none``.
        primal_step: tau > 0.
        dual_step: sigma > 0.
        extrapolation: theta in [0, 1] at the start.
        scale: what A and y are divided by; |A| by default.

    Raises:
        ValueError: another residual, steps that are not positive.
    """

    algorithm = "PDHG"
    primal_step: Tensor
    dual_step: Tensor
    extrapolation: Tensor

    def __init__(
        self,
        operator: LinearOperator,
        dual: nn.Module,
        primal: nn.Module,
        *,
        residual: Literal["previous", "none"] = "previous",
        primal_step: float = 0.5,
        dual_step: float = 0.5,
        extrapolation: float = 1.0,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if residual not in ("previous", "none"):
            raise ValueError(f"residual is {residual!r}; it is 'previous' or 'none'")
        self.operator, self.dual, self.primal = operator, dual, primal
        self.from_previous = residual == "previous"
        self.scale = _scale(operator, scale)
        like = next(iter(primal.parameters()), torch.zeros(()))
        for name, value in (("primal_step", primal_step), ("dual_step", dual_step)):
            check_range(value, name, 0, above=True)
            setattr(self, name, scalar_parameter(value, like))
        check_range(extrapolation, "extrapolation", 0, 1)
        self.extrapolation = scalar_parameter(extrapolation, like)

    def prepare(self, data: Tensor) -> Tensor:
        """y / |A|."""
        return data / self.scale

    def start(self, problem: Tensor) -> LearnedPDHGState:
        """Zeros."""
        x = problem.new_zeros(problem.shape[0], *self.operator.input_shape)
        return LearnedPDHGState(x, x, torch.zeros_like(problem))

    def forward(self, state: LearnedPDHGState, problem: Tensor) -> LearnedPDHGState:
        ahead = state.dual + self.dual_step / self.scale * self.operator(state.ahead)
        dual = self.dual(torch.stack([ahead, problem], 1)).squeeze(1)
        dual = state.dual + dual if self.from_previous else dual
        x = state.x - self.primal_step / self.scale * self.operator.adjoint(dual)
        x = self.primal(x.unsqueeze(1)).squeeze(1)
        x = state.x + x if self.from_previous else x
        return LearnedPDHGState(x, x + self.extrapolation * (x - state.x), dual)

    def check(self, data: Any) -> None:
        super().check(data)
        self.operator.check_output(data, "data")

    def advice(self) -> str:
        return "its networks grow what they are given; train them with a smaller learning rate or clipped gradients"


def _scale(operator: Any, scale: float | None) -> float:
    """What the operator is divided by."""
    if scale is None:
        scale = operator.norm() if isinstance(operator, LinearOperator) else 1.0
    check_range(scale, "scale", 0, above=True)
    return float(scale)
