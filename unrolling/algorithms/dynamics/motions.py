"""State-space models of systems whose equations of motion are known: a pendulum, the Lorenz attractor."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.dynamics.state_space import StateSpace
from unrolling.core.arguments import check_count, check_range, keep


class Pendulum(StateSpace):
    """Angle a (rad) and its rate b (rad/s) of a pendulum without friction, of whose place sin(a) is measured, in steps
    of D seconds: a <- a + D b, b <- b - D (g / l) sin(a).

    Saerkkae 2013, Bayesian Filtering and Smoothing, doi:10.1017/CBO9781139344203, example 3.7. Random accelerations
    with the spectral density q make Q = q [[D^3/3, D^2/2], [D^2/2, D]].

    Args:
        length: of the rod, l, in m.
        interval: D, in s.
        density: q, in rad^2/s^3.
        measurement_variance: of sin(a).
        mean: of the start, (a, b).
        spread: standard deviations at the start, (a, b).
        gravity: g, in m/s^2.

    Raises:
        ValueError: a length, an interval or a variance that is not positive.
    """

    def __init__(
        self,
        length: float = 1.0,
        interval: float = 0.05,
        density: float = 0.3,
        measurement_variance: float = 0.01,
        mean: tuple[float, float] = (1.0, 0.0),
        spread: tuple[float, float] = (0.2, 0.2),
        gravity: float = 9.81,
    ) -> None:
        for value, name in ((length, "length"), (interval, "interval"), (measurement_variance, "measurement_variance")):
            check_range(value, name, 0.0, above=True)
        check_range(density, "density", 0.0)
        d = interval
        super().__init__(
            density * torch.tensor([[d**3 / 3, d**2 / 2], [d**2 / 2, d]]),
            torch.tensor([[measurement_variance]]),
            torch.tensor(mean),
            torch.tensor(spread).square().diag(),
        )
        self.interval, self.pull = interval, gravity / length

    def move(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        angle, rate = x.unbind(1)
        return torch.stack([angle + self.interval * rate, rate - self.interval * self.pull * angle.sin()], 1)

    def measure(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 1"]:
        return x[:, :1].sin()

    def move_jacobian(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2 2"]:
        one = torch.ones_like(x[:, 0])
        rows = [one, self.interval * one, -self.interval * self.pull * x[:, 0].cos(), one]
        return torch.stack(rows, 1).unflatten(1, (2, 2))

    def measure_jacobian(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 1 2"]:
        return torch.stack([x[:, 0].cos(), torch.zeros_like(x[:, 0])], 1).unsqueeze(1)


class Lorenz(StateSpace):
    """The Lorenz attractor, dx/dt = A(x) x with A(x) = [[-10, 10, 0], [28, -1, -x_1], [0, x_1, -8/3]], in steps of D
    seconds by the Taylor series of order J, f(x) = sum_(j <= J) (D A(x))^j x / j!, measured through a matrix H.

    Lorenz 1963, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2; the steps are those of Revach et al. 2022,
    arXiv:2107.10043, section IV-D, with D = 0.02 and J = 5.

    Args:
        interval: D, in s.
        order: J.
        measurement: H (m, 3); the identity by default.
        process_variance: Q is so many times the identity.
        measurement_variance: R is so many times the identity.
        mean: of the start.
        spread: standard deviation of each number at the start.

    Raises:
        ValueError: an interval or a variance that is not positive, an order below 1, an H of another shape.
    """

    fixed: Tensor
    turning: Tensor
    measurement: Tensor

    def __init__(
        self,
        interval: float = 0.02,
        order: int = 5,
        measurement: Float[Tensor, "m 3"] | None = None,
        process_variance: float = 0.01,
        measurement_variance: float = 1.0,
        mean: tuple[float, float, float] = (1.0, 1.0, 1.0),
        spread: float = 1.0,
    ) -> None:
        for value, name in ((interval, "interval"), (measurement_variance, "measurement_variance")):
            check_range(value, name, 0.0, above=True)
        for value, name in ((process_variance, "process_variance"), (spread, "spread")):
            check_range(value, name, 0.0)
        check_count(order, "order")
        h = torch.eye(3) if measurement is None else measurement
        if h.ndim != 2 or h.shape[1] != 3:
            raise ValueError(f"H is (m, 3); got shape {tuple(h.shape)}")
        eye = torch.eye(3)
        super().__init__(
            process_variance * eye,
            measurement_variance * torch.eye(h.shape[0]),
            torch.tensor(mean),
            spread**2 * eye,
        )
        self.order, self.interval = order, interval
        self.register_buffer(
            "fixed", interval * torch.tensor([[-10.0, 10.0, 0.0], [28.0, -1.0, 0.0], [0.0, 0.0, -8 / 3]])
        )
        self.register_buffer("turning", interval * torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
        keep(self, "measurement", h)

    def move(self, x: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3"]:
        term = total = x
        for j in range(1, self.order + 1):
            term = (term @ self.fixed.mT + x[:, :1] * (term @ self.turning.mT)) / j
            total = total + term
        return total

    def measure(self, x: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch m"]:
        return x @ self.measurement.mT

    def move_jacobian(self, x: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
        """By the product rule, term by term: A(x) changes with x_1 alone."""
        matrix = self.fixed + x[:, :1, None] * self.turning
        first = torch.eye(3, dtype=x.dtype, device=x.device)
        term, slope = x, first.expand(x.shape[0], 3, 3)
        total = slope
        for j in range(1, self.order + 1):
            slope = (matrix @ slope + (term @ self.turning.mT).unsqueeze(2) * first[:1]) / j
            term = (matrix @ term.unsqueeze(2)).squeeze(2) / j
            total = total + slope
        return total

    def measure_jacobian(self, x: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch m 3"]:
        return self.measurement.expand(x.shape[0], -1, -1)
