"""Options of tasks say what they mean."""

import json
import sys

import pytest

from unrolling.cli.meanings import meanings
from unrolling.systems.index import read_index
from unrolling.tasks.catalogue import catalogue, find_task


class Base:
    """Something.

    Args:
        rate: part that is measured,
            in (0, 1].
        seed: of noise.

    Raises:
        ValueError: a rate: that is none.
    """


class Other(Base):
    """Another.

    Args:
        width, height: in pixels.
        seed: of ``noise`` and masks.
    """


def test_arguments_are_read_with_their_further_lines_and_those_of_bases():
    assert meanings(Other) == {
        "rate": "part that is measured, in (0, 1]",
        "width": "in pixels",
        "height": "in pixels",
        "seed": "of noise and masks",
    }


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_option_of_every_task_has_a_meaning(name):
    task = find_task(name)
    assert all(meanings(task).get(key) for key in task.options), [k for k in task.options if not meanings(task).get(k)]


def test_show_says_what_it_can_where_an_extra_is_not_installed(unroll, monkeypatch):
    for package in ("sklearn", "skimage", "PIL"):
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
    status, output, errors = unroll("show", "lista")
    assert (status, errors) == (0, "")
    assert "Gregor, K. and LeCun, Y. (2010)" in output
    assert "what is learned: " in output
    assert "pip install 'unrolling[data]'" in output
    found = json.loads(unroll("show", "lista", "--json")[1])
    assert found["parameters"] == []
    assert found["learned_numbers"] is None
    assert "unrolling[data]" in found["lacking"]
    entry = next(entry for entry in read_index() if entry["name"] == "sparse_coding/lista")
    assert found["tasks"] == list(entry["tasks"])
