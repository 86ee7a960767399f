"""The page of the benchmarks: which bars are met, what moved, what cannot be read."""

import json
import re

import pytest

from benchmarks import history
from benchmarks.record import met
from benchmarks.timing import alternate, compared


def run(folder, when, name, rows, processor="A", threads=1):
    (folder / when).mkdir(parents=True, exist_ok=True)
    record = {
        "benchmark": name,
        "threads": threads,
        "torch": "2",
        "machine": {"processor": processor, "device": "cpu"},
        "rows": rows,
    }
    (folder / when / f"{name}.json").write_text(json.dumps(record))


def cells(page):
    """Of the first table, tags taken out."""
    body = re.search(r"<tbody>(.*?)</tbody>", page, re.S)[1]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in body.split("</tr>")[:-1]]


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ({"ratio": 1.1, "bar": 1.15, "better": "low"}, True),
        ({"ratio": 1.2, "bar": 1.15}, False),
        ({"value": 0.9, "bar": 0.85, "better": "high"}, True),
        ({"ratio": 0.9, "value": 0.8, "bar": 0.85, "better": "high"}, False),
        ({"ratio": 3.0}, None),
    ],
)
def test_a_bar_is_met_from_its_own_side(row, held):
    assert met(row) is held


def test_the_page_shows_the_last_run_beside_the_one_before_on_the_same_machine(tmp_path):
    def rows(ratio):
        return [
            {"way": "onnx <fast>", "batch": 1000, "ratio": ratio, "bar": 1.15, "better": "low"},
            {"way": "eager", "batch": 1, "ratio": 2.0},
        ]

    run(tmp_path, "2026-01-01", "formats", rows(1.0))
    run(tmp_path, "2026-01-02", "formats", rows(9.0), processor="B")
    run(tmp_path, "2026-01-03", "formats", rows(1.2))
    page = history.write(tmp_path).read_text()
    assert cells(page) == [
        ["onnx &lt;fast&gt;, 1000", "at most 1.15: missed", "+20%", "1.2"],
        ["eager, 1", "", "+0%", "2"],
    ]
    assert "0 of 1 bars are met" in page
    assert "2 runs on A, 1 thread, the oldest first." in page
    assert "<script" not in page
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org", "", page)


def test_half_a_file_is_named_and_the_rest_is_shown(tmp_path):
    run(tmp_path, "2026-01-01", "good", [{"what": "x", "value": 1.0}])
    (tmp_path / "2026-01-01" / "bad.json").write_text('{"benchmark": "bad", "rows": [')
    page = history.write(tmp_path).read_text()
    assert "2026-01-01/bad.json" in page
    assert cells(page)[0][0] == "x"
    with pytest.raises(ValueError, match="holds no runs"):
        history.write(tmp_path / "empty")


def test_ratios_are_taken_round_by_round():
    """A machine that slows down tenfold half way leaves the ratio at 2."""
    fast = [1.0] * 10 + [10.0] * 10
    assert compared({"a": [2 * t for t in fast], "b": fast}, "a", "b") == {"ratio": 2.0, "low": 2.0, "high": 2.0}


def test_each_round_has_all_calls_in_changing_order():
    order = []
    times = alternate({name: lambda n=name: order.append(n) for name in "ab"}, seconds=0.0, least=4)
    assert [len(each) for each in times.values()] == [4, 4]
    assert order[6:] == list("baabbaab")
