"""The state of a power grid an hour ahead, from the hours before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.power.forecast import VectorAutoregression, Window
from unrolling.algorithms.power.grid import rectangular
from unrolling.core.arguments import check_count
from unrolling.files.load_profiles import read_load_profiles
from unrolling.tasks.base import Samples, Task
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.power.cases import CASES, grid_of
from unrolling.tasks.power.estimation import PARTS, RootMeanSquare, squared_voltages
from unrolling.tasks.power.profiles import HOURS_OF_YEAR, generated_profiles, loaded_voltages

DAY = 24
OWN_NOISE = 0.01  # of loads from hour to hour, beside their profiles
STILL = 1e-6  # p.u.: what changes by less does not change
RIDGES = (1e-6, 1e-4, 1e-2, 1.0)


class GridForecast(Task):
    """Find v of the next hour from v of the ``past`` hours before, states being known.

    States are power flows of loads that follow a year by the hour, generated or of a file, with log-normal noise of 1
    %. The first eight of ten hours are for training, the next one of ten for validation, the last for tests; no window
    reaches from one part into another.

    Args:
        network: case14; case57 and case118 through pandapower (extra ``power``).
        past: hours of a window.
        hours: of the generated series.
        seed: of loads and noise.
        data: a file of load profiles by the hour (``read_load_profiles``); bus k takes column k mod K.
        fixed: tensors of a weights file.

    Raises:
        ValueError: an unknown network, a count out of range, a file that is no such series.
    """

    name = "grid_forecast"
    given = "the voltages of a power grid over the last hours"
    sought = "the voltages an hour ahead"
    metric = RootMeanSquare("RMSE", "p.u.", "lower", "hour", places=5, each=lambda e, s: squared_voltages(e, s))
    threads = 1
    vectors = False
    references = ("zhang2019real",)
    options: Mapping[str, Any] = {"network": "case14", "past": 10}

    def __init__(
        self,
        network: str = "case14",
        past: int = 10,
        hours: int = HOURS_OF_YEAR,
        seed: int = 0,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if network not in CASES:
            raise ValueError(f"network is {network!r}; there are {', '.join(CASES)}")
        check_count(past, "past")
        check_count(hours, "hours", 20 * (DAY + past))
        self.network, self.past, self.seed = network, past, seed
        self.source = None if data is None else Path(data).name
        self.grid = grid_of(network)
        if data is None:
            profiles = generated_profiles(hours, self.grid.size, 8_100_001 + seed)
        else:
            profiles = read_load_profiles(Path(data), 1.0, 20 * (DAY + past)).factors
        generator = torch.Generator().manual_seed(8_100_002 + seed)
        columns = torch.arange(self.grid.size) % profiles.shape[1]
        voltage = loaded_voltages(self.grid, profiles[:, columns], generator, OWN_NOISE)
        lost = voltage.real.isnan().any(1)
        if bool(lost.any()):
            raise ValueError(
                f"the loads of hour {int(lost.nonzero()[0])} and {int(lost.sum()) - 1} more have no power flow: they "
                "are too far from those of the network"
            )
        self.series = rectangular(voltage).float()
        cuts = [0, *(int(share * len(profiles)) for share in PARTS), len(profiles)]
        self.train = range(max(DAY, past), cuts[1])
        self.validation, self.test = (
            [self.windows(torch.arange(cuts[k] + max(DAY, past), cuts[k + 1]))] for k in (1, 2)
        )
        self.timing = self.test[0]
        self.summary = f"The voltages of {network} an hour ahead, from {past} hours before."

    @classmethod
    def small(cls) -> GridForecast:
        return cls(past=6, hours=700)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        return f"{options['network']}-past{options['past']}"

    def windows(self, hours: Tensor) -> Samples:
        """The states before these hours, and theirs."""
        past = self.series[hours[:, None] + torch.arange(-self.past, 0)]
        return Samples(Window(past, self.series[hours - DAY]), self.series[hours])

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Hours of the training part."""
        return self.windows(torch.randint(self.train.start, self.train.stop, (batch,), generator=generator))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviations of training states."""
        seen = self.series[: self.train.stop]
        return seen.mean(0), seen.std(0)

    def away(self, states: Tensor) -> Tensor:
        """How far states (..., d) are from those of training: the root mean square of their numbers' distances from the
        mean, in standard deviations. Numbers that never changed in training are left out.
        """
        center, spread = self.moments()
        moving = spread > STILL
        off = ((states.to(center) - center) / spread)[..., moving]
        return off.square().mean(-1).sqrt()

    def fitted(self, ridge: float, moments: int) -> tuple[Tensor, Tensor]:
        """Ridge regression of the next state on so many last ones, in deviations from the mean: weights (d, moments d),
        oldest first, and the offset.
        """
        samples = self.windows(torch.arange(self.train.start, self.train.stop))
        center, spread = (each.double() for each in self.moments())
        spread = torch.where(spread == 0, 1, spread)
        x = ((samples.data.past[:, -moments:].double() - center) / spread).flatten(1)
        y = samples.target.double() - center
        normal = x.T @ x + ridge * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.linalg.solve(normal, x.T @ y).T / spread.repeat(moments)
        return weights.float(), (center - weights @ center.repeat(moments)).float()

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Persistence, the same hour of the day before, vector autoregression and ridge regression on the window."""

        def ridge(setting: float) -> Callable[[Window], Tensor]:
            weights, offset = self.fitted(setting, self.past)
            return lambda data: data.past.flatten(1) @ weights.T + offset

        return [
            Method("persistence", lambda _: lambda data: data.past[:, -1]),
            Method("the same hour of the day before", lambda _: lambda data: data.day_before),
            Iterative(
                "VAR(1)",
                lambda setting: VectorAutoregression(*self.fitted(setting, 1)),
                RIDGES,
                self.past,
                setting="ridge",
            ),
            Method(f"ridge regression on {self.past} hours", ridge, RIDGES, "ridge {setting}", linear=True),
        ]

    def identity(self) -> dict[str, Any]:
        found = {"name": self.name, "network": self.network, "past": self.past, "seed": self.seed}
        return found if self.source is None else {**found, "data": self.source}
