"""Inputs about power grids that would give a wrong answer if nobody looked."""

import numpy as np
import pytest
import torch

from unrolling import unroll as unrolled
from unrolling.algorithms.power.gauss_newton import GaussNewton
from unrolling.algorithms.power.grid import outages
from unrolling.algorithms.power.meters import Meters, PowerMeasurement
from unrolling.files.grid_readings import read_grid_readings
from unrolling.files.load_profiles import read_load_profiles
from unrolling.systems.power._files import GRID_STATE
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


# Files of readings, as `unroll apply power/psse` takes them


@pytest.fixture(scope="module")
def task():
    return GridState.small()


@pytest.fixture(scope="module")
def run(task):
    network = unrolled(task.parent(2), 2, untied=("step_size", "clip", "radius", "pull")).eval()

    def apply(path, **arrays):
        np.savez(path, **arrays)
        return GRID_STATE.run(network, task, GRID_STATE.read(path, {}), [path.with_name("out.npz")])

    return apply


@pytest.fixture(scope="module")
def good(task):
    """Readings of one state, voltages as magnitudes, and the meters."""
    meters = task.metering.meters
    z = task.test[0].data[0].double()
    deviation = torch.where(meters.kind == 0, meters.deviation / 2, meters.deviation)
    return {
        "z": torch.where(meters.kind == 0, z.sqrt(), z).numpy(),
        "kind": meters.kind.numpy(),
        "place": meters.place.numpy(),
        "deviation": deviation.numpy(),
    }


def changed(array, at, value):
    other = np.array(array, dtype=np.result_type(array, type(value)))
    other[at] = value
    return other


def wrong_files(good):
    z, kind, place, deviation = good["z"], good["kind"], good["place"], good["deviation"]
    grid = case14()
    tables = {"branches": grid.branches.numpy(), "buses": grid.buses.numpy()}
    flow = int(np.flatnonzero(kind == 3)[0])
    branch = grid.line(int(place[flow]))
    return {
        "a kind that is none": ({**good, "kind": changed(kind, 3, 7)}, "meter 3 has the kind 7; kinds are 0 to 6"),
        "a negative kind": ({**good, "kind": changed(kind, 3, -1)}, "meter 3 has the kind -1"),
        "a word for a kind": ({**good, "kind": np.array(["V"] * 53 + ["I"])}, "kind holds 'I'; there are V, P, Q"),
        "kinds with a fraction": ({**good, "kind": kind + 0.5}, "kind holds float64; it is whole numbers"),
        "a bus that is not there": ({**good, "place": changed(place, 2, 14)}, "meter 2 .V. is at bus 14"),
        "a branch that is not there": ({**good, "place": changed(place, flow, 20)}, f"{flow} .Pf. is at branch 20"),
        "places of another shape": ({**good, "place": place[:-1]}, r"place is \(54,\), one for each .*got \(53,\)"),
        "meters in part": ({"z": z, "kind": kind}, "holds kind; meters are kind, place and deviation together"),
        "a deviation of 0": ({**good, "deviation": changed(deviation, 5, 0.0)}, r"deviation\[5\] is 0"),
        "a deviation that is none": ({**good, "deviation": changed(deviation, 5, np.nan)}, r"deviation\[5\] is nan"),
        "NaN": ({"z": changed(z, flow, np.nan)}, rf"z\[{flow}\], P into branch {branch} at .*, is nan"),
        "NaN of a batch": ({"z": changed(np.stack([z, z]), (1, 4), np.inf)}, r"z\[1, 4\], V at bus 5, is inf"),
        "an absurd reading": ({"z": changed(z, 20, 1e30)}, r"z\[20\], .*, is 1e\+30, the first of 1 .* beyond 1e\+06"),
        "no voltage": ({"z": changed(z, 4, 0.0)}, "z of meter 4, a voltage, is 0, which is not positive"),
        "complex readings": ({"z": z + 0j}, "z holds complex128, and not real numbers"),
        "words": ({"z": z.astype(str)}, "z holds <U.*, and not real numbers"),
        "objects": ({"z": np.array([None] * 54)}, "object"),
        "no readings": ({"z": np.zeros((0, 54))}, r"z is \(M,\) or \(batch, M\); got \(0, 54\)"),
        "a number": ({"z": np.float64(1.0)}, r"z is \(M,\) or \(batch, M\); got \(\)"),
        "three dimensions": ({"z": np.ones((1, 2, 54))}, r"got \(1, 2, 54\)"),
        "too few readings": ({"z": z[:50]}, "z has 50 readings, and the weights are for the 54 meters of case14"),
        "another name": ({"y": z}, "holds y; readings are z"),
        "a grid in part": ({"z": z, "buses": tables["buses"]}, "a grid is branches .* and buses .* together"),
        "branches of another shape": ({"z": z, **tables, "branches": np.ones((20, 5))}, "branches is .*got .20, 5."),
        "a grid with NaN": ({"z": z, **tables, "branches": tables["branches"] * np.nan}, "branches holds NaN"),
        "another number of buses": ({"z": z, **tables, "buses": tables["buses"][:9]}, "its grid has 9 buses"),
        "a branch out that is not there": ({"z": z, "out": np.array([20])}, "out: branch 20 is not there"),
        "a branch out before the first": ({"z": z, "out": np.array([-1])}, "out: branch -1 is not there"),
        "a fraction of a branch out": ({"z": z, "out": np.array([1.5])}, "out holds float64; it is whole numbers"),
        "a grid in pieces": ({"z": z, "out": np.array([13])}, "out: no branch connects bus 8 to the slack bus 1"),
        "a bus that nothing sees": (
            {name: array[(place != 7) | (kind != 0)][:41] for name, array in good.items()},
            "do not determine the voltage of bus",
        ),
    }


def test_a_file_that_is_wrong_is_refused_with_its_name_and_entry_and_nothing_is_written(run, good, tmp_path):
    for number, (what, (arrays, words)) in enumerate(wrong_files(good).items()):
        path = tmp_path / f"{number}.npz"
        with pytest.raises(ValueError, match=words) as refused:
            run(path, **arrays)
        assert str(path) in str(refused.value), what
        assert not (tmp_path / "out.npz").exists(), what


def test_readings_of_any_real_type_are_taken(run, good, tmp_path):
    for kind in (np.float32, np.float64):
        found = run(tmp_path / "z.npz", **{**good, "z": good["z"].astype(kind)})
        assert found["meters"] == 54
    half = run(tmp_path / "z.npz", **{**good, "z": good["z"].astype(np.float16)})
    with np.load(tmp_path / "out.npz") as written:
        assert np.isfinite(written["v"]).all()
        assert written["v"].shape == (28,)
    assert half["states"] == 1
    whole = run(tmp_path / "z.npz", z=np.ones((2, 54), dtype=np.int16))
    assert whole["states"] == 2


def test_a_file_with_its_own_meters_and_outage_is_worked_on(run, good, task, tmp_path):
    line = outages(task.grid)[2]
    found = run(tmp_path / "z.npz", **good, out=np.array([line]))
    assert found["out of service"] == [task.grid.line(line)]
    with np.load(tmp_path / "out.npz") as written:
        assert written["residual"].shape == (54,)
        assert list(written["bus"]) == list(task.grid.labels)
    named = {**good, "kind": np.array(["V", "P", "Q", "Pf", "Qf", "Pt", "Qt"])[good["kind"]]}
    assert run(tmp_path / "z.npz", **named)["meters"] == 54


def test_files_that_are_cut_off_or_none_end_in_one_line(unroll, good, tmp_path):
    whole, target = tmp_path / "whole.npz", tmp_path / "state.npz"
    np.savez(whole, **good)
    content = whole.read_bytes()
    files = {"cut.npz": content[: len(content) // 2], "empty.npz": b"", "text.npz": b"z,1,2,3"}
    for name, bytes_of in files.items():
        (tmp_path / name).write_bytes(bytes_of)
        status, output, errors = unroll("apply", "power/psse", tmp_path / name, "-o", target)
        assert (status, output) == (2, ""), errors
        assert name in errors
        assert "Traceback" not in errors
        assert not target.exists()
    status, output, errors = unroll("apply", "power/psse", whole, "-o", target)
    assert status == 0, errors
    assert target.is_file()
