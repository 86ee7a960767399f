"""KalmanNet: a Kalman filter whose gain comes from a small recurrent network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.dynamics.kalman import Filter, Track, corrected, place, written
from unrolling.algorithms.dynamics.state_space import Recording
from unrolling.core.arguments import check_count, check_input, check_range
from unrolling.core.naming import class_name
from unrolling.core.refusals import explain_call


class Tracked(NamedTuple):
    """The state of ``KalmanNet``: the filter's, what the network remembers, and what the last moment left for it."""

    mean: Tensor  # (batch, n)
    covariance: Tensor  # the filter's, (batch, n, n)
    moment: int  # moments of the stream that were seen
    trajectory: Tensor  # (batch, T, n)
    hidden: Tensor  # (batch, units)
    measurement: Tensor  # the last one, (batch, m)
    evolution: Tensor  # m_t - m_(t-1), (batch, n)
    update: Tensor  # m_t - f(m_(t-1)), (batch, n)


@explain_call
class GainNetwork(nn.Module):
    """What is added to the gain: a gated recurrent unit of four differences, each asinh(d / scale), and a linear map
    that is zero at the start.

    The differences are those of Revach et al. 2022, section III-C: between two measurements (F1), the innovation (F2),
    and of the moment before how far the mean went (F3) and was corrected (F4). asinh keeps their size where they are
    small and its logarithm where they are large.

    Args:
        size: n, of a state.
        measured: m, of a measurement.
        units: of the gated recurrent unit.
        scale: of the differences; the standard deviation of the measurement noise, or its order of magnitude.
        seed: of the weights, uniform as torch has them.

    Raises:
        ValueError: a size below 1, a scale that is not positive.
    """

    scale: Tensor

    def __init__(self, size: int, measured: int, units: int = 32, scale: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        for value, name in ((size, "size"), (measured, "measured"), (units, "units")):
            check_count(value, name)
        check_range(scale, "scale", 0.0, above=True)
        self.size, self.measured, self.units = size, measured, units
        self.register_buffer("scale", torch.tensor(float(scale)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.cell = nn.GRUCell(2 * size + 2 * measured, units)
            self.outer = nn.Linear(units, size * measured)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(
        self, differences: Float[Tensor, "batch d"], hidden: Float[Tensor, "batch units"]
    ) -> tuple[Float[Tensor, "batch n m"], Float[Tensor, "batch units"]]:
        """What is added to the gain, and what is remembered; d = 2 n + 2 m."""
        check_input(self, differences, "differences", 2 * self.size + 2 * self.measured)
        hidden = self.cell(torch.asinh(differences / self.scale), hidden)
        return self.outer(hidden).unflatten(1, (self.size, self.measured)), hidden


class KalmanNet(Filter):
    """m+ = f(m) + (K + D) (y - h(f(m))), K the gain of a filter and D that of a recurrent network, zero at the start:
    untrained it is the filter to the bit.

    Revach, Shlezinger, Ni, Escoriza, van Sloun and Eldar 2022, doi:10.1109/TSP.2022.3158588, arXiv:2107.10043,
    architecture #1 with all four differences. There the whole gain comes out of the network, and the noises are not
    known. That is this class around a ``SteadyKalmanFilter``, whose gain is then the offset that the network starts
    from; around an ``ExtendedKalmanFilter`` the network corrects the gain that follows from the model, the covariances
    being the filter's own.

    Parameters: ``network``; those of the filter.

    Args:
        filter: whose gain is corrected.
        network: (differences (batch, 2 n + 2 m), hidden (batch, units)) -> (D (batch, n, m), hidden), with its
            ``units``.
        relative: K exp(D), entry by entry, in the place of K + D: every entry keeps its sign, which in models whose
            measurements turn with the state says what is up; D does not know the state.
    """

    def __init__(self, filter: Filter, network: GainNetwork, *, relative: bool = False) -> None:
        super().__init__(filter.model)
        self.relative = relative
        self.filter, self.network = filter, network
        self.algorithm = filter.algorithm or class_name(filter)

    def start(self, problem: Recording) -> Tracked:
        """The filter's start; the network remembers nothing, and takes what the start leads to expect for the
        measurement before the first.
        """
        begun: Track = self.filter.start(problem)
        zero = torch.zeros_like(begun.mean)
        hidden = zero.new_zeros(zero.shape[0], self.network.units)
        return Tracked(*begun, hidden, self.model.measure(begun.mean), zero, zero)

    def forward(self, state: Tracked, problem: Recording) -> Tracked:
        index = place(state.moment, state.trajectory, problem)
        forecast = self.filter.forecast(state.mean, state.covariance, index, problem)
        measurement = problem.values[:, index]
        seen = None if problem.present is None else problem.present[:, index]
        if seen is not None:  # as if what was measured last were still so
            measurement = torch.where(seen, measurement, state.measurement)
        differences = [measurement - state.measurement, forecast.innovation, state.evolution, state.update]
        correction, hidden = self.network(torch.cat(differences, 1), state.hidden)
        if seen is not None:
            correction = torch.where(seen.unsqueeze(1), correction, 0)
        gain = forecast.gain * correction.exp() if self.relative else forecast.gain + correction
        mean = corrected(forecast.mean, gain, forecast.innovation)
        return Tracked(
            mean,
            forecast.covariance,
            state.moment + 1,
            written(state.trajectory, mean, index, problem),
            hidden,
            measurement,
            mean - state.mean,
            mean - forecast.mean,
        )
