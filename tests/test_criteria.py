"""Table III by role, and what a NaN does to it: nothing is best for not having been measured."""

import math

import pytest
import torch
from tiny import recovery

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.criteria import criteria
from unrolling.evaluation.measure import Contender
from unrolling.evaluation.records import Cost, Curve, Interval, Row, Seconds
from unrolling.evaluation.shifts import sweep
from unrolling.tasks.base import NMSE, Samples, Shift

NAN = float("nan")


def row(name, role, quality, *, trained=None, work=None, parameters=0):
    seconds = Seconds(1e-3, 10, 1e-3)
    own = Row(name, role, Interval(quality, quality, quality), 5, parameters, seconds, training_seconds=trained)
    own.cost = Cost(work, 1000, None)
    return own


def table(rows, shifts=(), curves=()):
    found = Comparison("a/b", "B", "task", "", NMSE, list(rows), {}, shifts=list(shifts), curves=list(curves))
    return {(line.name, line.measured.split(",")[0]): line for line in criteria(found)}


def test_the_generic_network_is_known_by_its_role_and_not_by_its_name():
    rows = [
        row("LISTA", "network", -20, work=5_000_000, parameters=100),
        row("ISTA", "parent", -10),
        row("linear MMSE", "generic", -30, work=1000, parameters=50),
        row("DnCNN", "generic", -15, trained=3.0, work=9_000_000, parameters=200),
    ]
    lines = table(rows)
    line = lines["performance", "NMSE on the test set"]
    assert (line.parent, line.generic, line.network, line.best) == ("-10.00", "-15.00", "-20.00", ("network",))
    # A parent whose work nobody counted is not the cheapest.
    work = lines["efficiency", "multiply-adds per sample"]
    assert (work.parent, work.generic, work.network, work.best) == ("not counted", "9", "5", ("network",))
    assert lines["parameters", "learned numbers"].generic == "200"


def test_interpretability_is_what_the_curves_show_or_nothing():
    rows = [row("LISTA", "network", -20), row("ISTA", "parent", -10), row("DnCNN", "generic", -15, trained=3.0)]
    assert not any(name == "interpretability" for name, _ in table(rows))
    curves = [
        Curve("LISTA", "network", [1, 2, 3], [-1, -3, -2], None),
        Curve("ISTA", "parent", [1, 2, 3], [-1, -2, NAN], None),
    ]
    found = next(line for (name, _), line in table(rows, curves=curves).items() if name == "interpretability")
    assert (found.parent, found.generic, found.network) == ("50", "unknown", "50")


def test_a_method_that_fails_under_a_shift_has_no_area_and_does_not_win():
    task = recovery(held_out=10)
    y, true = task.test[0]
    shift = Shift("noise", (0.0, 1.0, 2.0), lambda value: Samples(y + value, true), 0.0, "")

    def sturdy(data):
        return 0.5 * true

    def brittle(data):
        return 0.9 * true if torch.equal(data, y) else torch.full_like(true, NAN)

    (report,) = sweep(task, [shift], [Contender("N", "network", brittle), Contender("P", "parent", sturdy)])
    network, parent = report.curves
    assert network.quality[0] == pytest.approx(-20, abs=1e-3)
    assert math.isnan(network.area)
    assert math.isfinite(parent.area)
    # Behind from where it fails on.
    assert report.crossing == 1.0
    rows = [row("N", "network", -20), row("P", "parent", -6), row("G", "generic", -5, trained=1.0)]
    (three,) = sweep(
        task,
        [shift],
        [Contender("N", "network", brittle), Contender("P", "parent", sturdy), Contender("G", "generic", sturdy)],
    )
    line = next(line for (name, _), line in table(rows, [three]).items() if name == "generalisability")
    assert (line.network, line.best) == ("fails", ("parent", "generic"))
