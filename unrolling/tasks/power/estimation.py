"""Which voltages a power grid has, from meters of which some are wrong."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.power.gauss_newton import GaussNewton, metric_of
from unrolling.algorithms.power.grid import Grid, outages, rectangular
from unrolling.algorithms.power.meters import PowerMeasurement, check_observable, metered
from unrolling.algorithms.power.priors import StatePrior
from unrolling.algorithms.power.prox_linear import ProxLinear
from unrolling.core.arguments import check_count, check_range
from unrolling.files.load_profiles import read_load_profiles
from unrolling.tasks.base import Samples, Shift, Task
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.metrics import Ratio
from unrolling.tasks.power.cases import CASES, grid_of
from unrolling.tasks.power.profiles import HOURS_OF_YEAR, generated_profiles, loaded_voltages

PARTS = (0.8, 0.9)  # of the year: for training, up to where for validation, the rest for tests
SPREAD = 0.1  # standard deviation of the logarithm of what moves each load from its profile
GROSS = (20.0, 100.0)  # standard deviations of a meter: how far off a gross error is
POOLED = 20_000  # training states
SEEN = 1000  # states from which a prior is fitted
RADIUS = 20.0  # of the parent, in standard deviations of a meter
SHARES = (0.0, 5.0, 10.0, 20.0)  # % of meters with a gross error
LINES = 8  # that are taken out for a shift
TRIES = 100  # of hours, until all that are asked for have a power flow


@dataclass(frozen=True)
class RootMeanSquare(Ratio):
    """The square root of a ratio of two sums over all units."""

    def _scaled(self, sums: Tensor) -> Tensor:
        return super()._scaled(sums).sqrt()


class GridState(Task):
    """z = h(v) + e: find v = [Re V; Im V], per unit, the slack's angle being 0, from the readings of M meters.

    Meters read voltage magnitudes (their squares are the data) at all buses with a standard deviation of 0.004 p.u.,
    and active and reactive power at random places with 0.005 p.u., ``redundancy`` times the 2 N - 1 unknown numbers in
    all. A share ``gross`` of the readings is off by 20 to 100 standard deviations, either way. States are power flows
    of loads that are the grid's times an hour of a profile times log-normal noise; the first eight of ten hours are for
    training, one of ten for validation, the last for tests.

    Args:
        network: case14; case57 and case118 through pandapower (extra ``power``).
        redundancy: number of meters over number of unknowns.
        gross: share of meters with a gross error.
        seed: of meters and held-out states.
        held_out: states for validation, and as many for tests.
        data: a file of load profiles (``read_load_profiles``); bus k takes column k mod K. A generated year by default.
        fixed: tensors of a weights file.

    Raises:
        ValueError: an unknown network; numbers out of range; meters that leave a state undetermined; a file that holds
            no load profiles.
    """

    name = "grid_state"
    given = "readings of the meters of a power grid, some of them wrong"
    sought = "the voltage of every bus"
    metric = RootMeanSquare("RMSE", "p.u.", "lower", "state", places=5, each=lambda e, s: squared_voltages(e, s))
    threads = 1
    affine = False
    references = ("zhang2019real",)
    options: Mapping[str, Any] = {"network": "case14", "redundancy": 2.0, "gross": 0.05}
    notes = (
        "RMSE is that of the real and imaginary parts of all voltages, per unit.",
        "All methods know the standard deviations of the meters. Those that say so, and networks, know past states "
        "too: their mean and covariance, or as training data.",
    )

    def __init__(
        self,
        network: str = "case14",
        redundancy: float = 2.0,
        gross: float = 0.05,
        seed: int = 0,
        held_out: int = 200,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if network not in CASES:
            raise ValueError(f"network is {network!r}; there are {', '.join(CASES)}")
        check_range(redundancy, "redundancy", 1.0)
        check_range(gross, "gross", 0.0, 0.5)
        check_count(held_out, "held_out", 2)
        self.network, self.redundancy, self.gross = network, float(redundancy), float(gross)
        self.pooled = POOLED
        self.seed, self.held_out, self.source = seed, held_out, None if data is None else Path(data).name
        self.grid = grid_of(network)
        meters = metered(self.grid, redundancy, seed)
        check_observable(self.grid, meters)
        self.metering = PowerMeasurement(self.grid, meters)
        self._exact = PowerMeasurement(self.grid, meters, torch.float64)
        self.profiles = self._profiles(data)
        states = self.states(SEEN, torch.Generator().manual_seed(8_000_009 + 4 * seed))
        self.prior = StatePrior(states.mean(0, keepdim=True), torch.cov(states.T))
        self.validation, self.test = (
            [self.held(k, torch.Generator().manual_seed(8_000_010 + 4 * seed + k))] for k in (0, 1)
        )
        self.timing = self.test[0]
        size = self.metering
        self.summary = (
            f"The voltages of the {self.grid.size} buses of {network} from {size.measured} meters, "
            f"{100 * gross:g} % of them with a gross error."
        )

    @classmethod
    def small(cls) -> GridState:
        task = cls(held_out=6)
        task.pooled = 200
        return task

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The network, and what else differs from the usual."""
        more = "" if options["redundancy"] == 2 else f"-x{options['redundancy']:g}"
        return f"{options['network']}{more}-gross{100 * options['gross']:g}"

    @property
    def nominal(self) -> Float[Tensor, "1 n"]:
        """The mean of past states."""
        return self.prior.mean.float()

    @property
    def flat(self) -> Float[Tensor, "1 n"]:
        """1 at all buses."""
        return rectangular(torch.ones(1, self.grid.size, dtype=torch.complex128)).float()

    def parent(self, inner: int = 3, radius: float = RADIUS, *, prior: bool = True) -> ProxLinear:
        """Prox-linear descent from the mean state, in the metric of Gauss-Newton there with the prior of past states,
        which is in the objective too, or not.
        """
        known = {"prior": self.prior, "pull": 1 / radius} if prior else {}
        return ProxLinear(
            self.metering,
            self.nominal,
            inner=inner,
            radius=radius,
            step_size=1 / radius,
            metric=metric_of(self.metering, self.nominal, self.prior),
            **known,
        )

    def scales(self) -> tuple[Float[Tensor, " M"], float]:
        """Standard deviations of the readings that training states lead to, and of the numbers of these states."""
        samples = self.draw(SEEN, torch.Generator().manual_seed(8_000_002 + self.seed))
        return samples.data.std(0), float((samples.target - self.nominal).square().mean().sqrt())

    def states(
        self, count: int, generator: torch.Generator, part: int = 0, grid: Grid | None = None
    ) -> Float[Tensor, "count n"]:
        """Power flows at random hours of training (part 0), validation (1) or tests (2), in double precision; hours
        without a power flow are drawn again.

        Raises:
            ValueError: hours that have one are too rare.
        """
        grid, found = grid or self.grid, []
        bounds = [0, *(int(share * len(self.profiles)) for share in PARTS), len(self.profiles)]
        low, high = bounds[part], bounds[part + 1]
        missing = count
        for _ in range(TRIES):
            if missing <= 0:
                break
            hours = torch.randint(low, high, (missing,), generator=generator)
            columns = torch.arange(grid.size) % self.profiles.shape[1]
            voltage = loaded_voltages(grid, self.profiles[hours][:, columns], generator, SPREAD)
            voltage = voltage[~voltage.real.isnan().any(1)]
            found.append(rectangular(voltage))
            missing -= len(voltage)
        if missing > 0:
            raise ValueError(
                f"{missing} of {count} hours have no power flow after {TRIES} draws each: the loads are too far from "
                "those of the network"
            )
        return torch.cat(found)

    def read(
        self,
        states: Tensor,
        generator: torch.Generator,
        gross: float | None = None,
        measurement: PowerMeasurement | None = None,
    ) -> Float[Tensor, "count M"]:
        """What the meters show: noise on all, gross errors on some."""
        exact: PowerMeasurement = measurement or self._exact
        noise = torch.randn(len(states), exact.measured, generator=generator, dtype=torch.float64)
        size = GROSS[0] + (GROSS[1] - GROSS[0]) * torch.rand(noise.shape, generator=generator, dtype=torch.float64)
        sign = 2.0 * torch.randint(2, noise.shape, generator=generator) - 1
        wrong = torch.rand(noise.shape, generator=generator) < (self.gross if gross is None else gross)
        return exact(states) + exact.deviation * torch.where(wrong, noise + sign * size, noise)

    @functools.cached_property
    def pool(self) -> Float[Tensor, "pooled n"]:
        """The states that training draws from: a power flow takes much longer than a reading."""
        return self.states(self.pooled, torch.Generator().manual_seed(8_000_003 + 4 * self.seed))

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """States at hours of the training part, of ``POOLED`` that are drawn once, and what the meters show of them,
        with noise and gross errors of its own each time.
        """
        states = self.pool[torch.randint(len(self.pool), (batch,), generator=generator)]
        return Samples(self.read(states, generator).float(), states.float())

    def held(
        self, part: int, generator: torch.Generator, gross: float | None = None, grid: Grid | None = None
    ) -> Samples:
        """Held-out states of validation (0) or tests (1), of another grid perhaps than everybody is told."""
        states = self.states(self.held_out, generator, 1 + part, grid)
        h = None if grid is None else self._exact.to_grid(grid)
        return Samples(self.read(states, generator, gross, h).float(), states.float())

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Gauss-Newton from a flat start and from the mean state, with a prior, and against gross errors; and
        prox-linear descent.
        """
        h, prior, nominal = self.metering, self.prior, self.nominal
        return [
            Iterative("Gauss-Newton, flat start", lambda _: GaussNewton(h, self.flat), (None,), 10, setting=""),
            Iterative("Gauss-Newton from the mean state", lambda _: GaussNewton(h, nominal), (None,), 10, setting=""),
            Iterative(
                "Gauss-Newton with a prior", lambda _: GaussNewton(h, nominal, prior=prior), (None,), 10, setting=""
            ),
            Iterative(
                "Gauss-Newton with a prior, Huber's loss",
                lambda huber: GaussNewton(h, nominal, prior=prior, huber=huber),
                (1.0, 1.5, 3.0),
                40,
                setting="threshold, in standard deviations",
            ),
            *(
                Iterative(
                    "prox-linear LAV" + (" with a prior" if known else ""),
                    lambda radius, known=known: self.parent(radius=radius, prior=known),
                    (5.0, 20.0, 80.0),
                    100,
                    setting="radius, in standard deviations",
                )
                for known in (True, False)
            ),
        ]

    def shifts(self) -> Sequence[Shift]:
        """More and less gross errors; a branch out of service that nobody is told."""

        def errors(percent: float) -> Samples:
            return self.held(1, torch.Generator().manual_seed(8_000_110 + self.seed), percent / 100)

        return (
            Shift(
                "meters with a gross error in %", SHARES, errors, 100 * self.gross, "Test states, other meters wrong."
            ),
            Shift(
                "branches out of service",
                (0.0, 1.0),
                self.changed,
                0.0,
                "A branch is out of service and nobody is told, another one in each group of test states.",
            ),
        )

    def changed(self, out: float = 1.0) -> Samples:
        """Test states of which each group has another branch out of service, or none."""
        if not out:
            return self.held(1, torch.Generator().manual_seed(8_000_210 + self.seed))
        parts = [samples for _, samples in self.groups_with_outage()]
        return Samples(*(torch.cat([part[k] for part in parts]) for k in (0, 1)))

    def groups_with_outage(self) -> list[tuple[Grid, Samples]]:
        """Test states in groups, each beside the grid that they are of: another branch is out of service in each."""
        generator = torch.Generator().manual_seed(8_000_210 + self.seed)
        able = outages(self.grid)
        lines = [able[int(n)] for n in torch.randperm(len(able), generator=generator)[: min(LINES, self.held_out)]]
        groups = []
        for number, line in enumerate(lines):
            count = len(range(number, self.held_out, len(lines)))
            try:
                grid = self.grid.without(line)
                states = self.states(count, generator, 2, grid)
            except ValueError:  # its base case has no power flow
                grid, states = self.grid, self.states(count, generator, 2)
            readings = self.read(states, generator, None, self._exact.to_grid(grid))
            groups.append((grid, Samples(readings.float(), states.float())))
        return groups

    def identity(self) -> dict[str, Any]:
        found = {
            "name": self.name,
            "network": self.network,
            "redundancy": self.redundancy,
            "gross": self.gross,
            "seed": self.seed,
        }
        return found if self.source is None else {**found, "data": self.source}

    def _profiles(self, data: str | Path | None) -> Tensor:
        if data is None:
            return generated_profiles(HOURS_OF_YEAR, self.grid.size, 8_000_001 + self.seed)
        return read_load_profiles(Path(data), least=20).factors


def squared_voltages(estimate: Tensor, samples: Samples) -> Float[Tensor, "batch 2"]:
    """Per state: the sum of squared errors, and how many numbers there are."""
    error = (estimate - samples.target).double().flatten(1).square()
    return torch.stack([error.sum(1), torch.full_like(error[:, 0], error.shape[1])], dim=1)
