"""The checks of the built site find what is wrong with a page, and say nothing of one that is right."""

import re
import tomllib
from pathlib import Path

import pytest

from tools.site.accessibility import findings
from tools.site.files import keep
from tools.site.links import broken
from tools.site.markup import pages, parse
from tools.site.repository import SOURCE, outward
from tools.site.screenshots import browser, chosen

RIGHT = """<!doctype html><html lang="en"><head><title>A page</title></head><body><main><h1>A page</h1>
<p>With <a href="b.html#there">a link</a>, <a href="https://doi.org/10.1/x">one outside</a> and <img src="a.png" alt="a
picture">.</p><h2>Numbers</h2><table><tr><th>n</th></tr><tr><td>1</td></tr></table>
<label for="q">word</label><input id="q"></main></body></html>"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a.html").write_text(RIGHT)
    (tmp_path / "b.html").write_text('<html lang="en"><body><p id="there">here</p></body></html>')
    (tmp_path / "a.png").write_bytes(b"")
    return tmp_path


def links(site):
    return list(broken(site, pages(site)))


def test_a_page_whose_links_lead_somewhere(site):
    assert links(site) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('<a href="gone.html">x</a>', "c.html: gone.html does not exist"),
        ('<a href="b.html#gone">x</a>', "c.html: b.html#gone has no such anchor"),
        ('<a href="#gone">x</a>', "c.html: #gone has no such anchor"),
        ('<a href="../../etc">x</a>', "c.html: ../../etc leads out of the site"),
        ('<a href="https://nowhere">x</a>', "c.html: https://nowhere is no address"),
        ('<img src="a%20b.png">', "c.html: a%20b.png does not exist"),
        ('<script src="https://cdn.example.org/x.js"></script>', "c.html: <script> loads https://cdn.example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "c.html: <link> loads //example.org/x.css from"),
    ],
)
def test_a_link_that_leads_nowhere_or_to_a_network_is_found(site, wrong, said):
    (site / "c.html").write_text(f"<html><body>{wrong}</body></html>")
    (found,) = links(site)
    assert found.startswith(said)


def test_a_style_that_loads_from_a_network_is_found(site):
    (site / "x.css").write_text("body { background: url('https://example.org/a.png') }")
    assert links(site) == ["x.css: loads https://example.org/a.png from a network"]


def test_a_folder_without_pages_is_no_site(tmp_path):
    with pytest.raises(FileNotFoundError, match="make docs"):
        pages(tmp_path)


def test_an_accessible_page_has_no_findings():
    assert list(findings(parse(RIGHT))) == []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (' lang="en"', "", "no language"),
        ("<title>A page</title>", "", "no title"),
        ("<h2>Numbers</h2>", "<h3>Numbers</h3>", "the heading 'Numbers' of level 3 follows one of level 1"),
        ("<h1>A page</h1>", "", "0 headings of the first level"),
        (' alt="a\npicture"', "", "the image a.png has no alternative text"),
        ("a link", "", "a a without a name"),
        ("<th>n</th>", "<td>n</td>", "a table without headers: n1"),
        ('<label for="q">word</label>', "", "a field without a label"),
        ("<input", '<p id="q"></p><input', "the id q occurs 2 times"),
    ],
)
def test_what_keeps_readers_out_is_found(right, wrong, said):
    assert right in RIGHT
    (found, *more) = findings(parse(RIGHT.replace(right, wrong, 1)))
    assert found.startswith(said)
    assert not more


def test_a_picture_beside_the_words_of_a_link_is_decoration():
    page = RIGHT.replace("a link", '<img src="a.png" alt=""> a link')
    assert list(findings(parse(page))) == []


def test_links_out_of_the_pages_lead_to_the_repository():
    text = "[a](../../README.md#x), [b](../guides/images.md), [c](https://doi.org)"
    assert outward(text, "guides/training.md") == text.replace("../../", SOURCE)
    assert outward("[d](../examples/run_onnx.py)", "index.md") == f"[d]({SOURCE}examples/run_onnx.py)"


def test_generated_files_are_written_only_when_their_text_changed(tmp_path):
    keep(tmp_path, {"a.rst": "a", "b/c.rst": "c"}, suffix=".rst")
    (tmp_path / "kept.md").write_text("by hand")
    before = (tmp_path / "a.rst").stat().st_mtime_ns
    keep(tmp_path, {"a.rst": "a"}, suffix=".rst")
    assert (tmp_path / "a.rst").stat().st_mtime_ns == before
    assert not (tmp_path / "b/c.rst").exists()
    assert (tmp_path / "kept.md").exists()


def test_every_section_is_among_the_pages_that_are_looked_at(tmp_path):
    for name in ("index", "learn/index", "learn/one", "learn/two", "_static/index", "api/index"):
        path = tmp_path / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(RIGHT)
    assert chosen(tmp_path) == [
        "index.html",
        "api/index.html",
        "learn/index.html",
        "learn/one.html",
        "learn/two.html",
    ]


def test_a_browser_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(FileNotFoundError, match="CHROMIUM"):
        browser()


def test_what_opens_a_branch_of_the_navigation_is_called_after_it():
    pytest.importorskip("docutils")
    from tools.site.theme import named_branches

    html = '<li><a href="x.html">One <em>two</em></a><details><summary><i></i></summary></details></li>'
    assert '<summary aria-label="Pages below One two">' in named_branches(html)
    assert named_branches('<a href="y">plain</a>') == '<a href="y">plain</a>'


def test_what_the_build_of_the_site_installs_is_named_and_pinned():
    root = Path(__file__).parents[1]
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (root / "constraints.txt").read_text().split()}
    for group in ("docs", "screenshots"):
        assert f"--group {group}" in (root / "Makefile").read_text()
        assert {re.split("[><=]", name)[0] for name in groups[group]} <= pinned
