"""Kalman filters: the state of a moving system from what was measured so far, a step for each moment."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.dynamics.state_space import LinearModel, Recording, StateSpace, check_recording
from unrolling.core import Iteration, Positive, Unrolled, constrain
from unrolling.core.arguments import check_range


class Track(NamedTuple):
    """The state of a filter: what is known at a moment, and the means of all moments up to it."""

    mean: Tensor  # E[x_t | y_1 ... y_t] (batch, n)
    covariance: Tensor  # of it, (batch, n, n)
    moment: int  # t, moments of the stream that were seen
    trajectory: Tensor  # (batch, T, n): the means of this recording, zero from the present moment on


class Forecast(NamedTuple):
    """What a filter makes of a moment before it corrects the mean."""

    mean: Tensor  # f(x) (batch, n)
    innovation: Tensor  # y - h(f(x)) (batch, m), zero where nothing was measured
    gain: Tensor  # K (batch, n, m), zero in the columns of what was not measured
    covariance: Tensor  # after the correction by this gain, (batch, n, n)


class Filter(Iteration):
    """One step for one moment of a recording: m+ = f(m) + K (y - h(f(m))), K by ``forecast``, which a subclass writes.

    T steps go through a recording of T moments; ``solve`` stops there, and ``track`` runs as many. The estimate is the
    means of all moments, (batch, T, n); of moments that are still to come it is the last mean. A stream goes on where a
    piece of it ended: the next piece says where it ``begin``s.

    Args:
        model: f, h, Q, R and the start, in the precision of the data.

    Raises:
        TypeError: no model.
        ValueError: in a run: a moment that the recording does not hold.
    """

    def __init__(self, model: StateSpace) -> None:
        super().__init__()
        if not isinstance(model, StateSpace):
            raise TypeError(f"a filter is made around a StateSpace, such as a LinearModel; got {type(model).__name__}")
        self.model = model

    def start(self, problem: Recording) -> Track:
        """What is known before the first measurement."""
        batch, length, _ = problem.values.shape
        model = self.model
        return Track(
            model.mean.repeat(batch, 1),
            model.covariance.repeat(batch, 1, 1),
            problem.begin,
            problem.values.new_zeros(batch, length, model.size),
        )

    def forward(self, state: Track, problem: Recording) -> Track:
        index = place(state.moment, state.trajectory, problem)
        forecast = self.forecast(state.mean, state.covariance, index, problem)
        mean = corrected(forecast.mean, forecast.gain, forecast.innovation)
        return Track(mean, forecast.covariance, state.moment + 1, written(state.trajectory, mean, index, problem))

    def forecast(self, mean: Tensor, covariance: Tensor, index: int, problem: Recording) -> Forecast:
        """Forecast, innovation, gain and what the covariance becomes, at a moment of the recording."""
        raise NotImplementedError(f"{type(self).__name__} is a Filter without `forecast`")

    def estimate(self, state: Any, problem: Recording) -> Float[Tensor, "batch T n"]:
        """The means of all moments; of those that are still to come, the last one."""
        length = problem.values.shape[1]
        index = state.moment - problem.begin
        if index >= length:
            return state.trajectory
        return torch.cat([state.trajectory[:, :index], state.mean.unsqueeze(1).expand(-1, length - index, -1)], 1)

    def residual(self, new: Any, old: Any, problem: Recording) -> Float[Tensor, " batch"]:
        """Infinite until the recording is at its end, then 0; NaN where the mean is."""
        left = 0.0 if new.moment - problem.begin >= problem.values.shape[1] else torch.inf
        lost = new.mean.isnan().any(1)
        return torch.where(lost, torch.nan, left).to(new.mean)

    def check(self, data: Recording) -> None:
        check_recording(data, self.model.measured)

    def advice(self) -> str:
        return (
            "the model may be unstable, or so far off that its linear form says nothing; a larger process_scale trusts "
            "it less"
        )


class ExtendedKalmanFilter(Filter):
    """One step for one moment of a recording, F and H the derivatives of f at the mean and of h at the forecast:

    m- = f(m), P- = F P F^T + q Q;  S = H P- H^T + R, K = P- H^T S^-1;  m+ = m- + K (y - h(m-)), P+ = (I - K H) P- (I
    - K H)^T + K R K^T (Joseph's form, which keeps P+ a covariance whatever the rounding).

    Kalman 1960, doi:10.1115/1.3662552; Anderson and Moore 1979, Optimal Filtering, ch. 8; box "Neural Network Training
    Using Extended Kalman Filter" of the survey has the same step with the weights of a network as the state. What was
    not measured at a moment takes no part in it: its rows of H are zero.

    Parameters: ``process_scale`` q, positive; 1 at the start. To learn it is to tune the filter.

    Args:
        model: f, h, Q, R and the start, in the precision of the data.
        process_scale: q.

    Raises:
        ValueError: q <= 0; in a run: a moment that the recording does not hold.
    """

    process_scale: Tensor

    def __init__(self, model: StateSpace, process_scale: float | Tensor = 1.0) -> None:
        super().__init__(model)
        check_range(process_scale, "process_scale", 0.0, above=True)
        self.process_scale = nn.Parameter(torch.as_tensor(process_scale, dtype=model.mean.dtype))
        constrain(self, "process_scale", Positive())

    def forecast(self, mean: Tensor, covariance: Tensor, index: int, problem: Recording) -> Forecast:
        """Forecast, innovation, gain and what the covariance becomes, at a moment of the recording."""
        model = self.model
        jacobian = model.move_jacobian(mean)
        mean = model.move(mean)
        covariance = jacobian @ covariance @ jacobian.mT + self.process_scale * model.process_noise
        rows, noise = model.measure_jacobian(mean), model.measurement_noise
        innovation = problem.values[:, index] - model.measure(mean)
        if problem.present is not None:
            seen = problem.present[:, index]
            innovation = torch.where(seen, innovation, 0)
            mask = seen.to(rows).unsqueeze(2)
            # A noise of one of its own in the place of what is missing keeps S regular, and meets zeros alone.
            noise = mask * noise * mask.mT + torch.diag_embed(1 - mask.squeeze(2))
            rows = mask * rows
        gain = self.gain(covariance, rows, noise)
        rest = torch.eye(model.size, dtype=mean.dtype, device=mean.device) - gain @ rows
        covariance = rest @ covariance @ rest.mT + gain @ noise @ gain.mT
        return Forecast(mean, innovation, gain, covariance)

    def gain(self, covariance: Tensor, rows: Tensor, noise: Tensor) -> Float[Tensor, "batch n m"]:
        """K = P H^T (H P H^T + R)^-1."""
        crossed = rows @ covariance
        factor, _ = torch.linalg.cholesky_ex(crossed @ rows.mT + noise)
        return torch.cholesky_solve(crossed, factor).mT


class KalmanFilter(ExtendedKalmanFilter):
    """``ExtendedKalmanFilter`` of a linear model, whose means and covariances are those of the distribution of x_t
    given y_1 to y_t.

    Kalman 1960, doi:10.1115/1.3662552.

    Parameters: ``process_scale`` q, positive; 1 at the start.

    Args:
        model: F, H, Q, R and the start.
        process_scale: q.

    Raises:
        TypeError: a model that is not linear.
    """

    def __init__(self, model: LinearModel, process_scale: float | Tensor = 1.0) -> None:
        if not isinstance(model, LinearModel):
            raise TypeError(
                f"a KalmanFilter is for a LinearModel, and this is a {type(model).__name__}: take ExtendedKalmanFilter"
            )
        super().__init__(model, process_scale)


class SteadyKalmanFilter(Filter):
    """A filter whose gain is the same at all moments: by default the limit of the Kalman gain, so that it is as good
    as the Kalman filter once the start is forgotten, and no covariance is worked out on the way.

    The field ``covariance`` of its state stays what it is at the start. Of a nonlinear model the gain is that of its
    linear form at the mean of the start.

    Parameters: ``steady_gain`` K (n, m).

    Args:
        model: f, h, Q, R and the start.
        steady_gain: K; by default ``steady_gain_of(model)``.

    Raises:
        ValueError: another shape; a model whose gain has no limit.
    """

    def __init__(self, model: StateSpace, steady_gain: Tensor | None = None) -> None:
        super().__init__(model)
        wanted = (model.size, model.measured)
        gain = steady_gain_of(model) if steady_gain is None else steady_gain
        if tuple(gain.shape) != wanted:
            raise ValueError(f"a gain is (n, m), here {wanted}; got {tuple(gain.shape)}")
        self.steady_gain = nn.Parameter(gain.detach().clone())

    def forecast(self, mean: Tensor, covariance: Tensor, index: int, problem: Recording) -> Forecast:
        mean = self.model.move(mean)
        innovation = problem.values[:, index] - self.model.measure(mean)
        gain = self.steady_gain.expand(mean.shape[0], -1, -1)
        if problem.present is not None:
            seen = problem.present[:, index]
            innovation, gain = torch.where(seen, innovation, 0), torch.where(seen.unsqueeze(1), gain, 0)
        return Forecast(mean, innovation, gain, covariance)


def steady_gain_of(
    model: StateSpace, process_scale: float = 1.0, tolerance: float = 1e-13, most: int = 100_000
) -> Float[Tensor, "n m"]:
    """The limit of the Kalman gain of a model, linear or taken as linear at the mean of its start: K = P H^T (H P H^T +
    R)^-1, P = F P F^T + Q - F P H^T (H P H^T + R)^-1 H P F^T, by repeating the filter's own step in double precision.

    Args:
        model: f, h, Q, R and the start.
        process_scale: Q is taken so many times.
        tolerance: relative change of P at which it is at its limit.
        most: steps.

    Raises:
        ValueError: P has no limit: something grows that is not measured.
    """
    at = model.mean.detach().unsqueeze(0)
    f, q = model.move_jacobian(at)[0].detach().double(), process_scale * model.process_noise.detach().double()
    h = model.measure_jacobian(model.move(at))[0].detach().double()
    r, p = model.measurement_noise.detach().double(), model.covariance.detach().double()
    for _ in range(most):
        before = p
        p = f @ p @ f.mT + q
        gain = torch.linalg.solve(h @ p @ h.mT + r, h @ p).mT
        rest = torch.eye(len(f), dtype=torch.float64) - gain @ h
        p = rest @ p @ rest.mT + gain @ r @ gain.mT
        if not bool(torch.isfinite(p).all()):
            break
        if float((p - before).abs().amax()) <= tolerance * float(p.abs().amax()):
            return gain.to(model.mean)
    raise ValueError(
        f"the gain of this {type(model).__name__} has no limit within {most:,} moments: what is not measured may grow "
        "without bound; give a gain"
    )


def corrected(mean: Tensor, gain: Tensor, innovation: Tensor) -> Float[Tensor, "batch n"]:
    """m + K e."""
    return mean + (gain @ innovation.unsqueeze(2)).squeeze(2)


def place(moment: int, trajectory: Tensor, problem: Recording) -> int:
    """Where in the recording the next moment lies.

    Raises:
        ValueError: the recording does not hold it, or the state is in the midst of another recording.
    """
    length = problem.values.shape[1]
    index = moment - problem.begin
    if 0 <= index < length and (index == 0 or trajectory.shape[1] == length):
        return index
    if index == length:
        raise ValueError(
            f"the recording has {length} moments, and all of them are done: a network with more layers is run with "
            f"layers=range({length}), or by `track`; the next piece of a stream says where it begins, "
            f"Recording(values, begin={moment})"
        )
    raise ValueError(
        f"the state has seen {moment} moments, and the recording holds {length} from {problem.begin} on: give the "
        f"piece of the stream that follows, Recording(values, begin={moment})"
    )


def written(trajectory: Tensor, mean: Tensor, index: int, problem: Recording) -> Float[Tensor, "batch T n"]:
    """The trajectory with the mean of a moment in its place; a new one at the first moment of a recording."""
    if index == 0:
        trajectory = mean.new_zeros(mean.shape[0], problem.values.shape[1], *mean.shape[1:])
    return torch.slice_scatter(trajectory, mean.unsqueeze(1), 1, index, index + 1)


def track(
    network: Iteration | Unrolled[Any], recording: Recording, state: Any = None
) -> tuple[Float[Tensor, "batch T n"], Any]:
    """The means at all moments of a recording of any length, and the state at its end, with which the next piece of the
    stream goes on: where it begins is taken from the state.

    Args:
        network: a filter, or a network of one in which nothing is untied.
        recording: T moments.
        state: at the end of what came before.

    Raises:
        ValueError: a network with parameters for each layer and less layers than the recording has moments.
    """
    if state is not None:
        recording = recording._replace(begin=int(state.moment))
    if isinstance(network, Unrolled):
        state = network.run(recording, state=state, layers=range(recording.values.shape[1]))
        layer = network.layers[0]
        return layer.estimate(state, layer.prepare(recording)), state
    network.check(recording)
    problem = network.prepare(recording)
    state = network.start(problem) if state is None else state
    for _ in range(recording.values.shape[1]):
        state = network(state, problem)
    return network.estimate(state, problem), state
