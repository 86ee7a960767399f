"""Prox-linear descent for least absolute values: robust estimation of the state of a power grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.power.meters import PowerMeasurement
from unrolling.algorithms.power.priors import StatePrior, check_prior, whole_precision
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_count, check_numbers, check_range, check_shape
from unrolling.core.deploy.registry import FusedLayers, register


class Estimated(NamedTuple):
    """The state of an estimator of voltages."""

    voltage: Tensor  # v = [Re V; Im V] (batch, 2 N), per unit
    dual: Tensor  # u (batch, M): 0 where a meter agrees, at a clip level where it does not


class StateEstimator(Iteration):
    """What estimators of v from readings z of M meters have in common: readings (batch, M) per unit (of voltages their
    squares) as data, a nominal state as the start, and an estimate that is turned until the slack's angle is 0.

    Args:
        measurement: h, with the standard deviation of each meter.
        nominal: v where it starts (1, 2 N) or (2 N,), such as the mean of past states, or 1 at all buses.
    """

    nominal: Tensor

    def __init__(self, measurement: PowerMeasurement, nominal: Tensor) -> None:
        super().__init__()
        nominal = nominal.detach().to(measurement.rows).reshape(1, -1)
        if nominal.shape[1] != measurement.size:
            raise ValueError(f"nominal has {nominal.shape[1]} numbers; a state has {measurement.size}")
        self.measurement = measurement
        self.register_buffer("nominal", nominal)

    def check(self, data: Tensor) -> None:
        check_numbers(data, "data", type(self).__name__, real=True)
        check_shape(data, (self.measurement.measured,), type(self).__name__, "input", "data")

    def start(self, problem: Float[Tensor, "batch M"]) -> Estimated:
        """The nominal state."""
        return Estimated(self.nominal.repeat(problem.shape[0], 1), torch.zeros_like(problem))

    def estimate(self, state: Estimated, problem: Tensor) -> Float[Tensor, "batch n"]:
        """v with the slack's angle at 0."""
        return turned(state.voltage, self.measurement.grid.slack)

    def residual(self, new: Estimated, old: Estimated, problem: Tensor) -> Float[Tensor, " batch"]:
        """The relative change of v; u only accompanies it."""
        return tree.relative_change(new.voltage, old.voltage)

    def whitened(self, voltage: Tensor, problem: Tensor) -> Float[Tensor, "batch M"]:
        """(z - h(v)) / sigma."""
        return (problem - self.measurement(voltage)) / self.measurement.deviation


class ProxLinear(StateEstimator):
    """Prox-linear descent on (1/M) (sum_m |z_m - h_m(v)| / sigma_m + kappa (v - m)^T P^-1 (v - m) / 2), one step for
    one convex subproblem:

    v+ = v + argmin_w |r - A w|_1 + kappa w^T P^-1 (v - m) + w^T C^-1 w / (2 rho),  r = (z - h(v)) / sigma, A = A(v) /
    sigma, by K projected gradient steps on its dual from u = 0: u <- clip(u + eta_k (r - A w), -tau_k, tau_k), where
    w = rho C (A^T u + kappa P^-1 (m - v)).

    Zhang, Wang and Giannakis 2019, doi:10.1109/TSP.2019.2926023, section III, there with C = I, rho = mu / M, tau = 1
    and without the prior, a normal distribution of mean m and covariance P (kappa = 0). Since clip(a) = a - soft(a), a
    step has the form u <- act(W u + B z + b). A metric C near the inverse of A^T A makes rho A C A^T well conditioned,
    so that few steps are enough; with K = 1 and no prior the step is then Huber's (modified residuals, clipped at 1 /
    eta). Objective and voltages are those of any metric.

    Parameters: ``step_size`` eta (K,), ``clip`` tau (K,), 1 at the start, ``radius`` rho, with a prior ``pull`` kappa;
    positive, 2 K + 1 or 2 K + 2 numbers.

    Args:
        measurement: h, with the standard deviation of each meter.
        nominal: v where it starts.
        inner: K.
        radius: rho; by default the largest at which the objective is sure not to rise if the subproblem is solved
            (``safe_radius``; half of it with a prior), which is small.
        step_size: eta; 1 / (rho |A C A^T|) at the nominal state by default.
        metric: C (2 N, 2 N), symmetric, positive semidefinite; the identity by default.
        prior: of v; none by default. It takes a metric C <= P, such as ``metric_of`` gives with the same prior.
        pull: kappa; 1 / (2 rho) by default, the largest at which the objective is sure not to rise.

    Raises:
        ValueError: sizes that do not fit, K < 1, a radius, step size or pull that is not positive; a prior without a
            metric, a pull without a prior.
    """

    metric: Tensor | None
    precision: Tensor | None
    returning: Tensor | None
    center: Tensor | None
    step_size: Tensor
    clip: Tensor
    radius: Tensor
    pull: Tensor

    def __init__(
        self,
        measurement: PowerMeasurement,
        nominal: Tensor,
        *,
        inner: int = 3,
        radius: float | None = None,
        step_size: float | None = None,
        metric: Tensor | None = None,
        prior: StatePrior | None = None,
        pull: float | None = None,
    ) -> None:
        super().__init__(measurement, nominal)
        check_count(inner, "inner")
        size, like = measurement.size, self.nominal
        if metric is not None and tuple(metric.shape) != (size, size):
            raise ValueError(f"a metric is (2 N, 2 N), here ({size}, {size}); got {tuple(metric.shape)}")
        if prior is not None:
            check_prior(prior, size)
        if prior is not None and metric is None:
            raise ValueError("a prior takes a metric, such as metric_of(measurement, nominal, prior)")
        if pull is not None and prior is None:
            raise ValueError("pull is the weight of a prior, and there is none")
        self.register_buffer("metric", None if metric is None else metric.detach().to(like))
        precision = None if prior is None else whole_precision(prior, measurement.grid.slack)
        self.register_buffer("precision", None if precision is None else precision.to(like))
        # P^-1 C in one: what C takes back of P^-1's large numbers is lost in single precision otherwise.
        returning = None if precision is None or metric is None else (precision @ metric.detach().double()).to(like)
        self.register_buffer("returning", returning)
        self.register_buffer("center", None if prior is None else prior.mean.detach().to(like).reshape(1, -1))
        if radius is None:
            radius = safe_radius(measurement, metric) / (1 if prior is None else 2)
        check_range(radius, "radius", 0.0, above=True)
        step_size = 1 / (radius * _gain(measurement, self.nominal, self.metric)) if step_size is None else step_size
        check_range(step_size, "step_size", 0.0, above=True)
        self.step_size = nn.Parameter(like.new_full((inner,), step_size))
        self.clip = nn.Parameter(like.new_ones(inner))
        self.radius = nn.Parameter(like.new_tensor(radius))
        names = ["step_size", "clip", "radius"]
        if prior is not None:
            pull = 0.5 / radius if pull is None else pull
            check_range(pull, "pull", 0.0, above=True)
            self.pull = nn.Parameter(like.new_tensor(pull))
            if torch.equal(self.nominal, prior.mean.to(like).reshape(1, -1)):
                self.unused_at_start = ("pull",)  # at the mean there is nothing to be pulled to
            names.append("pull")
        for name in names:
            constrain(self, name, Positive())

    def forward(self, state: Estimated, problem: Float[Tensor, "batch M"]) -> Estimated:
        deviation, radius, clips = self.measurement.deviation, self.radius, self.clip
        here = self.measurement.at(state.voltage)
        r = (problem - here.readings()) / deviation
        toward = None  # rho kappa C P^-1 (m - v)
        if self.returning is not None and self.center is not None:
            toward = (radius * self.pull) * ((self.center - state.voltage) @ self.returning)
        dual, move = torch.zeros_like(r), toward
        for k, step in enumerate(self.step_size.unbind()):
            left = r if move is None else r - here.forward_product(move) / deviation
            dual = dual + step * left if k else step * left
            dual = torch.minimum(torch.maximum(dual, -clips[k]), clips[k])
            move = here.adjoint_product(dual / deviation)
            move = radius * (move if self.metric is None else move @ self.metric)
            move = move if toward is None else toward + move
        assert move is not None
        return Estimated(state.voltage + move, dual)

    def objective(self, state: Estimated, problem: Tensor) -> Float[Tensor, " batch"]:
        """(1/M) (sum_m |z_m - h_m(v)| / sigma_m + kappa (v - m)^T P^-1 (v - m) / 2)."""
        value = self.whitened(state.voltage, problem).abs().mean(1)
        if self.precision is None or self.center is None:
            return value
        off = state.voltage - self.center
        return value + self.pull * ((off @ self.precision) * off).sum(1) / (2 * problem.shape[1])

    def advice(self) -> str:
        return "a smaller radius, or more inner steps, keeps the objective from rising"


class LinearProx(StateEstimator):
    """``ProxLinear`` with A taken at the nominal state once and for all, so that every layer is dense maps of z, v and
    u: m = B z + E v + b, u <- clip(m, tau_1), K - 1 times u <- clip(m + W_k u, tau_k), v+ = v + D u + F v + f.

    At the start B = eta / sigma, E = -eta A (1 + F), b = eta (h(v_0) / sigma - A f) (as A(v_0) v_0 = 2 h(v_0)), W = I -
    eta rho A C A^T, D = rho C A^T, F = -rho kappa C P^-1 and f = -F m (0 without a prior): prox-linear descent on the
    readings that are linear in v around v_0. Learned, the maps are free (Zhang, Wang and Giannakis 2019,
    doi:10.1109/TSP.2019.2926023).

    Parameters: ``influence`` B (M, M), ``feedback`` E (M, 2 N), ``offset`` b (M,), ``mixing`` W (K - 1, M, M), ``clip``
    tau (K,), positive, ``readout`` D (2 N, M), ``transition`` F (2 N, 2 N), ``shift`` f (2 N,).

    Args:
        parent: whose values they take at the start.
    """

    algorithm = "ProxLinear"
    influence: Tensor
    feedback: Tensor
    offset: Tensor
    mixing: Tensor
    clip: Tensor
    readout: Tensor
    transition: Tensor
    shift: Tensor

    def __init__(self, parent: ProxLinear) -> None:
        super().__init__(parent.measurement, parent.nominal)
        eta, rho = parent.step_size.detach(), parent.radius.detach()
        h, sigma = self.measurement, self.measurement.deviation
        rows = h.jacobian(self.nominal)[0] / sigma.unsqueeze(1)
        spread = rows if parent.metric is None else rows @ parent.metric
        eye = torch.eye(h.measured, dtype=rows.dtype, device=rows.device)
        transition, shift = rows.new_zeros(h.size, h.size), rows.new_zeros(h.size)
        if parent.returning is not None and parent.center is not None:
            transition = -rho * parent.pull.detach() * parent.returning.T
            shift = -(transition @ parent.center[0])
        self.influence = nn.Parameter(eta[0] * torch.diag(1 / sigma))
        self.feedback = nn.Parameter(-eta[0] * (rows + rows @ transition))
        self.offset = nn.Parameter(eta[0] * (h(self.nominal)[0] / sigma - rows @ shift))
        self.mixing = nn.Parameter(
            torch.stack([*(eye - step * rho * rows @ spread.T for step in eta[1:])])
            if len(eta) > 1
            else rows.new_zeros(0, *eye.shape)
        )
        self.clip = nn.Parameter(parent.clip.detach().clone())
        self.readout = nn.Parameter(rho * spread.T.contiguous())
        self.transition, self.shift = nn.Parameter(transition.contiguous()), nn.Parameter(shift)
        constrain(self, "clip", Positive())

    def forward(self, state: Estimated, problem: Float[Tensor, "batch M"]) -> Estimated:
        clips, v = self.clip, state.voltage
        pull = problem @ self.influence.T + v @ self.feedback.T + self.offset
        dual = torch.minimum(torch.maximum(pull, -clips[0]), clips[0])
        for k, mixing in enumerate(self.mixing.unbind(), 1):
            dual = dual @ mixing.T + pull
            dual = torch.minimum(torch.maximum(dual, -clips[k]), clips[k])
        return Estimated(v + dual @ self.readout.T + (v @ self.transition.T + self.shift), dual)


def turned(state: Float[Tensor, "batch n"], slack: int) -> Float[Tensor, "batch n"]:
    """The same voltages with the slack's angle at 0."""
    real, imaginary = state.chunk(2, 1)
    x, y = real[:, slack : slack + 1], imaginary[:, slack : slack + 1]
    size = (x * x + y * y).sqrt()
    cosine, sine = x / size, y / size
    return torch.cat([real * cosine + imaginary * sine, imaginary * cosine - real * sine], 1)


@torch.no_grad()
def safe_radius(measurement: PowerMeasurement, metric: Tensor | None = None) -> float:
    """The largest rho = mu / M at which prox-linear descent cannot raise its objective: 1 / (2 lambda_max(sum_m |H_m| /
    sigma_m)), |H| the spectral absolute value, in the metric.
    """
    matrices = measurement.matrices().double() / measurement.deviation.double()[:, None, None]
    if metric is not None:
        values, vectors = torch.linalg.eigh(metric.double())
        root = vectors * values.clamp_min(0).sqrt()
        matrices = root.mT @ matrices @ root
    values, vectors = torch.linalg.eigh(matrices)
    total = ((vectors * values.abs().unsqueeze(1)) @ vectors.mT).sum(0)
    return float(1 / (2 * torch.linalg.eigvalsh(total)[-1]))


@torch.no_grad()
def _gain(measurement: PowerMeasurement, nominal: Tensor, metric: Tensor | None) -> float:
    """|A C A^T| at the nominal state."""
    rows = measurement.jacobian(nominal)[0].double() / measurement.deviation.double().unsqueeze(1)
    spread = rows if metric is None else rows @ metric.double()
    return float(torch.linalg.matrix_norm(spread @ rows.T, 2))


def _grid_steps(layers: Sequence[ProxLinear]) -> FusedLayers | None:
    from unrolling.algorithms.kernels.grid_steps import GridSteps

    steps = GridSteps.of(layers)
    if steps is None:
        return None

    def run(readings: Tensor, state: Estimated | None) -> Estimated | None:
        found = steps(readings, None if state is None else state.voltage)
        return None if found is None else Estimated(*found)

    return run


register(ProxLinear, _grid_steps)
