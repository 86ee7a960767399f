"""Meters of a power grid, what they read at a state, and which states they tell apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from unrolling.algorithms.power.grid import Grid, admittances, phasors
from unrolling.core.arguments import check_numbers, check_shape

KINDS = ("V", "P", "Q", "Pf", "Qf", "Pt", "Qt")
AT_BUSES = 3  # of these kinds; the others are of branches
BLIND = 1e-11  # relative eigenvalue below which a direction is not seen


class Meters(NamedTuple):
    """What is measured: V^2 (kind 0), injected P and Q (1, 2) of a bus; P and Q into a branch at its first (3, 4) and
    second end (5, 6).
    """

    kind: Tensor  # (M,) int64, index of KINDS
    place: Tensor  # (M,) int64: the bus, or the branch
    deviation: Tensor  # (M,) of the noise, per unit

    def named(self, grid: Grid, meter: int) -> str:
        """``P into branch 4-5 at 4``, ``V at bus 4``, for people."""
        kind, place = int(self.kind[meter]), int(self.place[meter])
        if kind < AT_BUSES:
            return f"{KINDS[kind]} at bus {grid.labels[place]}"
        bus = grid.labels[int(grid.ends[place, 0 if kind < 5 else 1])]
        return f"{KINDS[kind][0]} into branch {grid.line(place)} at {bus}"


class Linearised(NamedTuple):
    """Meters at a state v: readings, and products with the derivative A(v), which is not formed."""

    rows: Tensor  # (N, 2 M), shared
    bus: Tensor  # (M,), shared
    imaginary: Tensor  # (M,), shared
    ur: Tensor  # Re V_a, (batch, M)
    ui: Tensor
    wr: Tensor  # Re y^T V
    wi: Tensor

    def readings(self) -> Float[Tensor, "batch M"]:
        """h(v)."""
        ur, ui, wr, wi = self[3:]
        return torch.where(self.imaginary, ui * wr - ur * wi, ur * wr + ui * wi)

    def factors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """a, c of Re and Im y^T dV, e, f of Re and Im dV_a in dh = a dwr + c dwi + e dur + f dui."""
        odd, (ur, ui, wr, wi) = self.imaginary, self[3:]
        return torch.where(odd, ui, ur), torch.where(odd, -ur, ui), torch.where(odd, -wi, wr), torch.where(odd, wr, wi)

    def forward_product(self, change: Float[Tensor, "batch n"]) -> Float[Tensor, "batch M"]:
        """A w."""
        a, c, e, f = self.factors()
        dur, dui, dwr, dwi = _products(self.rows, self.bus, change)
        return a * dwr + c * dwi + e * dur + f * dui

    def adjoint_product(self, dual: Float[Tensor, "batch M"]) -> Float[Tensor, "batch n"]:
        """A^T u."""
        a, c, e, f = (factor * dual for factor in self.factors())
        spread = torch.stack([torch.cat([a, c], 1), torch.cat([c, -a], 1)], 1) @ self.rows.T
        return spread.index_add(2, self.bus, torch.stack([e, f], 1)).flatten(1)


class PowerMeasurement(nn.Module):
    """h(v) of meters: h_m = v^T H_m v, v = [Re V; Im V] (batch, 2 N), H_m symmetric.

    Every meter reads the real or the imaginary part of V_a conj(y^T V): for V^2 y is the unit vector of its bus, for
    an injection the bus's row of Y, for a flow the branch's row of Y_f or Y_t (``admittances``). Derivatives are A(v) =
    2 [v^T H_m] (batch, M, 2 N), so that A(v) v = 2 h(v) and A(v) (j v) = 0 with j v the state turned by 90 degrees.

    Args:
        grid: whose admittances are taken.
        meters: M of them.
        dtype: of the state and the readings.

    Raises:
        ValueError: no meters; a kind, bus or branch that is not there; deviations that are not positive.
    """

    bus: Tensor
    imaginary: Tensor
    rows: Tensor
    deviation: Tensor

    def __init__(self, grid: Grid, meters: Meters, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        check_meters(grid, meters)
        self.grid, self.meters = grid, meters
        kind, place = meters.kind, meters.place
        whole, first, second = admittances(grid)
        at_bus = kind < AT_BUSES
        ends = grid.ends[torch.where(at_bus, 0, place)]
        bus = torch.where(at_bus, place, torch.where(kind < 5, ends[:, 0], ends[:, 1]))
        unit = torch.eye(grid.size, dtype=torch.complex128)
        rows = torch.stack(
            [self._row(int(k), int(p), unit, whole, first, second) for k, p in zip(kind, place, strict=True)]
        )
        self.register_buffer("bus", bus)
        self.register_buffer("imaginary", (kind > 0) & (kind % 2 == 0))
        # Re y and Im y of all meters side by side, (N, 2 M): one product gives all that a state is multiplied with.
        self.register_buffer("rows", torch.cat([rows.real, rows.imag]).T.to(dtype).contiguous())
        self.register_buffer("deviation", meters.deviation.to(dtype))

    @staticmethod
    def _row(kind: int, place: int, unit: Tensor, whole: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return (unit if kind == 0 else whole if kind < AT_BUSES else first if kind < 5 else second)[place]

    @property
    def measured(self) -> int:
        """M."""
        return self.bus.shape[0]

    @property
    def size(self) -> int:
        """2 N, numbers of a state."""
        return 2 * self.rows.shape[0]

    def forward(self, state: Float[Tensor, "batch n"]) -> Float[Tensor, "batch M"]:
        """h(v), per unit."""
        return self.at(state).readings()

    def at(self, state: Float[Tensor, "batch n"]) -> Linearised:
        """What the meters read at a state, and the derivative there."""
        check_numbers(state, "state", "PowerMeasurement", real=True)
        check_shape(state, (self.size,), "PowerMeasurement", "input", "state")
        return Linearised(self.rows, self.bus, self.imaginary, *_products(self.rows, self.bus, state))

    def jacobian(self, state: Float[Tensor, "batch n"]) -> Float[Tensor, "batch M n"]:
        """A(v) = dh/dv, as a matrix."""
        a, c, e, f = (part.unsqueeze(2) for part in self.at(state).factors())
        conductances, susceptances = self.rows.T.chunk(2)
        unit = torch.nn.functional.one_hot(self.bus, self.rows.shape[0]).to(state)
        by_real = a * conductances + c * susceptances + e * unit
        return torch.cat([by_real, c * conductances - a * susceptances + f * unit], 2)

    def matrices(self) -> Float[Tensor, "M n n"]:
        """H_m, symmetric: half the derivative of A by v."""
        eye = torch.eye(self.size, dtype=self.rows.dtype, device=self.rows.device)
        return 0.5 * self.jacobian(eye).permute(1, 0, 2)

    def to_grid(self, grid: Grid) -> PowerMeasurement:
        """The same meters on a grid with other branches in service."""
        return PowerMeasurement(grid, self.meters, self.rows.dtype).to(self.rows.device)


def _products(rows: Tensor, bus: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Re and Im of V_a and of y^T V, (batch, M) each."""
    pair = state.unflatten(1, (2, -1))
    real, imaginary = pair[:, :, bus].unbind(1)
    (rg, rb), (ig, ib) = (half.chunk(2, 1) for half in (pair @ rows).unbind(1))
    return real, imaginary, rg - ib, ig + rb


def check_meters(grid: Grid, meters: Meters) -> None:
    """Refuses meters that do not fit a grid.

    Raises:
        ValueError: no meters; arrays of different lengths; a kind, bus or branch that is not there; a deviation that
            is not positive.
    """
    kind, place, deviation = meters
    if kind.ndim != 1 or not len(kind) or kind.shape != place.shape or kind.shape != deviation.shape:
        raise ValueError(
            f"kind, place and deviation are (M,) each, M >= 1; got {tuple(kind.shape)}, {tuple(place.shape)} and "
            f"{tuple(deviation.shape)}"
        )
    for meter, (k, p) in enumerate(zip(kind.tolist(), place.tolist(), strict=True)):
        if not 0 <= k < len(KINDS):
            raise ValueError(f"meter {meter} has the kind {k}; kinds are 0 to {len(KINDS) - 1}: {', '.join(KINDS)}")
        what, count = ("bus", grid.size) if k < AT_BUSES else ("branch", len(grid.branches))
        if not 0 <= p < count:
            raise ValueError(
                f"meter {meter} ({KINDS[k]}) is at {what} {p}, and {grid.name} has {count}, counted from 0"
            )
    if not bool((torch.isfinite(deviation) & (deviation > 0)).all()):
        raise ValueError("deviation holds a value that is not positive and finite")


def all_meters(grid: Grid, magnitude: float = 0.004, power: float = 0.005) -> Meters:
    """V, P, Q at all buses, P and Q at the first ends of all branches in service.

    Args:
        grid: the grid.
        magnitude: standard deviation of a voltage magnitude, per unit; that of its square is about twice as large.
        power: of a power, per unit.
    """
    return chosen_meters(grid, range(len(grid.branches)), magnitude, power, injections=True)


def chosen_meters(
    grid: Grid, branches: object, magnitude: float = 0.004, power: float = 0.005, *, injections: bool = False
) -> Meters:
    """V at all buses, P and Q at the first ends of some branches, and with ``injections`` P and Q at all buses."""
    buses = torch.arange(grid.size)
    lines = torch.tensor([n for n in branches if n not in grid.out()], dtype=torch.int64)  # pyright: ignore
    groups = [(0, buses), *([(1, buses), (2, buses)] if injections else []), (3, lines), (4, lines)]
    kind = torch.cat([torch.full_like(places, k) for k, places in groups])
    deviation = torch.where(kind == 0, 2 * magnitude, power).double()
    return Meters(kind, torch.cat([places for _, places in groups]), deviation)


def metered(grid: Grid, redundancy: float, seed: int = 0, magnitude: float = 0.004, power: float = 0.005) -> Meters:
    """V at all buses and P, Q of a random set of branch ends and injections that leaves no state unseen: M is
    ``redundancy`` times the 2 N - 1 numbers of a state, rounded to pairs of P and Q.

    Args:
        grid: the grid.
        redundancy: M / (2 N - 1).
        seed: of the choice.
        magnitude: standard deviation of a voltage magnitude, per unit.
        power: of a power, per unit.

    Raises:
        ValueError: more than all meters there are; less than it takes to see the state.
    """
    unknowns = 2 * grid.size - 1
    pairs = round((redundancy * unknowns - grid.size) / 2)
    lines = [n for n in range(len(grid.branches)) if n not in grid.out()]
    places = [(3, n) for n in lines] + [(5, n) for n in lines] + [(1, n) for n in range(grid.size)]
    tree = _tree(grid)
    if pairs > len(places) or pairs < len(tree):
        raise ValueError(
            f"redundancy {redundancy:g} of {grid.name} is {pairs} pairs of P and Q; there are {len(places)} places for "
            f"them, and it takes {len(tree)} to see the state"
        )
    generator = torch.Generator().manual_seed(seed)
    flow = {line: (3 if float(torch.rand((), generator=generator)) < 0.5 else 5, line) for line in tree}
    taken = set(flow.values())
    free = [place for place in places if place not in taken]
    order = torch.randperm(len(free), generator=generator).tolist()
    chosen = sorted([*taken, *(free[n] for n in order[: pairs - len(taken)])])
    kinds = [(0, n) for n in range(grid.size)] + [(k + odd, n) for k, n in chosen for odd in (0, 1)]
    kind, place = torch.tensor(kinds).T
    deviation = torch.where(kind == 0, 2 * magnitude, power).double()
    return Meters(kind.contiguous(), place.contiguous(), deviation)


def _tree(grid: Grid) -> list[int]:
    """Branches that reach every bus from the slack: their flows and the voltages show every state."""
    reached, found, out = {grid.slack}, [], set(grid.out())
    while len(reached) < grid.size:
        for line, (a, b) in enumerate(grid.ends.tolist()):
            if line not in out and (a in reached) != (b in reached):
                reached |= {a, b}
                found.append(line)
    return found


def unseen_buses(grid: Grid, meters: Meters, state: Complex[Tensor, " N"] | None = None) -> list[int]:
    """The buses whose voltage the meters do not determine, to first order at a state; the slack's angle is given.

    Args:
        grid: the grid.
        meters: what is measured.
        state: V; 1 at all buses by default, moved a little, as a flat state hides what reactive power shows.
    """
    check_meters(grid, meters)
    if state is None:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(2, grid.size, generator=generator, dtype=torch.float64)
        state = torch.polar(1 + 0.02 * noise[0], 0.05 * noise[1])
    h = PowerMeasurement(grid, meters, torch.float64)
    at = torch.cat([state.real, state.imag]).double().unsqueeze(0)
    rows = h.jacobian(at)[0] / meters.deviation.unsqueeze(1).double()
    # The angle of the slack is given: its voltage moves along itself only. Only the direction of a row counts.
    across = torch.zeros(1, h.size, dtype=torch.float64)
    across[0, grid.slack], across[0, grid.size + grid.slack] = -state[grid.slack].imag, state[grid.slack].real
    rows = torch.nn.functional.normalize(torch.cat([rows, across]), dim=1)
    values, directions = torch.linalg.eigh(rows.mT @ rows)
    blind = phasors(directions.mT[values <= BLIND * values[-1]]).abs().square().sum(0)
    return (blind > 1e-6).nonzero().flatten().tolist()


def check_observable(grid: Grid, meters: Meters) -> None:
    """Refuses meters that leave a state undetermined.

    Raises:
        ValueError: the message names the buses.
    """
    if unseen := unseen_buses(grid, meters):
        names = ", ".join(grid.labels[n] for n in unseen[:6]) + (" and more" if len(unseen) > 6 else "")
        raise ValueError(
            f"the meters do not determine the voltage of bus{'es' if len(unseen) > 1 else ''} {names}: the state is "
            "not observable; measure a flow or an injection there"
        )
