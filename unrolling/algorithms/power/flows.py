"""Power flow: the voltages that given loads and generators lead to."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.algorithms.power.grid import Grid, admittances
from unrolling.core.arguments import check_count

CHORD = 30  # steps with the derivative of the base case
PIECE = 256  # samples whose derivatives are worked out at once


def power_flow(
    grid: Grid,
    load: Complex[Tensor, "batch N"] | None = None,
    generation: Float[Tensor, "batch N"] | None = None,
    tolerance: float = 1e-10,
    most: int = 20,
) -> Complex[Tensor, "batch N"]:
    """Voltages V (batch, N), in double precision, at which V conj(Y V) = generation - load at every bus that is not
    the slack, with magnitudes as generators hold them (reactive limits left out), by Newton's method on angles and
    magnitudes (Tinney and Hart 1967, doi:10.1109/TPAS.1967.291823).

    Steps use the derivative at the base case where that is enough; samples that do not converge so get their own.

    Args:
        grid: whose admittances and set voltages are taken.
        load: S = P + j Q (batch, N) in per unit; that of the grid by default.
        generation: active power (batch, N); that of the grid by default.
        tolerance: largest mismatch of power, per unit.
        most: Newton steps of one sample.

    Returns:
        V; NaN in the rows of samples that have no solution, or none that was found.

    Raises:
        ValueError: shapes that do not fit; the base case itself has no solution.
    """
    check_count(most, "most")
    table, size = grid.buses, grid.size
    load = torch.complex(table[:, 0], table[:, 1]).unsqueeze(0) if load is None else load
    generation = table[:, 4].unsqueeze(0) if generation is None else generation
    if load.ndim != 2 or generation.ndim != 2 or load.shape[1] != size or generation.shape[1] != size:
        raise ValueError(
            f"load and generation are (batch, {size}), a number for each bus; got {tuple(load.shape)} and "
            f"{tuple(generation.shape)}"
        )
    wanted = generation.double() - load.to(torch.complex128)
    flow = _Flow(grid)
    own = torch.complex(table[:, 4] - table[:, 0], -table[:, 1]).unsqueeze(0)
    base = flow.newton(flow.flat(1), own, tolerance, most)
    if not bool(torch.isfinite(base[0]).all()):
        raise ValueError(f"the loads of {grid.name} have no power flow that Newton's method finds from a flat start")
    found = flow.chord((base[0].repeat(len(wanted), 1), base[1].repeat(len(wanted), 1)), wanted, tolerance)
    left = (flow.mismatch(*found, wanted).abs().amax(1) <= tolerance).logical_not().nonzero().flatten()
    for piece in left.split(PIECE) if len(left) else ():
        start = (base[0].repeat(len(piece), 1), base[1].repeat(len(piece), 1))
        own_angle, own_size = flow.newton(start, wanted[piece], tolerance, most)
        found[0][piece], found[1][piece] = own_angle, own_size
    return torch.polar(found[1], found[0])


class _Flow:
    """Mismatches and their derivatives by the unknown angles and magnitudes."""

    def __init__(self, grid: Grid) -> None:
        self.admittance = admittances(grid)[0]
        held = grid.buses[:, 5]
        self.magnitude = torch.where(held > 0, held, 1.0)
        self.turning = torch.tensor([n for n in range(grid.size) if n != grid.slack])
        self.floating = ((held <= 0) & (torch.arange(grid.size) != grid.slack)).nonzero().flatten()

    def flat(self, batch: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(batch, len(self.magnitude)).double(), self.magnitude.repeat(batch, 1)

    def mismatch(self, angle: Tensor, size: Tensor, wanted: Tensor) -> Tensor:
        voltage = torch.polar(size, angle)
        power = voltage * (voltage @ self.admittance.T).conj() - wanted
        return torch.cat([power.real[:, self.turning], power.imag[:, self.floating]], 1)

    def derivative(self, angle: Tensor, size: Tensor) -> Tensor:
        voltage, unit = torch.polar(size, angle), torch.polar(torch.ones_like(size), angle)
        current = voltage @ self.admittance.T
        by_angle = (
            1j * voltage.unsqueeze(2) * (torch.diag_embed(current) - self.admittance * voltage.unsqueeze(1)).conj()
        )
        by_size = voltage.unsqueeze(2) * (self.admittance * unit.unsqueeze(1)).conj()
        by_size = by_size + torch.diag_embed(current.conj() * unit)
        columns = torch.cat([by_angle[:, :, self.turning], by_size[:, :, self.floating]], 2)
        return torch.cat([columns.real[:, self.turning], columns.imag[:, self.floating]], 1)

    def moved(self, angle: Tensor, size: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        turns, grows = step.split([len(self.turning), len(self.floating)], 1)
        return angle.index_add(1, self.turning, turns), size.index_add(1, self.floating, grows)

    def newton(
        self, start: tuple[Tensor, Tensor], wanted: Tensor, tolerance: float, most: int
    ) -> tuple[Tensor, Tensor]:
        angle, size = start
        for _ in range(most):
            error = self.mismatch(angle, size, wanted)
            if bool((error.abs() <= tolerance).all()):
                return angle, size
            step, _ = torch.linalg.solve_ex(self.derivative(angle, size), -error.unsqueeze(2))
            angle, size = self.moved(angle, size, step.squeeze(2))
        good = self.mismatch(angle, size, wanted).abs().amax(1, keepdim=True) <= tolerance
        return torch.where(good, angle, torch.nan), torch.where(good, size, torch.nan)

    def chord(self, start: tuple[Tensor, Tensor], wanted: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        angle, size = start
        factor, pivots = torch.linalg.lu_factor(self.derivative(angle[:1], size[:1])[0])
        for _ in range(CHORD):
            error = self.mismatch(angle, size, wanted)
            worst = error.abs().amax(1)
            if bool((worst <= tolerance).all()):
                break
            # What runs away is left where it is, for a Newton step of its own.
            step = torch.linalg.lu_solve(factor, pivots, -error.T).T
            angle, size = self.moved(angle, size, torch.where((worst < 1e3).unsqueeze(1), step, 0))
        return angle, size
