"""The Rauch-Tung-Striebel smoother: the states of a system from all that was measured, before and after."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.dynamics.kalman import ExtendedKalmanFilter, corrected, place
from unrolling.algorithms.dynamics.state_space import Recording
from unrolling.core import Iteration


class Smoothed(NamedTuple):
    """The state of a smoother."""

    mean: Tensor  # of the moment that was done last, (batch, n)
    covariance: Tensor  # of it, (batch, n, n)
    moment: int  # steps that were taken
    trajectory: Tensor  # (batch, T, n): means
    covariances: Tensor  # (batch, T, n, n)


class RauchTungStriebel(Iteration):
    """T steps of a Kalman filter forward, then T - 1 steps backward, m' and P' being smoothed:

    G = P_t F^T (F P_t F^T + q Q)^-1;  m'_t = m_t + G (m'_(t+1) - f(m_t)), P'_t = P_t + G (P'_(t+1) - F P_t F^T - q Q)
    G^T, from m'_T = m_T, P'_T = P_T on.

    Rauch, Tung and Striebel 1965, doi:10.2514/3.3166. Of a linear model the result is the mean of all states given all
    measurements. The estimate is (batch, T, n): during the first T steps that of the filter. ``solve`` stops after 2 T
    - 1 steps. It sees the future, so that no stream goes on from its state.

    Parameters: those of the filter.

    Args:
        filter: forward; not a steady one, which has no covariances.

    Raises:
        ValueError: in a run: more than 2 T - 1 steps.
    """

    def __init__(self, filter: ExtendedKalmanFilter) -> None:
        super().__init__()
        self.filter = filter

    def start(self, problem: Recording) -> Smoothed:
        mean, covariance, _, trajectory = self.filter.start(problem)
        room = covariance.new_zeros(*trajectory.shape[:2], *covariance.shape[1:])
        return Smoothed(mean, covariance, 0, trajectory, room)

    def forward(self, state: Smoothed, problem: Recording) -> Smoothed:
        length = problem.values.shape[1]
        if state.moment < length:
            index = place(state.moment + problem.begin, state.trajectory, problem)
            forecast = self.filter.forecast(state.mean, state.covariance, index, problem)
            mean, covariance = corrected(forecast.mean, forecast.gain, forecast.innovation), forecast.covariance
        else:
            index = 2 * length - 2 - state.moment
            if index < 0:
                raise ValueError(
                    f"the recording has {length} moments, and a smoother is done after {2 * length - 1} steps"
                )
            mean, covariance = self.smoothed(state, index)
        return Smoothed(
            mean,
            covariance,
            state.moment + 1,
            torch.slice_scatter(state.trajectory, mean.unsqueeze(1), 1, index, index + 1),
            torch.slice_scatter(state.covariances, covariance.unsqueeze(1), 1, index, index + 1),
        )

    def smoothed(self, state: Smoothed, index: int) -> tuple[Tensor, Tensor]:
        """Mean and covariance of a moment, those of the next one being smoothed."""
        model = self.filter.model
        mean, covariance = state.trajectory[:, index], state.covariances[:, index]
        jacobian = model.move_jacobian(mean)
        crossed = jacobian @ covariance
        ahead = crossed @ jacobian.mT + self.filter.process_scale * model.process_noise
        gain = torch.linalg.solve(ahead, crossed).mT
        return (
            corrected(mean, gain, state.mean - model.move(mean)),
            covariance + gain @ (state.covariance - ahead) @ gain.mT,
        )

    def estimate(self, state: Smoothed, problem: Recording) -> Float[Tensor, "batch T n"]:
        """The means of all moments, as far as they are known."""
        if state.moment >= problem.values.shape[1]:
            return state.trajectory
        return self.filter.estimate(state._replace(moment=state.moment + problem.begin), problem)

    def residual(self, new: Smoothed, old: Smoothed, problem: Recording) -> Float[Tensor, " batch"]:
        """Infinite until the first moment is smoothed, then 0; NaN where the mean is."""
        left = 0.0 if new.moment >= 2 * problem.values.shape[1] - 1 else torch.inf
        return torch.where(new.mean.isnan().any(1), torch.nan, left).to(new.mean)

    def check(self, data: Recording) -> None:
        self.filter.check(data)

    def advice(self) -> str:
        return self.filter.advice()
