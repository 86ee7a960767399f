"""State-space models: how a hidden state moves, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.core.arguments import check_count, check_numbers, keep
from unrolling.core.refusals import explain_call


class Recording(NamedTuple):
    """What was measured at T moments in a row, at the rate of a model."""

    values: Tensor  # y (batch, T, m); any finite number where nothing was measured
    present: Tensor | None = None  # (batch, T, m) bool, or (1, T, m) for all: what was measured; None for all of it
    begin: int = 0  # how many moments of the stream came before

    def pieces(self, length: int) -> Iterator[Recording]:
        """The recording in pieces of at most so many moments, each of which says where it begins."""
        check_count(length, "length")
        for first in range(0, self.values.shape[1], length):
            part = slice(first, first + length)
            present = None if self.present is None else self.present[:, part]
            yield Recording(self.values[:, part], present, self.begin + first)


@explain_call
class StateSpace(nn.Module):
    """x_t = f(x_(t-1)) + w_t, w_t ~ N(0, Q);  y_t = h(x_t) + v_t, v_t ~ N(0, R);  x_0 ~ N(mean, covariance), of which
    nothing is measured. All noises are independent.

    A subclass writes ``move`` (f) and ``measure`` (h), each (batch, n) -> (batch, n or m), and their derivatives where
    it knows better than automatic differentiation.

    Args:
        process_noise: Q (n, n), symmetric, positive semidefinite.
        measurement_noise: R (m, m), symmetric, positive definite.
        mean: of the start, (n,).
        covariance: of the start, (n, n), symmetric, positive semidefinite.

    Raises:
        ValueError: another shape, or no covariance.
    """

    process_noise: Tensor
    measurement_noise: Tensor
    mean: Tensor
    covariance: Tensor

    def __init__(
        self,
        process_noise: Float[Tensor, "n n"],
        measurement_noise: Float[Tensor, "m m"],
        mean: Float[Tensor, " n"],
        covariance: Float[Tensor, "n n"],
    ) -> None:
        super().__init__()
        check_numbers(mean, "mean", "a state-space model", real=True)
        if mean.ndim != 1 or mean.numel() == 0:
            raise ValueError(f"the mean of the start is a vector (n,); got shape {tuple(mean.shape)}")
        size = mean.shape[0]
        check_covariance(process_noise, "process_noise", size)
        check_covariance(covariance, "covariance", size)
        check_covariance(measurement_noise, "measurement_noise", None, definite=True)
        for name, value in (
            ("process_noise", process_noise),
            ("measurement_noise", measurement_noise),
            ("mean", mean),
            ("covariance", covariance),
        ):
            keep(self, name, value)

    @property
    def size(self) -> int:
        """n, numbers of a state."""
        return self.mean.shape[0]

    @property
    def measured(self) -> int:
        """m, numbers of a measurement."""
        return self.measurement_noise.shape[0]

    def move(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """f(x)."""
        raise NotImplementedError(f"{type(self).__name__} is a StateSpace without `move`")

    def measure(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        """h(x)."""
        raise NotImplementedError(f"{type(self).__name__} is a StateSpace without `measure`")

    def move_jacobian(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n n"]:
        """The derivative of f at x."""
        return _jacobian(self.move, x)

    def measure_jacobian(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m n"]:
        """The derivative of h at x."""
        return _jacobian(self.measure, x)

    @torch.no_grad()
    def simulate(
        self, batch: int, length: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch T n"], Float[Tensor, "batch T m"]]:
        """States x_1 to x_T and what was measured of them, of so many independent runs."""
        check_count(length, "length")

        def noise(covariance: Tensor) -> Tensor:
            drawn = torch.randn(batch, length, covariance.shape[0], dtype=covariance.dtype, generator=generator)
            return drawn @ root(covariance).mT

        x = self.mean + noise(self.covariance)[:, 0]
        moves, disturbances = noise(self.process_noise), noise(self.measurement_noise)
        states = []
        for t in range(length):
            x = self.move(x) + moves[:, t]
            states.append(x)
        path = torch.stack(states, dim=1)
        return path, self.measure(path.flatten(0, 1)).unflatten(0, (batch, length)) + disturbances


class LinearModel(StateSpace):
    """f(x) = F x and h(x) = H x.

    Args:
        transition: F (n, n).
        measurement: H (m, n).
        process_noise: Q (n, n).
        measurement_noise: R (m, m).
        mean: of the start, (n,); zero by default.
        covariance: of the start, (n, n); the identity by default.

    Raises:
        ValueError: shapes that do not belong together, or no covariance.
    """

    transition: Tensor
    measurement: Tensor

    def __init__(
        self,
        transition: Float[Tensor, "n n"],
        measurement: Float[Tensor, "m n"],
        process_noise: Float[Tensor, "n n"],
        measurement_noise: Float[Tensor, "m m"],
        mean: Float[Tensor, " n"] | None = None,
        covariance: Float[Tensor, "n n"] | None = None,
    ) -> None:
        for name, matrix in (("transition", transition), ("measurement", measurement)):
            check_numbers(matrix, name, "a linear model", real=True)
            if matrix.ndim != 2:
                raise ValueError(f"{name} is a matrix; got shape {tuple(matrix.shape)}")
        n = transition.shape[0]
        if transition.shape[1] != n or measurement.shape[1] != n:
            raise ValueError(f"F is (n, n) and H (m, n); got {tuple(transition.shape)} and {tuple(measurement.shape)}")
        super().__init__(
            process_noise,
            measurement_noise,
            transition.new_zeros(n) if mean is None else mean,
            torch.eye(n, dtype=transition.dtype) if covariance is None else covariance,
        )
        if self.size != n or self.measured != measurement.shape[0]:
            raise ValueError(
                f"F is {tuple(transition.shape)} and H {tuple(measurement.shape)}, so that Q is ({n}, {n}) and R "
                f"({measurement.shape[0]}, {measurement.shape[0]}); got {tuple(process_noise.shape)} and "
                f"{tuple(measurement_noise.shape)}"
            )
        keep(self, "transition", transition)
        keep(self, "measurement", measurement)

    def move(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        return x @ self.transition.mT

    def measure(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        return x @ self.measurement.mT

    def move_jacobian(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n n"]:
        return self.transition.expand(x.shape[0], -1, -1)

    def measure_jacobian(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m n"]:
        return self.measurement.expand(x.shape[0], -1, -1)


class FunctionModel(StateSpace):
    """f and h as functions of a batch of states, row by row; their derivatives by automatic differentiation.

    Args:
        move: f, (batch, n) -> (batch, n); a module with parameters that are learned, or any function.
        measure: h, (batch, n) -> (batch, m).
        process_noise: Q (n, n).
        measurement_noise: R (m, m).
        mean: of the start, (n,).
        covariance: of the start, (n, n).
    """

    def __init__(
        self,
        move: Callable[[Tensor], Tensor],
        measure: Callable[[Tensor], Tensor],
        process_noise: Float[Tensor, "n n"],
        measurement_noise: Float[Tensor, "m m"],
        mean: Float[Tensor, " n"],
        covariance: Float[Tensor, "n n"],
    ) -> None:
        super().__init__(process_noise, measurement_noise, mean, covariance)
        self.mover, self.measurer = move, measure

    def move(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        return self.mover(x)

    def measure(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        return self.measurer(x)


def check_covariance(matrix: Tensor, name: str, size: int | None, *, definite: bool = False) -> None:
    """Refuses what is no covariance.

    Raises:
        TypeError: no tensor of real numbers.
        ValueError: not square or of another size, not symmetric, a negative eigenvalue (or, if ``definite``, one that
            is not positive).
    """
    check_numbers(matrix, name, "a state-space model", real=True)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or size not in (None, matrix.shape[0]):
        wanted = "(m, m)" if size is None else f"({size}, {size})"
        raise ValueError(f"{name} is a covariance {wanted}; got shape {tuple(matrix.shape)}")
    values = matrix.detach().double()
    scale = float(values.abs().amax()) if values.numel() else 0.0
    if not scale < float("inf"):
        raise ValueError(f"{name} is a covariance; it holds NaN or infinite values")
    if float((values - values.mT).abs().amax()) > 1e-6 * scale:
        raise ValueError(f"{name} is a covariance, symmetric; it differs from its transpose")
    least = float(torch.linalg.eigvalsh(values)[0])
    if least < -1e-6 * scale or (definite and not least > 0):
        kind = "definite" if definite else "semidefinite"
        raise ValueError(f"{name} is a covariance, positive {kind}; its smallest eigenvalue is {least:g}")


def check_recording(data: Recording, measured: int) -> None:
    """Refuses data of the wrong kind, from shapes and dtypes alone.

    Raises:
        TypeError: not a ``Recording``, or not of real numbers.
        ValueError: shapes that do not belong together, or to the model.
    """
    if not isinstance(data, Recording):
        raise TypeError(f"a filter takes a Recording(values, present, begin); got a {type(data).__name__}")
    check_numbers(data.values, "values", "a filter", real=True)
    if data.values.ndim != 3 or data.values.shape[1] < 1:
        raise ValueError(f"values are (batch, T, m), at least one moment; got {tuple(data.values.shape)}")
    if data.values.shape[2] != measured:
        raise ValueError(
            f"values hold {data.values.shape[2]} numbers a moment, and the model measures {measured}: (batch, T, "
            f"{measured})"
        )
    if data.present is not None:
        if not isinstance(data.present, Tensor) or data.present.dtype is not torch.bool:
            raise TypeError("present says what was measured, a tensor of bool (batch, T, m)")
        batch, *rest = data.values.shape
        if data.present.ndim != 3 or [*data.present.shape[1:]] != rest or data.present.shape[0] not in (1, batch):
            raise ValueError(
                f"present is as values, {tuple(data.values.shape)}, or has one entry for all samples; got "
                f"{tuple(data.present.shape)}"
            )
    tree.batch_size(data, "data")


def root(covariance: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """A matrix A with A A^T = C, of any C that is positive semidefinite."""
    values, vectors = torch.linalg.eigh(covariance.detach().double())
    return (vectors * values.clamp_min(0).sqrt()).to(covariance)


def _jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Row by row, by forward-mode differentiation."""
    return torch.func.vmap(torch.func.jacfwd(lambda row: function(row.unsqueeze(0)).squeeze(0)))(x)
