"""What the page of a comparison shows of tracking, and a filter as a file that a stream goes through in pieces."""

import re

import pytest
import torch
from tiny import moved

from unrolling import unroll
from unrolling.algorithms.dynamics.kalman import ExtendedKalmanFilter, KalmanFilter, SteadyKalmanFilter, track
from unrolling.algorithms.dynamics.kalman_net import GainNetwork, KalmanNet
from unrolling.algorithms.dynamics.motions import Pendulum
from unrolling.algorithms.dynamics.state_space import Recording
from unrolling.algorithms.dynamics.stream import FilterStream
from unrolling.core import Unrolled
from unrolling.export import export, load
from unrolling.report import time_series
from unrolling.tasks.exhibits import Shown, TimeSeries
from unrolling.tasks.tracking.trajectories import Tracking


def shown(task):
    """Estimates of two methods, the truth and nothing at all, and a third that the page leaves out."""
    truth = [batch.target for batch in task.test]
    return [
        Shown("untrained", "initial", 0.0, truth),
        Shown("the network", "network", 3.0, truth),
        Shown("a filter", "parent", 2.0, [0 * each for each in truth]),
        Shown("a filter with the truth", "parent", 2.0, truth),
        Shown("one that failed", "network", 0.0, []),
    ]


@pytest.mark.parametrize(("model", "count"), [("linear", 2), ("pendulum", 2), ("lorenz", 3)])
def test_a_trajectory_is_shown_number_by_number(model, count):
    task = Tracking(model, length=7, held_out=4)
    found = task.exhibits(shown(task)).time_series
    assert len(found) == count
    for k, each in enumerate(found):
        torch.testing.assert_close(torch.from_numpy(each.truth), task.test[0].target[0, :, k].double())
        assert each.time[-1] == pytest.approx(7 * {"linear": 1, "pendulum": 0.05, "lorenz": 0.02}[model])
        assert [(name, role) for name, role, _ in each.estimates] == [
            ("the network", "network"),
            ("a filter", "parent"),
        ]
        assert (each.estimates[0][2] == each.truth).all()
        assert not each.estimates[1][2].any()
        assert (each.measured is None) == (model == "pendulum")  # of which the sine of the angle alone is measured
    if model != "pendulum":
        assert (found[1].measured == task.test[0].data.values[0, :, 1].double().numpy()).all()


def test_gaps_have_no_marks():
    task = Tracking(length=6, held_out=4)
    present = torch.ones(4, 6, 2, dtype=torch.bool)
    present[0, 2, 1] = False
    task.test[0] = task.test[0]._replace(data=task.test[0].data._replace(present=present))
    place, rate = task.exhibits(shown(task)).time_series
    assert torch.from_numpy(rate.measured).isnan().tolist() == [False, False, True, False, False, False]
    assert not torch.from_numpy(place.measured).isnan().any()
    drawings = [time_series.charts([each])[0].drawings[0] for each in (place, rate)]
    assert [len(re.findall(r'class="mark classical', drawing)) for drawing in drawings] == [6, 5]


def test_a_chart_has_a_line_for_each_method_and_its_numbers_as_a_table():
    t = torch.arange(1.0, 6.0, dtype=torch.float64).numpy()
    own = TimeSeries(
        "Angle", "angle, rad", t, "time, s", 2 * t, None, [("Net <1>", "network", 3 * t), ("Kalman", "parent", t)]
    )
    (figure,) = time_series.charts([own])
    wide, narrow = figure.drawings
    for drawing in (wide, narrow):
        assert set(re.findall(r'<path class="line (\w+)"', drawing)) == {"truth", "network", "parent"}
        assert "<1>" not in drawing
    assert figure.header == ["time, s", "true", "Net <1>", "Kalman"]
    assert figure.numbers[1] == ["2", "4", "6", "2"]


LINEAR = Tracking(length=9, held_out=4)


def filters():
    """Of each kind a stream goes through: a filter, KalmanNet around a steady one, and a network of layers of it."""
    steady = KalmanNet(SteadyKalmanFilter(LINEAR.told), GainNetwork(2, 2, units=3))
    return {
        "filter": KalmanFilter(LINEAR.told),
        "network": moved(unroll(steady, 3, tied="network")),
        "extended": ExtendedKalmanFilter(Pendulum()),
    }


@pytest.mark.parametrize("name", ["filter", "network", "extended"])
def test_in_pieces_of_any_length_a_stream_is_the_whole_to_the_bit(name):
    network = filters()[name]
    model = (network.layers[0] if isinstance(network, Unrolled) else network).model
    y = model.simulate(3, 9, torch.Generator().manual_seed(0))[1]
    stream, wanted = FilterStream(network), track(network, Recording(y))[0]
    state, parts = None, []
    for length in (1, 2, 6):
        piece = Recording(y[:, sum(p.shape[1] for p in parts) :][:, :length], begin=5)  # whatever it says of itself
        means, state = stream(piece, state)
        parts.append(means)
    assert torch.equal(torch.cat(parts, 1), wanted)
    assert all(isinstance(each, torch.Tensor) and each.shape[0] == 3 for each in state)


@pytest.mark.slow
def test_a_file_goes_on_from_the_state_that_it_gave_back(tmp_path):
    """Moment by moment, at another number of streams than it was exported with."""
    network = filters()["network"]
    stream = FilterStream(network).eval()
    y = LINEAR.test[0].data.values
    first = Recording(y[:2, :1])
    path = export(stream, tmp_path / "moment.pt2", first, state=stream.start(first), free_sizes=False).path
    loaded, state, found = load(path), stream.start(Recording(y[:, :1])), []
    for t in range(5):
        mean, state = loaded(Recording(y[:, t : t + 1]), state)
        found.append(mean)
    wanted = track(network, Recording(y[:, :5]))[0].detach()
    torch.testing.assert_close(torch.cat(found, 1), wanted, rtol=1e-5, atol=1e-5)
    assert type(state)._fields == ("mean", "covariance", "hidden", "measurement", "evolution", "update")


def test_what_a_stream_cannot_go_through_is_refused():
    with pytest.raises(ValueError, match="has process_scale for each layer; tie them"):
        FilterStream(unroll(KalmanFilter(LINEAR.told), 3, untied="process_scale"))
    with pytest.raises(TypeError, match="goes through a filter, or a network of one; got a Linear"):
        FilterStream(torch.nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="measure"):
        FilterStream(KalmanFilter(LINEAR.told))(Recording(torch.zeros(1, 2, 3)))
