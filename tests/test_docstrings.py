"""Every public name says what it is, and what it says of its arguments is so; every one is in the reference."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from tools.site import api
from tools.site.docstrings import plain
from tools.site.validation import faults

ROOT = Path(__file__).parents[1]


def test_docstrings_of_public_names_have_a_first_sentence_and_name_the_arguments_that_there_are():
    found = {entry.full: list(faults(entry.value)) for entry in api.definitions()}
    assert len(found) > 900
    assert not {name: said for name, said in found.items() if said}


def test_every_public_name_is_on_a_page_of_the_reference(tmp_path):
    api.write(tmp_path)
    pages = {path.relative_to(tmp_path / "api").as_posix(): path.read_text() for path in tmp_path.rglob("*.rst")}
    shown = set(re.findall(r"^\.\. (?:auto\w+|py:data):: (unrolling\.\S+)$", "\n".join(pages.values()), re.MULTILINE))
    for package in api.packages():
        listed = pages[f"{package}.rst"]
        for name in importlib.import_module(package).__all__:
            entry = next(entry for entry in api.public() if (entry.package, entry.name) == (package, name))
            assert f"`~{entry.home}.{name}`" in listed, f"{package}.{name}"
            assert f"{entry.home}.{name}" in shown or entry.full == "unrolling.export", f"{package}.{name}"


def test_a_second_writing_leaves_the_pages_and_removes_those_of_names_that_are_gone(tmp_path):
    api.write(tmp_path)
    page = tmp_path / "api/unrolling.prox.rst"
    before = page.stat().st_mtime_ns
    (tmp_path / "api/gone.rst").write_text("")
    api.write(tmp_path)
    assert page.stat().st_mtime_ns == before
    assert not (tmp_path / "api/gone.rst").exists()


def test_the_index_of_the_reference_has_every_package():
    text = (ROOT / "docs/api/index.md").read_text()
    for package in api.packages():
        assert f"\n{package}\n" in text


@pytest.mark.parametrize(
    ("line", "page"),
    [
        ("x* and |x|_1", r"x\* and \|x\|_1"),
        ("``a*`` of A_", r"``a*`` of A\_"),
        ("``solve``(b)", r"``solve``\ (b)"),
        ("(3) thresholds", r"\(3) thresholds"),
        ("    *args: what is passed on", "    *args: what is passed on"),
    ],
)
def test_formulas_in_a_docstring_are_no_markup(line, page):
    assert plain([line]) == [page]


def test_programs_in_a_docstring_stay_as_they_are():
    lines = [">>> a * b", "as follows::", "", "    x * y", "", "x * y"]
    assert plain(lines) == [*lines[:-1], r"x \* y"]


def test_faults_are_found():
    def no_sentence(a):
        """Something that

        Args:
            b: not there.
        """

    assert list(faults(no_sentence)) == [
        "the first paragraph is no sentence",
        "argument b is not in the signature",
        "argument a is left out",
    ]
    assert list(faults(lambda a: a)) == ["no docstring"]


def test_programs_in_docstrings_print_what_they_say():
    """Those with ``>>>``, wherever they are in the library."""
    for path in sorted((ROOT / "unrolling").rglob("*.py")):
        if ">>>" in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            failed, _ = doctest.testmod(importlib.import_module(name))
            assert not failed, name
