"""Packages of others: whatever their entry points do, the systems and tasks of this one stay what they are."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from unrolling.systems import catalogue as systems
from unrolling.systems import index
from unrolling.systems.catalogue import find
from unrolling.tasks import catalogue as tasks


class OwnError(BaseException):
    """Of no ``Exception``, and without words."""

    def __str__(self):
        raise ValueError("nothing to say")


class Strange:
    """Lies about its class."""

    @property
    def __class__(self):
        raise RuntimeError("no class")


def raises(error):
    def load():
        raise error

    return load


@pytest.fixture
def foreign(monkeypatch):
    """Sets the entry points of both groups."""

    def setting(*loads, name="theirs"):
        entries = [SimpleNamespace(name=name, value="a:b", load=load) for load in loads]
        for module in (tasks, index):
            monkeypatch.setattr(module, "entry_points", lambda group: entries)
        systems.catalogue.cache_clear()
        tasks.catalogue.cache_clear()

    yield setting
    systems.catalogue.cache_clear()
    tasks.catalogue.cache_clear()


@pytest.mark.parametrize(
    "load",
    [
        raises(SystemExit(3)),
        raises(OwnError()),
        raises(GeneratorExit()),
        raises(MemoryError()),
        raises(RecursionError("deep\nand\nlong")),
        lambda: None,
        lambda: "sparse_coding/lista",
        Strange,
        lambda: replace(find("sparse_coding/lista"), name=3),
        lambda: replace(find("sparse_coding/lista"), name="/"),
        lambda: replace(find("sparse_coding/lista"), name="mine/new", variants=(3, "a")),
        lambda: replace(find("sparse_coding/lista"), name="mine/new", variants=None),
    ],
)
def test_whatever_an_entry_point_does_the_catalogue_is_there(load, foreign):
    names = list(systems.catalogue())
    foreign(load)
    with pytest.warns(RuntimeWarning, match="theirs"):
        assert set(names) <= set(systems.catalogue())
    with pytest.warns(RuntimeWarning, match="theirs"):
        assert "recovery" in tasks.catalogue()


def test_ctrl_c_while_a_package_is_imported_ends_the_command(foreign):
    foreign(raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        systems.catalogue()


@pytest.mark.parametrize(
    "name", ["sparse_coding/lista", "sparse-coding/lista", "Sparse_Coding/LISTA", "sparse-coding/lista/"]
)
def test_no_spelling_of_a_name_replaces_a_system(name, foreign):
    lista = find("sparse_coding/lista")
    theirs = replace(lista, name=name, title="of somebody else")
    foreign(lambda: theirs, name=name)
    with pytest.warns(RuntimeWarning, match="stays as it is"):
        assert find("sparse_coding/lista") == find("sparse-coding/LISTA") == find("lista") == lista
    with pytest.warns(RuntimeWarning, match="stays as it is"):
        assert list(index.foreign_systems()) == []


def test_a_short_name_of_ours_stays_ours(foreign, tmp_path):
    lista = find("sparse_coding/lista")
    theirs = replace(lista, name="mine/lista", home=tmp_path)
    foreign(lambda: theirs, name="mine/lista")
    assert find("lista") == lista
    assert find("mine/lista") is theirs
