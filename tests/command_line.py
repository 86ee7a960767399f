"""The command line in tests: a small problem, no training where none may start, and what a mistake looks like."""

import pytest
from tiny import system

from unrolling.systems import catalogue as catalogue_module

LISTA = "sparse_coding/lista"
TINY = ("--task", "recovery", "--set", "m=20", "--set", "n=40", "--depth", "3")


@pytest.fixture
def small(monkeypatch):
    """LISTA with a recipe that compares in seconds."""
    chosen = system()
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {LISTA: chosen})
    return chosen


@pytest.fixture
def untrained(monkeypatch):
    """No training may start, and no comparison."""
    for path in ("unrolling.training.fit.fit", "unrolling.evaluation.compare.compare"):
        monkeypatch.setattr(path, lambda *arguments, **options: pytest.fail("the work began"))


def refused(result, *words):
    """Status 2, one line on the error output, nothing else."""
    status, output, errors = result
    assert status == 2, errors
    assert output == ""
    assert errors.startswith("unroll: ")
    assert errors.count("\n") == 1
    for word in words:
        assert str(word) in errors
