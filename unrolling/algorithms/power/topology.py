"""A branch that is out of service without anybody being told, found from readings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.power.gauss_newton import GaussNewton
from unrolling.algorithms.power.grid import outages
from unrolling.algorithms.power.meters import PowerMeasurement
from unrolling.algorithms.power.priors import StatePrior
from unrolling.core.arguments import check_count

STEPS = 12
HUBER = 1.5
MOST_OF_ONE = 8.0  # of a meter in the misfit: four standard deviations; a gross error counts no more
CLEAR = 16.0  # by how much less misfit of a state another topology is believed: two meters that are wrong no more
LEVEL = 4.6  # by how much less misfit of all states the best branch is told from another: odds of 100 to 1


class Outage(NamedTuple):
    """What readings say about the branches in service."""

    branch: int | None  # that seems to be out; None where nothing does
    gain: float  # by how much less misfit the readings of a state have with the best branch out, on average
    candidates: tuple[int, ...]  # the branches that readings do not tell from the best, this one first


@torch.no_grad()
def suspected_outage(
    measurement: PowerMeasurement, readings: Float[Tensor, "batch M"], prior: StatePrior, candidates: int = 30
) -> Outage:
    """Whether readings fit the grid clearly better with one branch out of service.

    For the grid as it is told, and with each branch out that may be, the state is estimated with Huber's loss and the
    prior; the misfit is the sum of min(r^2 / 2, 8) over meters, r in standard deviations. Of many branches those are
    tried at whose ends the readings fit worst. Branches that explain all states nearly as well as the best (by a misfit
    within ``LEVEL``) are not told from it: lines in a row or side by side with few meters between them.

    Args:
        measurement: h of the grid that is told.
        readings: of one or more states of one topology; the more, the better branches are told apart.
        prior: of states.
        candidates: the most branches that are tried.
    """
    check_count(candidates, "candidates")
    grid = measurement.grid
    told, residuals = _misfit(measurement, readings, prior)
    at_bus = torch.zeros(grid.size, dtype=residuals.dtype).index_add(0, measurement.bus, residuals)
    suspicion = at_bus[grid.ends].sum(1)
    able = sorted(outages(grid), key=lambda branch: -float(suspicion[branch]))[:candidates]
    gains = {branch: told - _misfit(measurement.to_grid(grid.without(branch)), readings, prior)[0] for branch in able}
    order = sorted(gains, key=lambda branch: -gains[branch])
    if not order or not gains[order[0]] > CLEAR:
        return Outage(None, gains[order[0]] if order else 0.0, ())
    best = gains[order[0]]
    near = tuple(branch for branch in order if readings.shape[0] * (best - gains[branch]) <= LEVEL)
    return Outage(order[0], best, near)


def _misfit(measurement: PowerMeasurement, readings: Tensor, prior: StatePrior) -> tuple[float, Tensor]:
    """Of a state, on average; and each meter's share."""
    method = GaussNewton(measurement, prior.mean, prior=prior, huber=HUBER)
    state = method.start(readings)
    for _ in range(STEPS):
        state = method(state, readings)
    each = (0.5 * method.whitened(state.voltage, readings).square()).clamp_max(MOST_OF_ONE)
    each = torch.nan_to_num(each, nan=MOST_OF_ONE).mean(0)
    return float(each.sum()), each
