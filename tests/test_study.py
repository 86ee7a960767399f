"""Table III, layers, shifts, sizes, the safeguard: what is measured and what the page says of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch
from test_report import Page
from tiny import moved, recovery, system

import unrolling
from unrolling import unroll
from unrolling.algorithms import ThinISTA
from unrolling.evaluation.compare import compare, compare_network
from unrolling.evaluation.criteria import KINDS
from unrolling.evaluation.measure import Contender
from unrolling.evaluation.shifts import FewSamples, size_sweep, sweep
from unrolling.report import study
from unrolling.report.collection import read_comparison, write_collection
from unrolling.report.page import render
from unrolling.report.table import cost_rows, markdown
from unrolling.systems.papers import Reference
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Iterative, Method
from unrolling.training.batches import generator
from unrolling.training.fit import fit
from unrolling.training.stages import Stage

SCHEMA = json.loads((Path(unrolling.__file__).parent / "report" / "comparison.schema.json").read_text())


@pytest.fixture(scope="module")
def trained():
    chosen = system()
    recipe = chosen.recipes["recovery"]
    task = chosen.task("recovery", m=20, n=40)
    net = chosen.network(recipe, task, 4)
    fit(net, task, [Stage(300, rate=1e-2, batch=64)], quiet=True)
    return chosen, recipe, task, net


@pytest.fixture(scope="module")
def comparison(trained):
    chosen, recipe, task, net = trained
    found = compare(
        chosen,
        "recovery",
        recipe,
        task,
        net,
        note="a note",
        quiet=True,
        training_seconds=1.5,
        generic=(30, 32),
    )
    found.command = "unroll compare somewhere"
    return found


# The comparison as a whole


def test_the_json_fits_its_schema(comparison):
    found = json.loads(json.dumps(comparison.to_json()), parse_constant=pytest.fail)
    jsonschema.validate(found, SCHEMA)
    assert found["rows"][0]["training_seconds"] == 1.5
    for wrong in ({"schema": 2}, {"metric": {"name": "x"}}, {"rows": [{"name": "x"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**found, **wrong}, SCHEMA)


@pytest.mark.nightly
def test_shuffled_weights_are_worse_in_every_figure(trained):
    chosen, recipe, task, net = trained
    broken = chosen.network(recipe, task, 4)
    values = {}
    for key, value in net.learned().items():
        order = torch.randperm(value.numel(), generator=torch.Generator().manual_seed(len(key)))
        values[key] = value.flatten()[order].view_as(value)
    broken.load_learned(values)
    good, bad = (compare(chosen, "recovery", recipe, task, n, quiet=True, baselines=[]) for n in (net, broken))
    assert bad.rows[0].quality.low > good.rows[0].quality.high
    for one, other in zip(good.shifts, bad.shifts, strict=True):
        assert other.curves[0].area > one.curves[0].area
        assert all(b > a for a, b in zip(one.curves[0].quality, other.curves[0].quality, strict=True))
    assert bad.safeguard.rate < good.safeguard.rate
    assert bad.layers.quality[-1] > good.layers.quality[-1]


def test_a_baseline_that_fails_or_takes_too_long_has_a_row_that_says_so(trained):
    chosen, recipe, task, net = trained

    def slow(weight):
        while True:
            sum(range(1000))

    def unknown(setting):
        raise ValueError("no such algorithm")

    methods = [
        *task.baselines(0)[:1],
        Iterative("broken", lambda weight: 1 / 0, (0.1,), 10),
        Iterative("slow", slow, (0.1,), 10),
        Method("nonsense", unknown, kind="library"),
    ]
    found = compare(chosen, "recovery", recipe, task, net, quiet=True, limit=1.0, effort="quick", baselines=methods)
    notes = {row.name: row.note for row in found.rows}
    assert notes["broken"] == "failed: division by zero"
    assert notes["slow"] == "failed: stopped after 1 s"
    assert notes["nonsense"] == "failed: no such algorithm"
    assert found.rows[0].quality.mean < 0
    jsonschema.validate(found.to_json(), SCHEMA)
    assert "failed: division by zero" in render(found)


def test_of_a_test_set_of_one_nobody_knows_the_spread(trained):
    chosen, recipe, task, net = trained
    one = chosen.task("recovery", m=20, n=40)
    one.test = [Samples(task.test[0].data[:1], task.test[0].target[:1])]
    one.vectors = False
    methods = [Iterative("ISTA", lambda w: net.parent, (0.1,), 5)]
    found = compare(chosen, "recovery", recipe, one, net, quiet=True, effort="quick", baselines=methods)
    quality = found.rows[0].quality
    assert math.isfinite(quality.mean)
    assert math.isnan(quality.low)
    assert found.to_json()["rows"][0]["quality"]["low"] is None
    assert "Intervals are over 1 sample only: a bootstrap of so few is too narrow." in found.notes
    assert found.notes[-1] in render(found)


@pytest.mark.nightly
def test_a_network_of_ones_own_is_compared_without_a_system():
    task = recovery(held_out=60)
    net = moved(unroll(ThinISTA(task.dictionary, 0.1), 3, untied=("encoder", "threshold")), size=1e-3)
    found = compare_network(
        net,
        task,
        title="MINE",
        quiet=True,
        generic_steps=20,
        effort="quick",
        baselines=[],
        reference=Reference("Me, M.", "Mine", "Here", 2024),
    )
    assert found.title == "MINE"
    assert {row.role for row in found.rows} == {"network", "initial", "parent", "generic"}
    assert found.row("parent").name.startswith("ISTA, ")
    assert "MINE reaches" in found.headline
    assert "@misc{me2024mine" in found.bibliography[0]


# Table III


def test_table_three_has_every_criterion_and_marks_the_best(comparison):
    assert {c.name for c in comparison.criteria} == {
        "performance",
        "efficiency",
        "parameters",
        "interpretability",
        "generalisability",
    }
    by_measure = {c.measured: c for c in comparison.criteria}
    assert all(set(c.best) <= set(KINDS) and c.best for c in comparison.criteria)
    rows = {row.role: row for row in comparison.rows if row.role in ("network",)}
    line = by_measure["NMSE on the test set, dB"]
    assert line.network == f"{rows['network'].quality.mean:.2f}"
    parent = min(row.quality.mean for row in comparison.rows if row.role == "parent")
    assert line.parent == f"{parent:.2f}"
    size = by_measure["learned numbers"]
    assert (size.parent, size.network) == ("0", "2,560")
    assert size.best == ("parent",)


# Shifts


def shift(values, trained, errors):
    """A shift whose samples carry the error that each method should make."""
    return Shift(
        "something", values, lambda v: Samples(torch.full((4, 1), float(v)), torch.ones(4, 1)), trained, "Words."
    )


def contender(name, role, error_of):
    def run(data):
        return 1 + torch.tensor([[10 ** (error_of(float(v)) / 20)] for v in data])

    return Contender(name, role, run)


def test_where_the_network_falls_behind_its_parent():
    task = recovery(held_out=2)
    network_ = contender("network", "network", lambda v: -20 + 4 * v)
    parent = contender("parent", "parent", lambda v: -10.0)
    (found,) = sweep(task, [shift((0.0, 1.0, 2.0, 3.0, 4.0), 0.0, None)], [network_, parent])
    assert found.crossing == pytest.approx(2.5)
    assert found.curves[0].quality == pytest.approx([-20, -16, -12, -8, -4], abs=1e-4)
    assert found.curves[0].area == pytest.approx(-12, abs=1e-4)
    (found,) = sweep(task, [shift((0.0, 1.0), 0.0, None)], [network_, parent])
    assert found.crossing is None
    (found,) = sweep(task, [shift((4.0, 2.0), 4.0, None)], [network_, parent])
    assert found.crossing == 4.0  # behind where it was trained
    (found,) = sweep(
        task, [shift((-3.0, 1.0, 3.0), 1.0, None)], [contender("n", "network", lambda v: -20 + 5 * abs(v - 1)), parent]
    )
    assert found.crossing == pytest.approx(3.0, abs=0.3) or found.crossing == pytest.approx(-1.0, abs=0.3)


def test_each_value_of_a_shift_has_an_interval_as_wide_as_its_samples_differ():
    task = recovery(held_out=2)
    alike = contender("network", "network", lambda v: -20.0)

    def scattered(data):
        return 1 + torch.tensor([[0.05], [0.1], [0.15], [0.2]])

    (found,) = sweep(task, [shift((0.0, 1.0), 0.0, None)], [alike, Contender("other", "parent", scattered)])
    for each in found.curves[0].intervals:
        assert (each.low, each.high) == (pytest.approx(each.mean, abs=1e-4), pytest.approx(each.mean, abs=1e-4))
    for each in found.curves[1].intervals:
        assert 20 * math.log10(0.05) <= each.low < each.mean < each.high <= 20 * math.log10(0.2)
    assert [each.mean for each in found.curves[1].intervals] == found.curves[1].quality


def test_the_tasks_own_shifts_meet_the_training_where_they_say(trained):
    _, _, task, _ = trained
    for each in task.shifts():
        batches = [each.make(value) for value in each.values]
        assert len({batch.target.shape for batch in batches}) == 1
        assert all(
            torch.equal(a.data, b.data) for a, b in zip(batches, [each.make(v) for v in each.values], strict=True)
        )
    shifts = {each.name: each for each in task.shifts()}
    clean = shifts["error of the dictionary, relative"].make(0.0)
    torch.testing.assert_close(clean.data, clean.target @ task.dictionary.T)
    off = shifts["error of the dictionary, relative"].make(0.1)
    error = (off.data - off.target @ task.dictionary.T).norm() / off.data.norm()
    assert 0.05 < float(error) < 0.2
    density = shifts["density of the signals"].make(0.2).target
    assert float((density != 0).float().mean()) == pytest.approx(0.2, abs=0.02)


def test_fewer_training_samples_are_fewer_training_samples(trained):
    _, _, task, _ = trained
    few = FewSamples(task, 3)
    drawn = torch.cat([few.draw(50, generator(k)).data for k in range(4)])
    assert len(drawn.unique(dim=0)) == 3
    assert few.identity()["samples"] == 3
    assert few.dictionary is task.dictionary
    with pytest.raises(ValueError, match="count is 0"):
        FewSamples(task, 0)


def test_training_on_fewer_samples_is_worse(trained):
    chosen, recipe, task, _ = trained

    def train(own):
        net = chosen.network(recipe, own, 3)
        fit(net, own, [Stage(200, rate=1e-2, batch=32)], choose="best", quiet=True)
        return net

    (curve,) = size_sweep(task, [("LISTA", "network", train)], [2])
    assert curve.samples == [2, None]
    assert curve.quality[0] > curve.quality[1] + 0.5


# The page


def test_the_page_has_a_section_for_each_part(comparison):
    page = Page(render(comparison))
    for section in ("methods", "criteria", "layers", "shifts", "safeguard", "cite"):
        assert section in page.sections
    text = page.text("main")
    assert "The network falls behind" in text or "The network stays ahead" in text
    assert "Safeguarded, the network takes" in text
    assert all(c.measured in text for c in comparison.criteria)
    assert comparison.drawing.startswith("<svg")
    assert comparison.drawing in render(comparison)
    assert not [note for note in comparison.notes if "could not be shown" in note]
    letters = {parameter.name: parameter.symbol for parameter in comparison.parameters}
    assert letters["threshold"] == "theta"
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    bare = Page(render(replace(comparison, criteria=[], layers=None, shifts=[], safeguard=None, bibliography=[])))
    assert not {"criteria", "layers", "shifts", "safeguard", "cite"} & set(bare.sections)


def test_a_slider_shows_one_layer_at_a_time_and_works_with_the_keyboard(comparison):
    from unrolling.tasks.exhibits import Panels

    panels = [
        ("original", torch.rand(16, 16).numpy()),
        *((f"layer {k}: 20 dB", torch.rand(16, 16).numpy()) for k in (1, 2, 3)),
    ]
    page = Page(render(replace(comparison, layer_pictures=[Panels("camera", panels)])))
    radios = page.all("input")
    assert len(radios) == 4
    assert all(radio["type"] == "radio" for radio in radios)
    assert len({radio["name"] for radio in radios}) == 1
    assert ["checked" in radio for radio in radios] == [False, False, False, True]
    assert {label["for"] for label in page.all("label")} == {radio["id"] for radio in radios}


def test_costs_and_differences_are_in_words(comparison):
    rows = {row[0]: row for row in cost_rows(comparison)}
    assert rows["LISTA, 4 layers"][1] == "–"
    assert rows["linear MMSE"][1].startswith("+")
    assert "p ≤ 0.00" in rows["linear MMSE"][1]
    assert rows["LISTA, 4 layers"][4] == "10.2 kB"


def test_markdown_says_what_the_page_says(comparison):
    text = markdown(comparison)
    assert comparison.headline in text
    assert "unroll compare somewhere" in text
    assert all(row.name in text for row in comparison.rows)
    assert all(shift.name in text for shift in comparison.shifts)
    assert text.count("| performance |") == 1


def test_seeds_are_spoken_of(comparison):
    with_seeds = replace(comparison, rows=[replace(comparison.rows[0], seeds=[-3.0, -9.0]), *comparison.rows[1:]])
    words = study.spread_words(with_seeds)
    assert words.startswith("Trained with 3 seeds")
    assert "−9.00" in words
    assert study.spread_words(comparison) == ""


# Several on one page


def test_comparisons_are_read_back_and_put_on_one_page(comparison, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "comparison.json").write_text(json.dumps(comparison.to_json()))
    found = [read_comparison(tmp_path / "a"), read_comparison(tmp_path / "b" / "comparison.json")]
    assert [(row.name, row.role, row.quality) for row in found[0].rows] == [
        (row.name, row.role, row.quality) for row in comparison.rows
    ]
    assert found[0].curves == comparison.curves
    page = Page(write_collection(found, tmp_path / "out").read_text())
    assert page.sections == ["run1", "run2"]
    assert page.text("h1").strip() == "2 comparisons"
    assert page.text("nav").count("LISTA, recovery") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no comparison.json"),
        ("{", "is not JSON"),
        ("[1]", "is not a comparison"),
        ('{"schema": 1}', "is not a comparison"),
        ('{"schema": 99, "rows": []}', "has schema 99, and this version of unrolling reads up to 1: update unrolling"),
        ('{"schema": 1, "rows": []}', "the comparison is not as expected, it has no system"),
        ('{"schema": 1, "system": "a", "metric": {}, "rows": []}', "lacks something that a comparison has: 'unit'"),
        ('{"schema": 1, "system": "a", "metric": {}, "rows": [{"role": "king"}]}', "its rows"),
        ('{"schema": 1, "system": "a", "metric": {}, "rows": [], "notes": 3}', "its notes is 3, where a list"),
        ("[" * 200_000, "is not JSON"),
    ],
)
def test_old_or_foreign_json_is_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_comparison(tmp_path)


# Citations


def test_bibtex_of_names_as_papers_write_them():
    entry = Reference(
        "Chen, X., Liu, J., Wang, Z. and Yin, W.", "Theoretical linear convergence", "NeurIPS", 2018, "10.1/x"
    ).bibtex()
    assert "@misc{chen2018theoretical," in entry
    assert "author = {Chen, X. and Liu, J. and Wang, Z. and Yin, W.}" in entry
    assert "doi = {10.1/x}" in entry
    assert (
        "author = {Monga, V. and Li, Y. and Eldar, Y. C.}"
        in Reference("Monga, V., Li, Y. and Eldar, Y. C.", "T", "V", 2021).bibtex()
    )
    assert "author = {Borgerding, M. and others}" in Reference("Borgerding, M. et al.", "T", "V", 2017).bibtex()
