"""Series of voltages, as `unroll apply power/forecast` takes them."""

import numpy as np
import pytest
import torch

from unrolling import unroll as unrolled
from unrolling.algorithms.power import RecurrentForecaster, StateCells
from unrolling.systems.power._series import GRID_FORECAST, ranges
from unrolling.tasks.power.forecasting import GridForecast


@pytest.fixture(scope="module")
def task():
    return GridForecast.small()


@pytest.fixture(scope="module")
def network(task):
    cells = StateCells(28)
    with torch.no_grad():
        cells.outer.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return unrolled(RecurrentForecaster(cells, *task.moments()), task.past, tied="cells").eval()


@pytest.fixture(scope="module")
def run(task, network):
    def apply(path, **arrays):
        np.savez(path, **arrays)
        return GRID_FORECAST.run(network, task, GRID_FORECAST.read(path, {}), [path.with_name("out.npz")])

    return apply


@pytest.fixture(scope="module")
def v(task):
    return task.series[100:120].double().numpy()


def written(path):
    with np.load(path.with_name("out.npz")) as found:
        return {name: found[name] for name in found}


def test_a_series_gives_the_hour_after_each_window(run, task, network, v, tmp_path):
    path = tmp_path / "v.npz"
    found = run(path, v=v, time=np.arange(20) + 7)
    assert (found["rows"], found["forecasts"]) == (20, 15)
    out = written(path)
    assert out["time"].tolist() == list(range(13, 28))
    wanted = network(task.windows(torch.arange(106, 121)).data)
    np.testing.assert_allclose(out["v"], wanted.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(out["magnitude"], np.hypot(out["v"][:, :14], out["v"][:, 14:]))
    error = wanted.detach()[:-1] - task.series[106:120]
    assert found["RMSE where the file has the hour"] == pytest.approx(float(error.square().mean().sqrt()), abs=2e-6)
    still = task.series[105:119] - task.series[106:120]
    assert found["RMSE of persistence there"] == pytest.approx(float(still.square().mean().sqrt()), abs=2e-6)


def test_one_window_gives_one_hour_and_nothing_to_compare_it_with(run, v, tmp_path):
    found = run(tmp_path / "v.npz", v=v[:6], time=np.arange(6.0))
    assert found["forecasts"] == 1
    assert not any("RMSE" in name for name in found)
    assert written(tmp_path / "v.npz")["time"].tolist() == [6.0]


def test_all_forms_of_voltages_are_the_same(run, v, tmp_path):
    path, time = tmp_path / "v.npz", np.arange(20)
    run(path, v=v, time=time)
    wanted = written(path)["v"]
    real, imaginary = np.split(v, 2, axis=1)
    turned = (real + 1j * imaginary) * np.exp(0.3j)  # the slack's angle is taken back to 0
    angle = np.degrees(np.angle(turned))
    for form in (
        {"voltage": turned},
        {"voltage": turned.astype(np.complex64)},
        {"real": turned.real, "imaginary": turned.imag},
        {"magnitude": np.abs(turned), "angle": angle},
    ):
        run(path, **form, time=time)
        np.testing.assert_allclose(written(path)["v"], wanted, atol=2e-5)


def test_stamps_come_out_as_stamps(run, v, tmp_path):
    path = tmp_path / "v.npz"
    dates = np.datetime64("2016-12-31T18:00") + np.arange(20) * np.timedelta64(1, "h")
    for time in (dates, dates.astype(str), np.char.encode(dates.astype(str))):
        run(path, v=v, time=time)
        assert written(path)["time"][0] == "2017-01-01 00:00"


def test_states_that_are_unlike_those_of_training_are_told(run, task, v, tmp_path):
    allowed = ranges(task)["distance from training states"]
    near, far = (run(tmp_path / "v.npz", v=each, time=np.arange(20))["conditions"][0].value for each in (v, v * 1.3))
    assert near in allowed
    assert far not in allowed
    away = task.away(task.series[: task.train.stop])
    assert float(away.square().mean().sqrt()) == pytest.approx(1, abs=0.01)


def test_series_that_are_wrong_are_refused_and_nothing_is_written(run, v, tmp_path):
    time, real = np.arange(20.0), v[:, :14]
    missing, off = v.copy(), v.copy()
    missing[3, 16], off[4, [2, 16]] = np.nan, 230e3
    wrong = {
        "a gap": ({"v": v[:10], "time": np.r_[0:5, 6:11]}, "row 6 comes 2 h after the one before: there is a gap"),
        "a repeated stamp": ({"v": v[:10], "time": np.r_[0:5, 4:9]}, "row 6 repeats the time 4 h"),
        "a stamp that goes back": ({"v": v, "time": time[::-1]}, "row 2 goes back from 19 h to 18 h"),
        "another rate": ({"v": v, "time": time / 4}, "rows are 0.25 h apart, and this task works at 1 h"),
        "too short": ({"v": v[:5], "time": time[:5]}, "holds 5 rows; a forecast takes the 6 before it"),
        "no rows": ({"v": v[:0], "time": time[:0]}, "holds 0 rows"),
        "other buses": ({"v": v[:, :26], "time": time}, r"v is \(T, 28\), .* for the 14 buses .*; got \(20, 26\)"),
        "other buses, complex": ({"voltage": v[:, :13] + 0j, "time": time}, r"voltage is \(T, 14\)"),
        "angles of other hours": ({"magnitude": real, "angle": real[:5], "time": time}, r"angle is \(T, 14\)"),
        "NaN": ({"v": missing, "time": time}, "v is missing or infinite in row 4 at bus 3, the first of 1 such rows"),
        "volts": ({"v": off, "time": time}, "voltage of row 5 at bus 3 is 3.25e.05; voltages are per unit"),
        "zero": ({"v": 0 * v, "time": time}, "voltage of row 1 at bus 1 is 0; voltages are per unit"),
        "no voltages": ({"z": v, "time": time}, "holds z, time; voltages are v"),
        "no time": ({"v": v}, "has no time"),
        "time of another shape": ({"v": v, "time": time[:4]}, r"time is \(20,\), one for each row; got \(4,\)"),
        "a stamp that is none": ({"v": v, "time": np.array(["2016-01-01"] * 19 + ["noon"])}, "row 20: time is 'noon'"),
        "no date": ({"v": v, "time": np.array(["NaT"] * 20, dtype="datetime64[h]")}, "row 1 has no time"),
        "a time that is NaN": ({"v": v, "time": time * np.nan}, "row 1 has no time"),
        "complex time": ({"v": v, "time": time + 0j}, "time holds complex128"),
        "complex v": ({"v": v + 0j, "time": time}, "v holds complex128, and not real numbers"),
        "real voltage": ({"voltage": real, "time": time}, "voltage holds float64, and not complex numbers"),
        "objects": ({"v": np.full(v.shape, None), "time": time}, "object"),
    }
    for number, (what, (arrays, words)) in enumerate(wrong.items()):
        path = tmp_path / f"{number}.npz"
        with pytest.raises(ValueError, match=words) as refused:
            run(path, **arrays)
        assert str(path) in str(refused.value), what
        assert not (tmp_path / "out.npz").exists(), what


def test_the_command_refuses_what_the_reader_does(unroll, tmp_path):
    path, target = tmp_path / "v.npz", tmp_path / "out.npz"
    np.savez(path, v=np.ones((4, 28)), time=np.arange(4))
    status, output, errors = unroll("apply", "power/forecast", path, "-o", target)
    assert (status, output) == (2, ""), errors
    assert "a forecast takes the 10 before it" in errors
    assert not target.exists()
    status, _, errors = unroll("apply", "power/forecast", path, "-o", tmp_path / "out.csv")
    assert status == 2
    assert "voltages are written as .npz" in errors
