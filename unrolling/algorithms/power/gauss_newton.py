"""Weighted least squares for the state of a power grid, by Gauss-Newton."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.power.meters import PowerMeasurement
from unrolling.algorithms.power.priors import StatePrior, check_prior, precision_of_prior
from unrolling.algorithms.power.prox_linear import Estimated, StateEstimator
from unrolling.core.arguments import check_range


class GaussNewton(StateEstimator):
    """A step of Gauss-Newton on sum_m (z_m - h_m(v))^2 / sigma_m^2, v+ = v + (A^T W A + P^-1)^-1 (A^T W r + P^-1 (m -
    v)), A = A(v) / sigma, r = (z - h(v)) / sigma, by a Cholesky factor for each sample; the slack's angle stays.

    W = I; with ``huber`` W_m = min(1, huber / |r_m|), which is iteratively reweighted least squares for Huber's loss
    (Huber 1964, doi:10.1214/aoms/1177703732). m and P are the mean and covariance of ``prior``; none by default. From a
    flat state, V = 1, this is the classical estimator (Schweppe and Wildes 1970, doi:10.1109/TPAS.1970.292678); from a
    state a moment ago it is the warm one. NaN where the matrix is not positive definite.

    Args:
        measurement: h, with the standard deviation of each meter.
        nominal: v where it starts.
        prior: of v.
        huber: threshold in standard deviations.

    Raises:
        ValueError: sizes that do not fit, a threshold that is not positive.
    """

    precision: Tensor | None
    center: Tensor | None

    def __init__(
        self,
        measurement: PowerMeasurement,
        nominal: Tensor,
        *,
        prior: StatePrior | None = None,
        huber: float | None = None,
    ) -> None:
        super().__init__(measurement, nominal)
        if huber is not None:
            check_range(huber, "huber", 0.0, above=True)
        size, slack = measurement.size, measurement.grid.slack
        if prior is not None:
            check_prior(prior, size)
        self.huber = huber
        self.free = [n for n in range(size) if n != size // 2 + slack]
        precision = center = None
        if prior is not None:
            precision = precision_of_prior(prior, slack).to(self.nominal)
            center = prior.mean.detach().to(self.nominal).reshape(1, -1)
        self.register_buffer("precision", precision)
        self.register_buffer("center", center)

    def forward(self, state: Estimated, problem: Float[Tensor, "batch M"]) -> Estimated:
        sigma, v, free = self.measurement.deviation, state.voltage, self.free
        rows = (self.measurement.jacobian(v) / sigma.unsqueeze(1))[:, :, free]
        r = self.whitened(v, problem)
        weights = None if self.huber is None else self.huber / r.abs().clamp_min(self.huber)
        weighted = rows if weights is None else rows * weights.unsqueeze(2)
        normal = weighted.mT @ rows
        side = (weighted.mT @ r.unsqueeze(2)).squeeze(2)
        if self.precision is not None and self.center is not None:
            normal = normal + self.precision
            side = side + (self.center - v)[:, free] @ self.precision
        factor, failed = torch.linalg.cholesky_ex(normal)
        step = torch.cholesky_solve(side.unsqueeze(2), factor).squeeze(2)
        step = torch.where(failed.unsqueeze(1) == 0, step, torch.nan)  # what is seen there does not determine a step
        return Estimated(v.index_add(1, torch.tensor(free, device=v.device), step), r)

    def objective(self, state: Estimated, problem: Tensor) -> Float[Tensor, " batch"]:
        """Half the sum of squares of whitened residuals (Huber's function of them with ``huber``), and of the prior."""
        r = self.whitened(state.voltage, problem)
        value = (
            0.5 * r.square()
            if self.huber is None
            else torch.nn.functional.huber_loss(r, torch.zeros_like(r), reduction="none", delta=self.huber)
        )
        total = value.sum(1)
        if self.precision is not None and self.center is not None:
            off = (state.voltage - self.center)[:, self.free]
            total = total + 0.5 * ((off @ self.precision) * off).sum(1)
        return total

    def advice(self) -> str:
        return "start nearer to the state; from a flat start Gauss-Newton can fail where readings are far off"


@torch.no_grad()
def metric_of(measurement: PowerMeasurement, nominal: Tensor, prior: StatePrior | None = None) -> Float[Tensor, "n n"]:
    """(A^T A + P^-1)^-1 at a nominal state, A whitened, zero in what is not free: a metric for ``ProxLinear`` in which
    |A C A^T| <= 1.

    Raises:
        ValueError: without a prior, meters that leave a state unseen.
    """
    size, slack = measurement.size, measurement.grid.slack
    free = [n for n in range(size) if n != size // 2 + slack]
    rows = measurement.jacobian(nominal.to(measurement.rows).reshape(1, -1))[0].double()
    rows = (rows / measurement.deviation.double().unsqueeze(1))[:, free]
    normal = rows.T @ rows + (0 if prior is None else precision_of_prior(prior, slack))
    factor, failed = torch.linalg.cholesky_ex(normal)
    if int(failed):
        raise ValueError(
            "the meters do not determine the state, and there is no prior (`check_observable` names the bus)"
        )
    metric = torch.zeros(size, size, dtype=torch.float64)
    index = torch.tensor(free)
    metric[index[:, None], index] = torch.cholesky_inverse(factor)
    return metric.to(measurement.rows)
