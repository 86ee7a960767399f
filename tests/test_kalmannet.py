"""KalmanNet: the filter to the bit before training, better than it after; its task and its files."""

import numpy as np
import pytest
import torch
from tiny import moved

from unrolling import Stage, fit, solve, unroll
from unrolling.algorithms.dynamics.kalman import ExtendedKalmanFilter, KalmanFilter, SteadyKalmanFilter, track
from unrolling.algorithms.dynamics.kalman_net import GainNetwork, KalmanNet
from unrolling.algorithms.dynamics.motions import Lorenz, Pendulum
from unrolling.algorithms.dynamics.state_space import LinearModel, Recording
from unrolling.files.trajectories import read_trajectories
from unrolling.systems.catalogue import find
from unrolling.tasks.base import evaluate
from unrolling.tasks.tracking.trajectories import Tracking, rotation
from unrolling.testing import check_iteration
from unrolling.training.weights import save_weights

T = 6
EYE = torch.eye(2)
LINEAR = LinearModel(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), EYE, EYE, EYE)
KINDS = {
    "linear": lambda: KalmanFilter(LINEAR),
    "steady": lambda: SteadyKalmanFilter(LINEAR),
    "pendulum": lambda: ExtendedKalmanFilter(Pendulum()),
    "lorenz": lambda: ExtendedKalmanFilter(Lorenz()),
    "steady lorenz": lambda: SteadyKalmanFilter(Lorenz()),
}


def net_of(filter, relative=False, **options):
    network = GainNetwork(filter.model.size, filter.model.measured, units=3, **options)
    return KalmanNet(filter, network, relative=relative)


def recording(model, batch=3, length=T, seed=0):
    return Recording(model.simulate(batch, length, torch.Generator().manual_seed(seed))[1])


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_before_training_the_network_is_its_filter_to_the_bit(name, relative):
    filter = KINDS[name]()
    data = recording(filter.model)
    holes = data._replace(present=torch.rand(data.values.shape, generator=torch.Generator().manual_seed(1)) < 0.7)
    network = unroll(net_of(filter, relative), T, tied="network")
    for each in (data, holes):
        wanted = solve(filter, each)
        assert torch.equal(network(each), wanted.estimate)
        assert torch.equal(network.run(each).covariance, wanted.state.covariance)


@pytest.mark.parametrize(("name", "slow"), [("pendulum", ()), ("steady", ("gradients",))])
def test_it_is_a_sound_iteration(name, slow):
    network = moved(unroll(net_of(KINDS[name]()), 1, tied="network")).layers[0].double()
    data = recording(KINDS[name]().model, 3, 4)
    data = data._replace(values=data.values.double())
    check_iteration(network, data, depth=3, skip=("compile", "export", "second_derivative", *slow))


def test_a_trained_network_sees_no_future_and_no_other_sample_and_goes_on_in_pieces():
    network = moved(unroll(net_of(KINDS["linear"]()), T, tied="network"))
    data = recording(LINEAR, 4, 11)
    whole, _ = track(network, data)
    assert not torch.equal(whole, track(KalmanFilter(LINEAR), data)[0])
    later = data._replace(values=torch.cat([data.values[:, :5], data.values[:, 5:] + 9], 1))
    assert torch.equal(track(network, later)[0][:, :5], whole[:, :5])
    torch.testing.assert_close(track(network, Recording(data.values[2:3]))[0], whole[2:3])
    state, parts = None, []
    for piece in data.pieces(4):
        estimate, state = track(network, piece, state)
        parts.append(estimate)
    assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("angle", [0.3, 3.0])  # hanging, and turned over
def test_a_relative_gain_keeps_the_signs_of_the_filter_whatever_was_learned(angle):
    pendulum = Pendulum(mean=(angle, 0.0))
    filter = ExtendedKalmanFilter(pendulum)
    data = Recording(torch.full((1, 1, 1), 0.6))
    learned = moved(unroll(net_of(filter, relative=True), 1, tied="network"), size=3.0)
    changes = []
    for step in (filter, learned.layers[0]):
        state, problem = step.start(data), step.prepare(data)
        changes.append((step(state, problem).mean - pendulum.move(state.mean)).detach())
    assert bool((changes[0] * changes[1] > 0).all())
    assert not torch.equal(*changes)


def test_where_nothing_was_measured_the_forecast_stands_whatever_was_learned():
    network = moved(unroll(net_of(KINDS["linear"]()), T, tied="network"), size=1.0)
    data = recording(LINEAR)
    present = torch.ones_like(data.values, dtype=torch.bool)
    present[:, 3] = False
    found = network(data._replace(present=present, values=torch.where(present, data.values, 1e9)))
    torch.testing.assert_close(found[:, 3], LINEAR.move(found[:, 2]), rtol=0, atol=0)


def test_the_network_has_as_many_numbers_as_its_parts():
    for n, m, units in ((2, 2, 32), (3, 3, 32), (2, 1, 7)):
        network = GainNetwork(n, m, units)
        wanted = 3 * units * (2 * n + 2 * m) + 3 * units * units + 6 * units + (units + 1) * n * m
        assert sum(p.numel() for p in network.parameters()) == wanted
    assert sum(p.numel() for p in GainNetwork(2, 2).parameters()) == 4164


@pytest.mark.parametrize("name", ["tracking/kalmannet", "tracking/kalmannet_alone"])
def test_training_makes_up_for_noise_and_model_that_are_told_wrong(name):
    system, task = find(name), Tracking(mismatch=10.0, length=12, held_out=60)
    network = system.network(system.recipes["tracking"], task, 12)

    def score(run):
        return task.metric.value(evaluate(run, task, task.test))

    before = score(network)
    assert before == score(lambda data: solve(network.parent.filter, data).estimate)
    fit(network, task, [Stage(40, rate=2e-2, batch=24, clip=1.0)], quiet=True, validations=2)
    best = score(lambda data: solve(task.filter(task.truth), data).estimate)
    assert best < score(network) < before - 3


# The task


def test_what_is_told_differs_from_the_truth_by_what_the_options_say():
    usual = Tracking(held_out=4, unknown=0.0)
    assert torch.equal(usual.truth.transition, usual.told.transition)
    turned = Tracking(held_out=4, mismatch=10.0, unknown=-20.0)
    torch.testing.assert_close(turned.told.transition, turned.truth.transition @ rotation(10.0))
    torch.testing.assert_close(turned.told.process_noise, 0.01 * turned.truth.process_noise)
    assert torch.equal(usual.test[0].target, turned.test[0].target)  # the same trajectories, so that both compare
    lorenz = Tracking("lorenz", mismatch=5.0, held_out=4)
    torch.testing.assert_close(lorenz.told.measurement @ lorenz.told.measurement.T, torch.eye(3))
    assert Tracking("pendulum", mismatch=25.0, held_out=4).told.pull == pytest.approx(9.81 / 1.25)


@pytest.mark.parametrize("name", ["linear", "pendulum", "lorenz"])
def test_the_filter_with_the_true_model_is_best_of_all_that_see_no_future(name):
    task = Tracking(name, mismatch=10.0, held_out=60, length=30)
    scores = {}
    for method in task.baselines(1000)[:5]:

        def score(setting, make=method.make):
            return task.metric.value(evaluate(lambda data: solve(make(setting), data).estimate, task, task.test))

        scores[method.name] = min(map(score, method.settings[:: max(1, len(method.settings) // 3)]))
    smoother = scores.pop("Rauch-Tung-Striebel smoother, true model (sees the future)")
    true = next(value for key, value in scores.items() if key.endswith("filter, true model"))
    assert smoother < true == min(scores.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "rocket"}, "model is 'rocket'; there are linear, pendulum, lorenz"),
        ({"mismatch": 100.0}, "mismatch is 100"),
        ({"unknown": float("nan")}, "unknown is nan"),
        ({"length": 1}, "length is 1"),
    ],
)
def test_options_that_make_no_task_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Tracking(**options)


def saved(path, **arrays):
    np.savez(path, **{k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in arrays.items()})
    return path


def test_own_trajectories_with_a_model_of_their_own(tmp_path):
    model = LinearModel(0.9 * torch.eye(3), torch.ones(1, 3), torch.eye(3), torch.eye(1))
    x, y = model.simulate(10, 8, torch.Generator().manual_seed(0))
    matrices = {name: getattr(model, name) for name in ("transition", "measurement", "process_noise")}
    path = saved(tmp_path / "own.npz", x=x, y=y, measurement_noise=model.measurement_noise, **matrices)
    task = Tracking(data=path, unknown=0.0)
    assert [len(batch.target) for batch in (task.recorded, task.validation[0], task.test[0])] == [8, 1, 1]
    assert torch.equal(task.test[0].target, x[9:])
    assert torch.equal(task.told.transition, model.transition)
    assert task.truth is None
    assert [method.name for method in task.baselines(1000)][0::2][:2] == [
        "Kalman filter, tuned",
        "Kalman filter, as told",
    ]
    again = Tracking(fixed=task.fixed_tensors(), unknown=0.0, held_out=4)  # as weights of it are used elsewhere
    assert torch.equal(again.told.transition, model.transition)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": None}, "holds no states: training needs x beside y"),
        ({"y": torch.zeros(10, 8, 3)}, "y has 3 numbers a moment, and the model linear 2; a .npz file may bring"),
        ({"x": torch.zeros(10, 8, 1)}, "x has 1 numbers a moment, and the model linear 2"),
        ({"x": torch.zeros(10, 7, 2)}, r"x is \(batch, T, n\) beside y \(batch, T, m\)"),
        ({"x": torch.zeros(2, 8, 2), "y": torch.zeros(2, 8, 2)}, "holds 2 trajectories; .* need 3 or more"),
        ({"transition": torch.eye(2)}, "holds transition; a linear model is transition, measurement, process_noise"),
        ({"time": torch.arange(8) * 0.5}, "the stamps are 0.5 apart .*, and the model's interval is 1"),
    ],
)
def test_trajectories_that_do_not_fit_are_refused(tmp_path, change, words):
    given = {"x": torch.zeros(10, 8, 2), "y": torch.zeros(10, 8, 2)} | change
    path = saved(tmp_path / "a.npz", **{k: v for k, v in given.items() if v is not None})
    with pytest.raises(ValueError, match=words):
        Tracking(data=path)


# Files


def written(path, text):
    path.write_text(text)
    return path


def test_a_table_with_gaps_in_fields_and_in_stamps(tmp_path):
    path = written(tmp_path / "a.csv", "time,y1,y2\n0,1,2\n1,nan,4\n3,,\n4.0001,5,6\n")
    read = read_trajectories(path, 1.0)
    assert read.y.shape == (1, 5, 2)
    assert read.present[0].tolist() == [[True, True], [False, True], [False, False], [False, False], [True, True]]
    assert read.rows.tolist() == [0, 1, 3, 4]
    assert read.y[0, 1].tolist() == [0, 4]
    assert read.gaps == 0.5
    slower = written(tmp_path / "b.csv", "time,y\n0,1\n2,2\n4,3\n")  # another rate, a multiple of the model's
    assert read_trajectories(slower, 1.0).present[0, :, 0].tolist() == [True, False, True, False, True]
    blank = written(tmp_path / "c.csv", "y\n1\n\n3\n\n")  # an empty line is an empty field, but at the end
    assert read_trajectories(blank).present[0, :, 0].tolist() == [True, False, True]
    assert read_trajectories(slower).present is None  # no model says what the rate is


def test_trajectories_of_a_table(tmp_path):
    text = "trajectory,y1,x1,x2\n7,1,2,3\n9,4,5,6\n7,10,20,30\n9,40,50,60\n"
    read = read_trajectories(written(tmp_path / "a.csv", text))
    assert read.y[:, :, 0].tolist() == [[1, 10], [4, 40]]
    assert read.x.tolist() == [[[2, 3], [20, 30]], [[5, 6], [50, 60]]]
    assert not read.single


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,y\n0,1\n1,2\n1,3\n", r"row 3 repeats the time 1"),
        ("time,y\n0,1\n2,2\n1,3\n", r"row 3 goes back from 2 \(1\)"),
        ("time,y\n0,1\n0.5,2\n1,3\n", "the stamps are 0.5 apart .* model's interval is 1.* Another rate needs"),
        ("time,y\n0,1\n,2\n", "row 2 has no time"),
        ("time,y\n0,1\n5000,2\n", "4999 moments are missing before row 2"),
        ("y\nnan\n\n", "nothing but gaps"),
        ("y\ninf\n", "y holds infinite values, the first at"),
        ("y,x\n1,nan\n", "x holds NaN or infinite values"),
        ("y1,y2\n1\n", "line 2: 1 fields, and the first line names 2"),
        ("y\n1\nab\n", "line 3: 'ab' is not a number"),
        ("a,b\n1,2\n", "the first line names the columns, y1, y2"),
        ("y,y\n1,2\n", "each once"),
        ("y1,y2\n1,2\n\n3,4\n", "line 3: 0 fields, and the first line names 2"),
        ("y\n", "holds no measurements after its first line"),
        ("", "it is empty"),
        ("trajectory,y\n1,2\n1,3\n2,4\n", "these have 1 to 2 rows"),
        ("time,x,y\n0,1,1\n2,1,1\n", "x is known at all moments, and 1 of 3 have no row"),
    ],
)
def test_tables_that_are_no_measurements_are_refused(tmp_path, text, words):
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=words) as caught:
        read_trajectories(path, 1.0)
    assert str(path) in str(caught.value)


@pytest.fixture
def trained(tmp_path):
    """Weights that differ from the filter, in a file."""
    system = find("tracking/kalmannet")
    recipe, task = system.recipes["tracking"], Tracking(held_out=4)
    network = moved(system.network(recipe, task, 4))
    card = {"system": system.name, "task": task.identity(), "seed": 0, "range": {}}
    save_weights(network, tmp_path / "w.safetensors", card)
    return network, tmp_path / "w.safetensors"


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".npy"])
def test_states_of_a_file_are_those_of_the_network(unroll, tmp_path, trained, suffix):
    network, weights = trained
    y = recording(LINEAR, 1, 9).values
    source = written(
        tmp_path / "m.csv", "time,y1,y2\n" + "".join(f"{t},{a},{b}\n" for t, (a, b) in enumerate(y[0].tolist()))
    )
    target = tmp_path / f"states{suffix}"
    status, _, errors = unroll("apply", "tracking/kalmannet", source, "-o", target, "--weights", weights, "--quiet")
    assert status == 0, errors
    if suffix == ".csv":
        assert target.read_text().startswith("time,x1,x2\n0.0,")
        found = np.loadtxt(target, delimiter=",", skiprows=1)[:, 1:]
    else:
        content = np.load(target)
        found = content if suffix == ".npy" else content["x"]
    wanted = track(network, Recording(y))[0][0].detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y1\n1\n2\n", "y has 1 numbers a moment, and the model of these weights (linear) measures 2"),
        ("y1,y2\n1,1e39\n2,2\n", "too large for single precision"),
        ("time,y1,y2\n0,1,2\n0,1,2\n", "row 2 repeats the time 0"),
    ],
)
def test_measurements_that_do_not_fit_are_refused_and_nothing_is_written(unroll, tmp_path, trained, text, words):
    source, target = written(tmp_path / "m.csv", text), tmp_path / "states.npz"
    status, _, errors = unroll("apply", "tracking/kalmannet", source, "-o", target, "--weights", trained[1])
    assert status != 0
    assert words in errors
    assert not target.exists()


def test_gaps_are_told(unroll, tmp_path, trained):
    source = written(tmp_path / "m.csv", "y1,y2\n1,2\n,\n3,4\n4,5\n")
    status, output, errors = unroll(
        "apply", "tracking/kalmannet", source, "-o", tmp_path / "s.npz", "--weights", trained[1]
    )
    assert status == 0, errors
    assert "gaps 0.25 of the measurements" in output + errors
    status, _, errors = unroll("apply", "tracking/kalmannet", source, "-o", tmp_path / "s.txt", "--weights", trained[1])
    assert status != 0
    assert "states are written as .npz, .npy, .csv" in errors
