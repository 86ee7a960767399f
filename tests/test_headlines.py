"""What a headline says: the strongest row whatever its name and kind, the algorithm after as many iterations, what
training added; and which rows may be called the best of anything.
"""

from types import SimpleNamespace

import pytest
import torch

from unrolling.evaluation.comparison import Comparison
from unrolling.evaluation.criteria import criteria
from unrolling.evaluation.headlines import headline, stands
from unrolling.evaluation.records import Cost, Interval, Paired, Row, Seconds
from unrolling.report.collection import read_comparison
from unrolling.report.page import table_rows
from unrolling.report.table import best_quality, cost_rows
from unrolling.tasks.base import BER, NMSE
from unrolling.tasks.exhibits import Shown, pictures

NAN = float("nan")


def row(name, role, mean, difference=None, half=0.5, **changes):
    """A row at ``mean``, its difference from the network with an interval of this half width."""
    own = Row(name, role, Interval(mean, mean, mean), 5, 10, Seconds(1e-3, 10, 1e-3), cost=Cost(10**6, 1, 1))
    if difference is not None:
        own.paired = Paired(difference, difference - half, difference + half, 1e-4)
    for key, value in changes.items():
        setattr(own, key, value)
    return own


def said(rows, metric=NMSE):
    return headline("NET", SimpleNamespace(metric=metric), rows)


NETWORK = row("NET, 5 layers", "network", -20.0)


@pytest.mark.parametrize(
    ("name", "role", "changes"),
    [
        ("maximum likelihood", "classical", {"iterations": None}),
        ("SPAMS orthogonal matching pursuit", "library", {}),
        ("linear MMSE", "generic", {"linear": True}),
        ("ISTA, 300 iterations", "parent", {}),
        ("FISTA, at convergence", "classical", {}),
    ],
)
def test_the_strongest_row_is_named_whatever_its_name_and_kind(name, role, changes):
    rows = [NETWORK, row("worse, at convergence", "classical", -10.0, 10.0), row(name, role, -23.0, -3.0, **changes)]
    assert f"The strongest classical row is {name}, -23.00 dB, 3.00 dB better [2.50, 3.50]" in said(rows)


def test_what_the_interval_does_not_tell_apart_is_said_not_to_be():
    equal = row("ISTA, as many iterations", "parent", -19.8, 0.2)
    text = said([NETWORK, row("FISTA, at convergence", "classical", -19.9, 0.1), equal])
    assert (
        "FISTA, at convergence, -19.90 dB, not distinguishable from NET (a difference of 0.10 dB [-0.40, 0.60])" in text
    )
    assert "Its algorithm: ISTA, as many iterations, -19.80 dB, not distinguishable from NET" in text


def test_what_training_added_is_said_and_where_it_began():
    rows = [NETWORK, row("NET before training", "initial", -18.0, 2.0), row("ISTA, 9 iterations", "parent", -8.0, 12.0)]
    assert "Before training it is at -18.00 dB, above every other row: training added 2.00 dB [1.50, 2.50]" in said(
        rows
    )
    lost = said([NETWORK, row("NET before training", "initial", -22.0, -2.0)])
    assert "training lost 2.00 dB [1.50, 2.50]" in lost
    same = said([NETWORK, row("NET before training", "initial", -20.1, -0.1)])
    assert "the trained network is not distinguishable from that" in same


def test_rates_are_written_as_rates():
    rows = [row("NET, 5 layers", "network", 3.0e-3), row("ML", "classical", 2.65e-3, -3.5e-4, 1e-4)]
    assert "ML, 0.00265 errors per bit, 0.00035 errors per bit better [0.00025, 0.00045]" in said(rows, BER)


def test_a_method_on_fewer_samples_stands_where_its_difference_puts_it():
    """Its own samples are easier: it is 1 dB worse on those, though its figure is the better one."""
    part = row("library", "library", -25.0, 1.0, samples=50)
    text = said([NETWORK, part, row("FISTA", "classical", -19.5, 0.5, 0.1)])
    assert "The strongest classical row is FISTA" in text
    assert "library, -25.00 dB over the first 50 samples, 1.00 dB worse" in said([NETWORK, part])


@pytest.mark.parametrize("role", ["classical", "initial", "parent", "generic"])
def test_what_diverged_is_in_no_sentence(role):
    for value in (NAN, float("inf")):
        text = said([NETWORK, row("bad, as many iterations", role, value, value, training_seconds=1.0)])
        assert text == "NET reaches -20.00 dB NMSE in 5 layers."


def test_no_generic_network_below_the_linear_estimate_stands_for_its_kind():
    """Nor does it win for being quick, small or cheap: neither in Table III nor by a star."""
    poor = row("MLP, as many parameters", "generic", -3.0, 17.0, training_seconds=9.0, parameters=1)
    poor.cost, poor.seconds = Cost(1, 1, 1), Seconds(1e-9, 10, 1e-9)
    good = row("MLP, as many multiply-adds", "generic", -14.0, 6.0, training_seconds=9.0)
    linear = row("linear MMSE", "generic", -12.0, 8.0, linear=True)
    rows = [NETWORK, row("ISTA", "parent", -10.0, 10.0), linear, poor]
    assert not stands(poor, rows, NMSE)
    assert stands(good, [*rows, good], NMSE)
    found = Comparison("a/b", "B", "task", "", NMSE, rows, {})
    assert {line.generic for line in criteria(found)} == {"unknown", "not counted"}
    assert not any("generic" in line.best for line in criteria(found))
    cells = table_rows(found)[3]
    assert not cells["fastest_batch"]
    assert not cells["fastest_single"]
    both = criteria(Comparison("a/b", "B", "task", "", NMSE, [*rows, good], {}))
    assert next(line.generic for line in both if line.name == "performance") == "-14.00"


def test_a_diverged_network_wins_nothing():
    bad = row("NET, 5 layers", "network", NAN, seconds=Seconds(1e-9, 10, 1e-9), cost=Cost(1, 1, 1))
    rows = [bad, row("ISTA", "parent", -10.0), row("MLP", "generic", -9.0, training_seconds=1.0)]
    found = Comparison("a/b", "B", "task", "", NMSE, rows, {})
    assert {line.network for line in criteria(found)} == {"fails"}
    assert not any("network" in line.best for line in criteria(found))
    assert not table_rows(found)[0]["fastest_batch"]


def test_a_bound_is_written_as_a_bound_and_work_that_nobody_counted_as_such():
    certain, likely = row("a", "classical", -10.0, 10.0), row("b", "library", -10.0, 10.0, cost=None)
    certain.paired.adjusted, likely.paired.p, likely.paired.adjusted = 2e-4, 0.02, 0.02
    cells = cost_rows(Comparison("a/b", "B", "task", "", NMSE, [NETWORK, certain, likely], {}))
    assert cells[1][1].endswith("p ≤ 0.0002")
    assert cells[2][1].endswith("p = 0.02")
    assert cells[2][2] == "not counted"


def test_a_comparison_is_short_in_words_a_table_in_notebooks_and_a_file(tmp_path):
    found = Comparison(
        "a/b", "B <i>", "task", "", NMSE, [NETWORK, *(row(f"m{k}", "classical", -1.0) for k in range(40))], {}
    )
    assert len(repr(found)) < 300
    assert "and 38 more" in repr(found)
    found.headline = "B < C"
    assert "<p>B &lt; C</p>" in found._repr_html_()
    assert found._repr_html_().count("<tr>") == 42
    assert read_comparison(found.save(tmp_path / "new")).rows[0].name == NETWORK.name


def test_the_best_of_a_table_is_not_who_had_the_easier_samples():
    part = row("library", "library", -25.0, 1.0, samples=50)
    found = Comparison("a/b", "B", "task", "", NMSE, [NETWORK, part], {})
    assert best_quality(found) == 0


def test_pictures_show_the_network_before_training_and_the_best_of_what_was_not_trained():
    target = [torch.rand(1, 8, 8), torch.rand(1, 8, 8)]
    names = ("ISTA", "parent", 8.0), ("BM3D", "library", 26.0), ("NET before training", "initial", 28.0)
    methods = [Shown(name, role, level, target) for name, role, level in (*names, ("NET", "network", 29.0))]
    methods.append(Shown("one picture", "classical", 99.0, target[:1]))
    found = pictures(["a", "b"], target, methods, lambda estimate, true: "")
    captions = [caption.split(":")[0] for caption, _ in found.pictures[0].panels]
    assert captions == ["original", "BM3D", "NET before training", "NET"]
