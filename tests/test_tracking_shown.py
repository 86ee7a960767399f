"""What the page of a comparison shows of tracking, and a filter as a file that a stream goes through in pieces."""

import re

import pytest
import torch
from tiny import moved

from unrolling import unroll
from unrolling.algorithms.dynamics.kalman import KalmanFilter, SteadyKalmanFilter, track
from unrolling.algorithms.dynamics.kalman_net import GainNetwork, KalmanNet
from unrolling.algorithms.dynamics.state_space import Recording
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
        assert [(name, role) for name, role, _ in each.estimates] == [("the network", "network"), ("a filter", "parent")]
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
    own = TimeSeries("Angle", "angle, rad", t, "time, s", 2 * t, None, [("Net <1>", "network", 3 * t), ("Kalman", "parent", t)])
    (figure,) = time_series.charts([own])
    wide, narrow = figure.drawings
    for drawing in (wide, narrow):
        assert len(re.findall(r'<path class="line ', drawing)) == 3
        assert 'class="line truth"' in drawing
        assert "<1>" not in drawing
    assert figure.header == ["time, s", "true", "Net <1>", "Kalman"]
    assert figure.numbers[1] == ["2", "4", "6", "2"]


@pytest.mark.parametrize("steady", [False, True])
def test_a_file_of_a_filter_goes_on_from_the_state_that_it_gave_back(tmp_path, steady):
    pass
