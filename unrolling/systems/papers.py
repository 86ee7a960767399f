"""Publications: what systems and tasks cite by key, from one list (``papers.bib``)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SURVEY = "monga2021algorithm"
VENUES = {"article": "journal", "inproceedings": "booktitle", "misc": "howpublished"}  # the field of the venue, by kind


@dataclass(frozen=True)
class Reference:
    """A publication.

    Attributes:
        authors: as papers write them: ``Gregor, K. and LeCun, Y.``, or with ``et al.`` at the end.
        title: of the publication.
        venue: journal, conference or archive.
        year: of publication.
        doi: digital object identifier.
        kind: of the BibTeX entry: ``article``, ``inproceedings`` or ``misc``.
        volume: of the journal.
        number: of the issue.
        pages: ``183--202``.
        eprint: number at arXiv.
        url: where it is read, if it has neither of these.
    """

    authors: str
    title: str
    venue: str
    year: int
    doi: str = ""
    kind: str = "misc"
    volume: str = ""
    number: str = ""
    pages: str = ""
    eprint: str = ""
    url: str = ""

    def __str__(self) -> str:
        issue = f" {self.volume}" + (f"({self.number})" if self.number else "") if self.volume else ""
        pages = f", {self.pages.replace('--', '-')}" if self.pages else ""
        where = f" doi:{self.doi}" if self.doi else f" arXiv:{self.eprint}" if self.eprint else f" {self.url}".rstrip()
        return f"{self.authors} ({self.year}). {self.title}. {self.venue}{issue}{pages}.{where}"

    @property
    def key(self) -> str:
        """Surname of the first author, year, first word of the title that says something."""
        words = [re.sub(r"[^a-z]", "", word.lower()) for word in re.split(r"[\s-]", self.title)]
        word = next((w for w in words if w not in ("", "a", "an", "the")), "")
        return re.sub(r"[^a-z]", "", self._names()[0].split(",")[0].lower()) + str(self.year) + word

    def bibtex(self) -> str:
        """A BibTeX entry; names that end in ``et al.`` keep it as ``others``."""
        fields = {
            "author": " and ".join(self._names()),
            "title": f"{{{self.title}}}",
            VENUES[self.kind]: self.venue,
            "volume": self.volume,
            "number": self.number,
            "pages": self.pages,
            "year": str(self.year),
            "doi": self.doi,
            "eprint": self.eprint,
            "archiveprefix": "arXiv" if self.eprint else "",
            "url": self.url,
        }
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"

    def _names(self) -> list[str]:
        """``Gregor, K. and LeCun, Y.``, ``Chen, X., Liu, J.`` -> one ``Surname, initials`` each."""
        names: list[str] = []
        for part in re.split(r",? and ", self.authors.replace(" et al.", ", and others")):
            for piece in filter(None, (piece.strip() for piece in part.split(","))):
                if names and "," not in names[-1] and re.fullmatch(r"(?:[A-Z]\S*\.[- ]?)+", piece):
                    names[-1] += f", {piece}"
                else:
                    names.append(piece)
        return names


@cache
def papers() -> dict[str, Reference]:
    """The list by key."""
    text = files("unrolling.systems").joinpath("papers.bib").read_text(encoding="utf-8")
    return {
        key: _reference(kind, body) for kind, key, body in re.findall(r"@(\w+)\{(\w+),\n(.*?)\n\}", text, re.DOTALL)
    }


def _reference(kind: str, body: str) -> Reference:
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", body, re.MULTILINE))
    *others, last = fields.pop("author").split(" and ")
    authors = f"{', '.join(others)} and {last}" if others else last
    return Reference(authors, venue=fields.pop(VENUES[kind]), year=int(fields.pop("year")), kind=kind, **fields)


def cited(references: Sequence[str | Reference]) -> tuple[Reference, ...]:
    """Publications by key; one that is given as it is passes through.

    Raises:
        ValueError: a key that the list does not have; the message names the nearest.
    """
    for reference in references:
        if isinstance(reference, str) and reference not in papers():
            near = difflib.get_close_matches(reference, papers(), n=3, cutoff=0.3)
            raise ValueError(f"no paper has the key {reference!r}" + (f"; near are {', '.join(near)}" if near else ""))
    return tuple(papers()[each] if isinstance(each, str) else each for each in references)
