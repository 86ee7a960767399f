"""Inputs about power grids that would give a wrong answer if nobody looked."""

import numpy as np
import pytest
import torch

from unrolling.algorithms.power.gauss_newton import GaussNewton
from unrolling.algorithms.power.meters import Meters, PowerMeasurement
from unrolling.files.grid_readings import read_grid_readings
from unrolling.files.load_profiles import read_load_profiles
from unrolling.tasks.power.cases import case14
from unrolling.tasks.power.estimation import GridState


@pytest.mark.parametrize("said", [True, False])
def test_a_negative_voltage_is_no_magnitude(tmp_path, said):
    kind = np.array([0, 0, 3])
    more = {"kind": kind, "place": np.arange(3), "deviation": np.full(3, 0.01)} if said else {}
    np.savez(tmp_path / "z.npz", z=np.array([1.0, -1.0, 0.1]), **more)
    found = read_grid_readings(tmp_path / "z.npz")
    with pytest.raises(ValueError, match="not positive"):
        found.meters() if said else found.squared(torch.from_numpy(kind))


def test_stamps_of_a_zone_go_on_when_its_clocks_are_changed(tmp_path):
    stamps = [
        "2016-10-30 01:00+02:00",
        "2016-10-30 02:00+02:00",
        "2016-10-30 02:00+01:00",
        "2016-10-30 03:00+01:00",
    ]
    path = tmp_path / "loads.csv"
    path.write_text("time,a\n" + "".join(f"{stamp},{k + 1}\n" for k, stamp in enumerate(stamps)), encoding="utf-8")
    assert read_load_profiles(path, 1.0).factors.shape == (4, 1)


def test_meters_that_do_not_determine_a_step_give_nan_and_no_state():
    grid = case14()
    voltages = torch.arange(grid.size)
    h = PowerMeasurement(grid, Meters(torch.zeros_like(voltages), voltages, torch.full((14,), 0.01)), torch.float64)
    flat = torch.cat([torch.ones(14), torch.zeros(14)]).double()
    step = GaussNewton(h, flat)
    readings = torch.full((2, 14), 1.1, dtype=torch.float64)
    assert bool(step(step.start(readings), readings).voltage.isnan().any(1).all())


def test_hubers_weights_have_gradients_where_nothing_is_left():
    task = GridState.small()
    step = GaussNewton(task.metering, task.nominal, prior=task.prior, huber=1.5)
    readings = task.metering(task.nominal).detach().requires_grad_()
    step(step.start(readings), readings).voltage.sum().backward()
    assert readings.grad is not None
    assert bool(readings.grad.isfinite().all())


def test_loads_that_no_grid_carries_are_refused():
    task = GridState.small()
    task.profiles = torch.full((40, 1), 40.0, dtype=torch.float64)
    with pytest.raises(ValueError, match="no power flow"):
        task.states(3, torch.Generator().manual_seed(0))
