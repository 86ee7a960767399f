"""How state estimators are applied to files of readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.power.gauss_newton import metric_of
from unrolling.algorithms.power.grid import Grid
from unrolling.algorithms.power.meters import Meters, PowerMeasurement, check_meters, check_observable
from unrolling.algorithms.power.prox_linear import ProxLinear
from unrolling.algorithms.power.topology import suspected_outage
from unrolling.core import Unrolled, unroll
from unrolling.files.grid_readings import GridReadings, check_voltages_output, read_grid_readings, write_voltages
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.tasks.power.estimation import GridState

OFF = 5.0  # standard deviations: a reading that is further from the estimate counts as a gross error
SAME = 1e-6  # per unit: tables that differ by less are the same
AS_TRAINED = "as trained"


def ranges(task: GridState) -> dict[str, Any]:
    """What weights trained on a task are good for."""
    return {"gross errors": Range(0, round(max(250 * task.gross, 2.0), 1)), "topology": (AS_TRAINED,)}


@torch.no_grad()
def _apply(
    network: Unrolled[Any], task: GridState, content: GridReadings, outputs: Sequence[Path], **_: Any
) -> Mapping[str, Any]:
    grid, change = _grid(content, task)
    told = task.metering.meters
    if content.kind is not None and content.place is not None and content.deviation is not None:
        told = Meters(content.kind, content.place, content.deviation)
        try:
            check_meters(grid, told)
        except ValueError as error:
            raise ValueError(f"{content.path}: {error}") from None
    elif content.z.shape[1] != task.metering.measured:
        raise ValueError(
            f"{content.path}: z has {content.z.shape[1]} readings, and the weights are for the "
            f"{task.metering.measured} meters of {task.network}; name other meters by kind, place and deviation"
        )
    content.check_values(told, grid)
    meters = content.meters() or told
    physical = isinstance(network.layers[0], ProxLinear)
    measurement = task.metering
    if content.kind is not None or change:
        try:
            check_observable(grid, meters)
        except ValueError as error:
            raise ValueError(f"{content.path}: {error}") from None
        measurement = PowerMeasurement(grid, meters)
    if content.kind is not None and not physical and not _same_meters(meters, task.metering.meters):
        raise ValueError(
            f"{content.path}: its meters are not those that these weights were trained with, and a network without the "
            "physics of the grid knows no others; power/psse takes any"
        )
    readings = content.squared(meters.kind).float()
    run = rebuilt(network, measurement, task) if physical and measurement is not task.metering else network
    states = run(readings)
    residuals = (readings - measurement(states)) / measurement.deviation
    write_voltages(outputs[0], states, residuals, grid, content.single)
    wrong = residuals.abs() > OFF
    worst = [
        meters.named(grid, int(m)) for m in wrong.double().mean(0).argsort(descending=True)[:5] if wrong[:, m].any()
    ]
    conditions = [
        Condition(
            "gross errors",
            round(100 * float(wrong.double().mean()), 1),
            "estimated",
            "% of readings",
            effect="more meters are wrong, or the grid is another, than in training",
        )
    ]
    if change and not physical:
        effect = "these weights know one topology; power/psse takes the one of the file"
        conditions.append(Condition("topology", change, "read", effect=effect))
    elif (found := suspected_outage(measurement, readings, task.prior)).branch is not None:
        conditions.append(
            Condition(
                "topology",
                f"as if {_branches(grid, found.candidates)} were out of service",
                "estimated",
                effect="say so in the file (out) if it is, and estimate again"
                if physical
                else "these weights know one topology; power/psse takes another",
            )
        )
    elif not change:
        conditions.append(Condition("topology", AS_TRAINED, "estimated"))
    return {
        "states": len(states),
        "meters": measurement.measured,
        "network": task.network,
        "out of service": [grid.line(branch) for branch in grid.out()],
        "furthest off": worst,
        "conditions": conditions,
    }


def _branches(grid: Grid, candidates: Sequence[int]) -> str:
    names = [grid.line(branch) for branch in candidates]
    return f"branch {names[0]}" if len(names) == 1 else f"one of the branches {', '.join(names)}"


def rebuilt(network: Unrolled[Any], measurement: PowerMeasurement, task: GridState) -> Unrolled[ProxLinear]:
    """The learned numbers of a prox-linear network around other meters or another topology."""
    old: Any = network.parent
    parent = ProxLinear(
        measurement,
        task.nominal,
        inner=old.step_size.shape[0],
        radius=old.radius.item(),
        metric=metric_of(measurement, task.nominal, task.prior),
        prior=task.prior,
    )
    other = unroll(parent, len(network), tied=network.tied, untied=network.untied)
    other.load_learned(network.learned())
    return other.eval()


def _grid(content: GridReadings, task: GridState) -> tuple[Grid, str]:
    """The grid of a file, and in words how it differs from that of the weights; the empty string where it does not."""
    grid, words = task.grid, []
    if content.branches is not None and content.buses is not None:
        if content.buses.shape[0] != grid.size:
            raise ValueError(
                f"{content.path}: its grid has {content.buses.shape[0]} buses, and the weights are for the {grid.size} "
                f"of {task.network}; train on it, or take others by --set network=..."
            )
        try:
            own = replace(grid, branches=content.branches, buses=content.buses)
        except ValueError as error:
            raise ValueError(f"{content.path}: {error}") from None
        if own.branches.shape != grid.branches.shape:
            words.append(f"{len(own.branches)} branches in the place of {len(grid.branches)}")
        elif float((own.branches - grid.branches).abs().amax()) > SAME:
            changed = ((own.branches - grid.branches).abs() > SAME).any(1).nonzero().flatten().tolist()
            words.append(f"other values of branch {', '.join(grid.line(n) for n in changed[:4])}")
        grid = own
    if content.out:
        try:
            grid = grid.without(*content.out)
        except ValueError as error:
            raise ValueError(f"{content.path}: out: {error}") from None
        words.append(f"branch {', '.join(grid.line(n) for n in content.out)} out of service")
    return grid, " and ".join(words)


def _same_meters(one: Meters, other: Meters) -> bool:
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in zip(one[:2], other[:2], strict=True))


def _read(path: Path, options: Mapping[str, Any]) -> GridReadings:
    return read_grid_readings(path)


GRID_STATE = Application(
    "a .npz file with readings z (M,) or (batch, M), per unit, and, where the meters or the grid are others, kind, "
    "place and deviation (M,), out, or branches and buses",
    ("the voltages",),
    _read,
    _apply,
    suffixes=(".npz",),
    default_suffixes=("-state.npz",),
    check=check_voltages_output,
)


def readings_of(task: GridState, z: Tensor) -> Tensor:
    """Readings as a file holds them: voltages as magnitudes."""
    return torch.where(task.metering.meters.kind == 0, z.clamp_min(0).sqrt(), z)
