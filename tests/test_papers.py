"""The list of papers: keys, entries, what is refused."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from unrolling.systems.catalogue import catalogue, find
from unrolling.systems.papers import SURVEY, VENUES, Reference, cited, papers
from unrolling.tasks.catalogue import catalogue as tasks


def test_every_paper_has_the_key_that_its_entry_would_get_and_a_kind_with_its_venue():
    for key, paper in papers().items():
        assert paper.key == key
        assert paper.kind in VENUES
        assert f"  {VENUES[paper.kind]} = {{{paper.venue}}}" in paper.bibtex()
        assert paper.bibtex().count("{") == paper.bibtex().count("}")


def test_every_paper_is_cited_and_every_citation_is_a_paper():
    used = {key for system in catalogue().values() for key in system.references}
    used |= {key for task in tasks().values() for key in task.references} | {SURVEY}
    pages = (Path(__file__).parents[1] / "docs").rglob("*.md")
    used |= {key for page in pages for key in re.findall(r"\{cite:t\}`(\w+)`", page.read_text(encoding="utf-8"))}
    assert used == papers().keys()


def test_an_article_has_journal_volume_issue_and_pages():
    entry = papers()["beck2009fast"].bibtex()
    assert entry.startswith("@article{beck2009fast,\n  author = {Beck, A. and Teboulle, M.},")
    for line in (
        "journal = {SIAM Journal on Imaging Sciences}",
        "volume = {2}",
        "number = {1}",
        "pages = {183--202}",
        "doi = {10.1137/080716542}",
    ):
        assert line in entry
    assert papers()["gregor2010learning"].bibtex().startswith("@inproceedings{gregor2010learning,")
    assert "booktitle = {ICML}" in papers()["gregor2010learning"].bibtex()


def test_an_unknown_key_is_refused_with_the_nearest_when_the_system_is_made():
    with pytest.raises(ValueError, match="no paper has the key 'gregor2010lerning'; near are gregor2010learning"):
        replace(find("sparse_coding/lista"), references=("gregor2010lerning",))


def test_a_reference_of_ones_own_passes_through():
    mine = Reference("Me, M. and You, Y.", "The mine", "Here", 2024)
    assert cited([mine, SURVEY]) == (mine, papers()[SURVEY])
    assert mine.key == "me2024mine"
    assert str(mine) == "Me, M. and You, Y. (2024). The mine. Here."
