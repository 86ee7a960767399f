"""HTML as a tree, for the checks of what was built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))


@dataclass
class Element:
    """An element with its attributes, and what is in it: elements and text."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parent: Element | None = field(default=None, repr=False)
    held: list[Element | str] = field(default_factory=list, repr=False)

    def walk(self) -> Iterator[Element]:
        """The elements below, in the order of the page."""
        for item in self.held:
            if isinstance(item, Element):
                yield item
                yield from item.walk()

    def text(self) -> str:
        """What is read of it."""
        return "".join(item if isinstance(item, str) else item.text() for item in self.held)

    def above(self) -> Iterator[Element]:
        """The elements that it is in, from the inside."""
        if self.parent is not None:
            yield self.parent
            yield from self.parent.above()


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.current = Element("")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs}, self.current)
        self.current.held.append(made)
        if tag not in VOID:
            self.current = made

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.current.held.append(Element(tag, {name: value or "" for name, value in attrs}, self.current))

    def handle_endtag(self, tag: str) -> None:
        opened = self.current
        while opened.parent is not None and opened.tag != tag:
            opened = opened.parent
        if opened.parent is not None:
            self.current = opened.parent

    def handle_data(self, data: str) -> None:
        self.current.held.append(data)


def parse(text: str) -> Element:
    """The tree of a page."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    return builder.root


def pages(site: Path) -> dict[str, Element]:
    """The pages below a folder by name.

    Raises:
        FileNotFoundError: there are none.
    """
    found = {
        path.relative_to(site).as_posix(): parse(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.relative_to(site).parts
    }
    if not found:
        raise FileNotFoundError(f"{site} holds no pages; make docs builds them")
    return found
