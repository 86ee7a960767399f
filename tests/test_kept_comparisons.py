"""A comparison keeps what was measured: where baselines fail or take too long, where a part of the page cannot be made,
and where Ctrl-C ends it.
"""

import json

import pytest
from command_line import LISTA, TINY
from command_line import small as small
from families import by_day

from unrolling.evaluation import compare as compare_module
from unrolling.evaluation import contenders as contenders_module
from unrolling.evaluation.deadline import TookTooLongError

RUN = ("compare", LISTA, *TINY, "--steps", 4, "--quick")


def found(folder):
    assert (folder / "index.html").is_file()
    assert (folder / "comparison.md").is_file()
    return json.loads((folder / "comparison.json").read_text())


def test_baselines_that_take_too_long_are_rows_that_say_so(unroll, small, tmp_path, monkeypatch):
    """Also those that end in time when they are tuned, and not when they are measured."""
    real, calls = contenders_module.estimates_of, []

    def slow(run, *arguments):
        calls.append(run)
        if len(calls) > 2 and len(calls) % 2:
            raise TookTooLongError("stopped after 0.05 s")
        return real(run, *arguments)

    monkeypatch.setattr(contenders_module, "estimates_of", slow)
    status, _, errors = unroll(*RUN, "--out", tmp_path)
    assert status == 0, errors
    rows = found(tmp_path)["rows"]
    failed = [row for row in rows if row["note"].startswith("failed: stopped after 0.05 s")]
    assert failed
    assert all(row["quality"]["mean"] is None and row["seconds"] is None for row in failed)
    assert rows[0]["quality"]["mean"] is not None


def test_the_network_itself_takes_as_long_as_it_takes(unroll, small, tmp_path):
    status, _, errors = unroll(*RUN, "--limit", "0.000001", "--out", tmp_path)
    assert status == 0, errors
    rows = found(tmp_path)["rows"]
    assert rows[0]["quality"]["mean"] is not None
    assert any("stopped after" in row["note"] for row in rows[1:])


@pytest.mark.parametrize("name", by_day("examine_layers", "criteria", "_guarded"))
def test_a_part_that_fails_leaves_the_rest(name, unroll, small, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise IndexError("list index out of range")

    monkeypatch.setattr(compare_module, name, broken)
    status, _, errors = unroll(*RUN, "--out", tmp_path)
    assert status == 0, errors
    content = found(tmp_path)
    assert any("could not be shown: list index out of range" in note for note in content["notes"])
    assert content["rows"][0]["quality"]["mean"] is not None


@pytest.mark.parametrize("where", by_day("run_method", "time_all", "examine_layers"))
def test_ctrl_c_keeps_what_was_measured(where, unroll, small, tmp_path, monkeypatch):
    def pressed(*arguments, **options):
        raise KeyboardInterrupt

    module = compare_module if where == "examine_layers" else contenders_module
    monkeypatch.setattr(module, where, pressed)
    status, _, errors = unroll(*RUN, "--out", tmp_path)
    assert status == 130, errors
    content = found(tmp_path)
    assert "Interrupted: what is not here was not measured." in content["notes"]
    assert content["rows"][0]["quality"]["mean"] is not None
    if where == "run_method":
        assert any("not measured: interrupted" in row["note"] for row in content["rows"])
