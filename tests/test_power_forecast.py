"""Forecasts of the state of a grid, and the files of load that they are driven by."""

import numpy as np
import pytest
import torch

from unrolling import unroll
from unrolling.algorithms.power import RecurrentForecaster, StateCells, VectorAutoregression
from unrolling.files.load_profiles import read_load_profiles
from unrolling.tasks.base import evaluate
from unrolling.tasks.power.forecasting import GridForecast


@pytest.fixture(scope="module")
def task():
    return GridForecast.small()


def test_the_published_number_of_parameters():
    assert sum(p.numel() for p in StateCells(28).parameters()) == 5_600 == 3 * (2 * 28**2 + 28) + 28**2 + 28
    assert sum(p.numel() for p in StateCells(236).parameters()) == 390_816


def test_untrained_it_is_persistence_to_the_bit(task):
    net = unroll(RecurrentForecaster(StateCells(28), *task.moments()), task.past, tied="cells")
    data = task.test[0].data
    assert torch.equal(net(data), data.past[:, -1])


def test_linear_cells_reproduce_vector_autoregression(task):
    weights, offset = task.fitted(1e-4, 1)
    cells = StateCells(28, 1, "identity")
    with torch.no_grad():
        cells.recurrent[0].weight.zero_()
        cells.inputs[0].weight.copy_(weights)
        cells.inputs[0].bias.copy_(offset)
        cells.outer.weight.copy_(torch.eye(28))
    own = RecurrentForecaster(cells, torch.zeros(28), torch.ones(28), residual=False)
    data = task.test[0].data
    wanted = unroll(VectorAutoregression(weights, offset), task.past)(data)
    assert torch.allclose(unroll(own, task.past)(data), wanted, atol=1e-6)
    assert torch.allclose(wanted, data.past[:, -1] @ weights.T + offset, atol=1e-6)


def test_without_recurrence_only_the_last_state_counts(task):
    cells = StateCells(28)
    with torch.no_grad():
        cells.outer.weight.normal_(generator=torch.Generator().manual_seed(0))
    net = unroll(RecurrentForecaster(cells, *task.moments()), task.past, tied="cells")
    data = task.test[0].data
    other = data._replace(past=torch.cat([data.past[:, :-1] + 0.1, data.past[:, -1:]], 1))
    assert not torch.allclose(net(data), net(other))
    with torch.no_grad():
        for layer in net.layers[0].cells.recurrent:
            layer.weight.zero_()
    assert torch.equal(net(data), net(other))


def test_windows_hold_what_comes_before_and_stay_in_their_part(task):
    sample = task.windows(torch.tensor([100]))
    assert torch.equal(sample.data.past[0], task.series[94:100])
    assert torch.equal(sample.data.day_before[0], task.series[76])
    assert torch.equal(sample.target[0], task.series[100])
    assert task.train.stop == int(0.8 * 700)
    assert torch.equal(task.validation[0].target[0], task.series[560 + 24])  # its window begins within its part


def test_ridge_regression_beats_persistence_beats_the_day_before(task):
    scores = {}
    for method in task.baselines(100):
        if hasattr(method, "iterations"):
            continue
        scores[method.name] = task.metric.value(
            evaluate(method.make(method.settings[1 % len(method.settings)]), task, task.test)
        )
    persistence, seasonal, ridge = scores.values()
    assert ridge < persistence
    assert persistence < 2 * seasonal


def write(path, time, load=None):
    load = np.ones((len(time), 2)) if load is None else load
    np.savez(path, time=np.asarray(time, dtype=float), load=load)
    return path


def test_gaps_repeated_stamps_and_other_rates_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    good = read_load_profiles(write(path, range(5), np.arange(1.0, 11).reshape(5, 2)))
    assert good.interval == 1.0
    assert torch.allclose(good.factors.mean(0), torch.ones(2).double())
    with pytest.raises(ValueError, match=r"row 4 comes 3 h after the one before: there is a gap"):
        read_load_profiles(write(path, [0, 1, 2, 5, 6, 7]))
    with pytest.raises(ValueError, match="row 3 repeats the time 1 h"):
        read_load_profiles(write(path, [0, 1, 1, 2]))
    with pytest.raises(ValueError, match="row 3 goes back from 2 h to 1 h"):
        read_load_profiles(write(path, [0, 2, 1]))
    with pytest.raises(ValueError, match=r"rows are 0.25 h apart, and this task works at 1 h: resample"):
        read_load_profiles(write(path, [0, 0.25, 0.5, 0.75]), 1.0)
    bad = np.ones((4, 2))
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"load 2 is missing or infinite in row 3 \(time 2 h\), the first of 1 gaps"):
        read_load_profiles(write(path, range(4), bad))
    with pytest.raises(ValueError, match="load 1 is negative in row 1"):
        read_load_profiles(write(path, range(4), -np.ones((4, 2))))
    with pytest.raises(ValueError, match="takes 400"):
        read_load_profiles(write(path, range(4)), least=400)
    text = tmp_path / "a.csv"
    text.write_text("time,home\n2016-01-01 00:00,2\n2016-01-01 00:15,4\n2016-01-01 00:30,6\n")
    read = read_load_profiles(text)
    assert read.interval == pytest.approx(0.25)
    assert read.factors.flatten().tolist() == [0.5, 1.0, 1.5]
    text.write_text("time,home\n2016-01-01 00:00,x\n")
    with pytest.raises(ValueError, match="line 2: home is 'x', and not a number"):
        read_load_profiles(text)
