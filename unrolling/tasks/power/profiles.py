"""Load over time: generated, and the power flows that it leads to."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.algorithms.power.flows import power_flow
from unrolling.algorithms.power.grid import Grid
from unrolling.core.arguments import check_count

HOURS_OF_YEAR = 8760
# Of three kinds of customers, homes, shops and offices, works: hours of their peaks, their heights, the level at
# weekends, and by how much a winter is above the mean.
_KINDS = (
    (((7.5, 1.6, 0.35), (19.5, 2.4, 0.75)), 1.08, 0.18),
    (((10.0, 2.2, 0.7), (15.0, 2.8, 0.8)), 0.55, 0.08),
    (((9.0, 3.5, 0.35), (15.5, 3.5, 0.35)), 0.7, 0.03),
)
_SWING = 0.45  # of the daily shape against its mean
_WEATHER = (0.05, 0.97)  # standard deviation of what moves all loads together, and its correlation from hour to hour
_OWN = (0.06, 0.8)  # of what moves each by itself


def generated_profiles(hours: int, count: int, seed: int = 0) -> Float[Tensor, "T K"]:
    """So many load profiles by the hour, each of mean 1: the days, weeks and seasons of homes, shops or works, peaks
    up to an hour early or late, and two autoregressive parts, one of all loads together and one of each.

    Args:
        hours: T, from a Monday, 1 January, 0 h on.
        count: K.
        seed: of all that is random.
    """
    check_count(hours, "hours", 2)
    check_count(count, "count")
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(hours, dtype=torch.float64)
    season = torch.cos(2 * math.pi * (time / 24 - 15) / 365)
    weekend = ((time // 24) % 7) >= 5
    common = _autoregressive(hours, 1, *_WEATHER, generator)
    own = _autoregressive(hours, count, *_OWN, generator)
    late = 2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1
    kinds = torch.randint(len(_KINDS), (count,), generator=generator).tolist()
    columns = []
    for place, kind in enumerate(kinds):
        peaks, free_days, winter = _KINDS[kind]
        hour = torch.zeros_like(time)
        for at, width, height in peaks:
            away = (time - at - late[place] + 12) % 24 - 12
            hour = hour + height * torch.exp(-0.5 * (away / width).square())
        shape = 1 + _SWING * (hour - hour.mean()) / (hour.amax() - hour.amin())
        columns.append(shape * torch.where(weekend, free_days, 1.0) * (1 + winter * season))
    profile = torch.stack(columns, 1) * torch.exp(common + own)
    return profile / profile.mean(0)


def _autoregressive(hours: int, count: int, deviation: float, decay: float, generator: torch.Generator) -> Tensor:
    """x_t = a x_(t-1) + e, stationary, (hours, count)."""
    noise = torch.randn(hours, count, generator=generator, dtype=torch.float64) * deviation
    moved, value = [], noise[0]
    for shock in noise.unbind():
        value = decay * value + math.sqrt(1 - decay**2) * shock
        moved.append(value)
    return torch.stack(moved)


def loaded_voltages(
    grid: Grid, factors: Float[Tensor, "batch N"], generator: torch.Generator | None = None, spread: float = 0.0
) -> Complex[Tensor, "batch N"]:
    """Voltages where the loads are the grid's times factors, and generators but the slack's follow the total load;
    ``spread`` is the standard deviation of the logarithm of what else moves each load, each power factor and each
    generator (these two by half of it). NaN where there is no power flow.
    """
    table, shape = grid.buses, factors.shape

    def jitter(size: float) -> Tensor:
        if generator is None or not spread:
            return torch.ones(shape, dtype=torch.float64)
        return torch.exp(size * spread * torch.randn(shape, generator=generator, dtype=torch.float64))

    active = table[:, 0] * factors * jitter(1.0)
    reactive = table[:, 1] * factors * jitter(1.0) * jitter(0.5)
    share = active.sum(1, keepdim=True) / table[:, 0].sum()
    return power_flow(grid, torch.complex(active, reactive), table[:, 4] * share * jitter(0.5))
