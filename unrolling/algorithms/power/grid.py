"""A power grid as tables: buses, branches, and the admittances that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

BRANCH_COLUMNS = ("from", "to", "resistance", "reactance", "conductance", "susceptance", "ratio", "shift")
BUS_COLUMNS = ("active load", "reactive load", "shunt conductance", "shunt susceptance", "generation", "set voltage")
FEW = 6  # names in a message


@dataclass(frozen=True)
class Grid:
    """Tables of a grid in per unit, in double precision.

    Args:
        branches: (L, 8): the buses at both ends, counted from 0; r, x of the series element; g, b of the charging of
            the whole branch, half of it at either end; ratio (1 of a line) and phase shift in degrees of an ideal
            transformer at the first end.
        buses: (N, 6): active and reactive load, shunt conductance and susceptance at 1 p.u., active generation, and
            the voltage magnitude that a generator holds, 0 where none does.
        slack: the bus whose angle is 0, and whose generator makes up the balance.
        labels: names of the buses, for people; by default 1, 2, ...
        name: of the grid.
        base: of powers, in MVA.

    Raises:
        ValueError: tables of another shape; an edge to a bus that is not there, or from a bus to itself; a branch
            without impedance; a slack bus without a voltage; buses that no branch connects to the slack.
    """

    branches: Tensor
    buses: Tensor
    slack: int = 0
    labels: Sequence[str] = ()
    name: str = "grid"
    base: float = 100.0

    def __post_init__(self) -> None:
        for table, columns, what in (
            (self.branches, BRANCH_COLUMNS, "branches"),
            (self.buses, BUS_COLUMNS, "buses"),
        ):
            if table.ndim != 2 or table.shape[1] != len(columns) or not len(table):
                raise ValueError(f"{what} is (count, {len(columns)}): {', '.join(columns)}; got {tuple(table.shape)}")
            if not bool(torch.isfinite(table).all()):
                raise ValueError(f"{what} holds NaN or infinite values")
        object.__setattr__(self, "branches", self.branches.detach().double())
        object.__setattr__(self, "buses", self.buses.detach().double())
        if not self.labels:
            object.__setattr__(self, "labels", tuple(str(n + 1) for n in range(self.size)))
        if len(self.labels) != self.size:
            raise ValueError(f"labels names {len(self.labels)} buses, and there are {self.size}")
        ends = self.branches[:, :2]
        for line, (a, b) in enumerate(ends.tolist()):
            if a != int(a) or b != int(b) or not (0 <= a < self.size and 0 <= b < self.size):
                raise ValueError(
                    f"branch {line} goes from bus {a:g} to bus {b:g}; the {self.size} buses are counted from 0"
                )
            if a == b:
                raise ValueError(f"branch {line} goes from bus {self.labels[int(a)]} to itself")
        if bool((self.branches[:, 2:4].square().sum(1) == 0).any()):
            raise ValueError("a branch has r = x = 0: join its buses into one")
        if not 0 <= self.slack < self.size or float(self.buses[self.slack, 5]) <= 0:
            raise ValueError(f"the slack bus, {self.slack}, is one of {self.size} and has a set voltage")
        if lone := unconnected(self):
            raise ValueError(
                f"no branch connects {_named(self, lone)} to the slack bus {self.labels[self.slack]}: the grid is in "
                "pieces"
            )

    @property
    def size(self) -> int:
        """N, the number of buses."""
        return self.buses.shape[0]

    @property
    def ends(self) -> Tensor:
        """(L, 2) int64."""
        return self.branches[:, :2].long()

    def line(self, branch: int) -> str:
        """The name of a branch: ``4-5``."""
        a, b = self.ends[branch].tolist()
        return f"{self.labels[a]}-{self.labels[b]}"

    def without(self, *branches: int) -> Grid:
        """The grid with branches out of service. A meter is named by its branch's number, so the branch stays in the
        table with an impedance that lets nothing through.

        Raises:
            ValueError: a branch that is not there; buses that are cut off by it.
        """
        table = self.branches.clone()
        for branch in branches:
            if not 0 <= branch < len(table):
                raise ValueError(f"branch {branch} is not there; there are {len(table)}, counted from 0")
            table[branch, 2:6] = torch.tensor([0.0, OUT, 0.0, 0.0], dtype=table.dtype)
        return replace(self, branches=table)

    def out(self) -> list[int]:
        """The branches that are out of service."""
        return (self.branches[:, 3] >= OUT).nonzero().flatten().tolist()


OUT = 1e12  # p.u. of reactance: a branch out of service


def unconnected(grid: Grid) -> list[int]:
    """The buses that no branch in service connects to the slack."""
    near: list[list[int]] = [[] for _ in range(grid.size)]
    for (a, b), x in zip(grid.ends.tolist(), grid.branches[:, 3].tolist(), strict=True):
        if x < OUT:
            near[a].append(b)
            near[b].append(a)
    seen, waiting = {grid.slack}, [grid.slack]
    while waiting:
        fresh = [b for b in near[waiting.pop()] if b not in seen]
        seen.update(fresh)
        waiting += fresh
    return [n for n in range(grid.size) if n not in seen]


def outages(grid: Grid) -> list[int]:
    """The branches in service that can go out one at a time and leave the grid in one piece."""
    found = []
    for branch in range(len(grid.branches)):
        if branch in grid.out():
            continue
        try:
            grid.without(branch)
        except ValueError:
            continue
        found.append(branch)
    return found


def admittances(grid: Grid) -> tuple[Complex[Tensor, "N N"], Complex[Tensor, "L N"], Complex[Tensor, "L N"]]:
    """Y of the buses, and the rows Y_f, Y_t that give the currents into branches at their first and second ends.

    With t = ratio e^(j shift), y = 1 / (r + j x) and c = g + j b of a branch: Y_f has (y + c/2) / |t|^2 at the first
    bus and -y / conj(t) at the second, Y_t has -y / t and y + c/2 (Zimmerman, Murillo-Sanchez and Thomas 2011,
    doi:10.1109/TPWRS.2010.2051168).
    """
    _, _, r, x, g, b, ratio, shift = grid.branches.T
    first, second = grid.ends.T
    y, c = 1 / torch.complex(r, x), torch.complex(g, b)
    t = torch.polar(ratio, torch.deg2rad(shift))
    count, size = len(r), grid.size
    index = torch.arange(count)
    one, other = (torch.zeros(count, size, dtype=torch.complex128) for _ in range(2))
    one[index, first] = (y + c / 2) / ratio.square()
    one[index, second] = -y / t.conj()
    other[index, first] = -y / t
    other[index, second] = y + c / 2
    shunt = torch.complex(grid.buses[:, 2], grid.buses[:, 3])
    whole = torch.diag(shunt)
    whole = whole.index_add(0, first, one).index_add(0, second, other)
    return whole, one, other


def rectangular(voltage: Complex[Tensor, "*batch N"]) -> Float[Tensor, "*batch M"]:
    """v = [Re V; Im V], (..., 2 N)."""
    return torch.cat([voltage.real, voltage.imag], -1)


def phasors(state: Float[Tensor, "*batch M"]) -> Complex[Tensor, "*batch N"]:
    """V of v = [Re V; Im V]."""
    real, imaginary = state.chunk(2, -1)
    return torch.complex(real, imaginary)


def _named(grid: Grid, buses: Sequence[int]) -> str:
    names = ", ".join(grid.labels[n] for n in buses[:FEW])
    return f"bus{'es' if len(buses) > 1 else ''} {names}" + (" and more" if len(buses) > FEW else "")
