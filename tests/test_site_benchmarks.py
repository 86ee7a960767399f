"""Pages of benchmarks: from docstrings and from records that were kept; and that each finds what it imports."""

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.run import ALL, completed
from tools.site import benchmarks

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks" / "results"


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "benchmarks"
    (folder / "results").mkdir(parents=True)
    (folder / "index.md").write_text("# Benchmarks\n")
    return tmp_path


def put(docs, when, ratio, load=0.1):
    row = {"way": "compiled", "ratio": ratio, "bar": 1.15, "better": "low"}
    machine = {"processor": "A", "device": "cpu"}
    record = {"benchmark": "training_step", "threads": 1, "torch": "2", "machine": machine, "load": load, "rows": [row]}
    folder = docs / "benchmarks" / "results" / when
    folder.mkdir(parents=True)
    (folder / "training_step.json").write_text(json.dumps(record))


def test_every_benchmark_has_a_page_with_its_command_and_what_it_measures(docs):
    benchmarks.write(docs)
    pages = {path.stem: path.read_text() for path in (docs / "benchmarks").glob("*.md")}
    assert set(ALL) < set(pages)
    for each in benchmarks.benchmarks():
        assert each.words
        assert f"python -m benchmarks.{each.name}\n" in pages[each.name]
        assert "No run is kept yet" in pages[each.name]


@pytest.mark.parametrize("name", [each.name for each in benchmarks.benchmarks()])
def test_every_benchmark_finds_what_it_imports(name):
    """What is optional is imported where it is used."""
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


def test_a_page_has_the_last_run_and_the_way_there(docs):
    put(docs, "2026-01-01T00-00-00Z", 1.3)
    put(docs, "2026-01-02T00-00-00Z", 1.1)
    benchmarks.write(docs)
    page = (docs / "benchmarks" / "training_step.md").read_text()
    assert "2026-01-02, A, 1 thread, torch 2. 1 of 1 bars are met." in page
    assert "at most 1.15: met" in page
    assert "-15%" in page
    assert page.count('<svg class="chart') == 2
    assert "other work" not in page
    assert "| [Training step](training_step.md)" in (docs / "benchmarks" / "_all.txt").read_text().splitlines()[2]


def test_times_of_a_busy_machine_are_named_as_such(docs):
    put(docs, "2026-01-01T00-00-00Z", 1.3, load=4.5)
    benchmarks.write(docs)
    assert "other work (4.5 processes for each core)" in (docs / "benchmarks" / "training_step.md").read_text()


def test_what_is_no_record_is_refused(docs):
    put(docs, "2026-01-01T00-00-00Z", 1.3)
    (docs / "benchmarks/results/2026-01-01T00-00-00Z/half.json").write_text('{"rows": [')
    with pytest.raises(ValueError, match="half"):
        benchmarks.write(docs)


def test_a_docstring_is_shown_as_it_is_written():
    text = "Bars: at most ``a_b`` and c_d * e.\n\n    x = y_z * w"
    assert benchmarks.markdown(text) == "Bars: at most `a_b` and c\\_d \\* e.\n\n```python\nx = y_z * w\n```"


def test_a_record_says_on_what_it_was_measured(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    record = json.loads(completed('{"benchmark": "import_time", "rows": [{"engine": 0.03}]}'))
    assert record["threads"] == 3
    assert record["machine"]["processor"]
    assert record["load"] >= 0
    assert record["rows"] == [{"engine": 0.03}]
    assert json.loads(completed('{"threads": 1, "rows": []}'))["threads"] == 1


def test_what_is_kept_are_records_of_benchmarks_that_there_are():
    known = {each.name for each in benchmarks.benchmarks()}
    for path in RESULTS.glob("*/*.json"):
        record = json.loads(path.read_text())
        assert record["benchmark"] == path.stem
        assert path.stem in known
        assert record["machine"]["processor"]
