"""Looks through the built pages for what keeps readers out: ``python -m tools.site.accessibility out/site``.

Language, titles, names of links and buttons, alternative texts, the order of headings, headers of tables, ids that
occur twice, labels of fields. Contrast is measured in a browser (``tools.site.screenshots``).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tools.site.markup import Element, pages

NAMED = {"a", "button", "summary"}
FIELDS = {"input", "select", "textarea"}


def findings(page: Element) -> Iterator[str]:
    """What is wrong with a page, a line each."""
    elements = list(page.walk())
    yield from _whole(elements)
    yield from _headings(elements)
    labelled = {element.attributes.get("for") for element in elements if element.tag == "label"}
    for element in elements:
        if _hidden(element):
            continue
        if element.tag == "img" and not element.attributes.get("alt", "").strip():
            beside = any(up.tag == "a" and up.text().strip() for up in element.above())  # the link has words already
            decorative = "alt" in element.attributes and (beside or element.attributes.get("role") == "presentation")
            if not decorative:
                yield f"the image {element.attributes.get('src')} has no alternative text"
        if element.tag in NAMED and ("href" in element.attributes or element.tag != "a") and not name(element):
            yield f"a {element.tag} without a name: {element.attributes}"
        if element.tag == "svg" and not _inside_named(element) and not name(element):
            yield "a drawing without a name (aria-label, or a title in it)"
        if element.tag == "table" and not any(cell.tag == "th" for cell in element.walk()):
            yield f"a table without headers: {' '.join(element.text().split())[:60]}"
        is_field = element.tag in FIELDS and element.attributes.get("type") not in ("hidden", "submit", "button")
        if is_field and not name(element) and element.attributes.get("id") not in labelled:
            yield f"a field without a label: {element.attributes}"


def name(element: Element) -> str:
    """What a screen reader says of an element."""
    own = element.attributes
    if own.get("aria-label", "").strip() or own.get("aria-labelledby", "").strip() or own.get("title", "").strip():
        return "named"
    inner = " ".join(
        item.attributes.get("alt", "") + item.attributes.get("aria-label", "") + item.attributes.get("title", "")
        for item in element.walk()
    )
    return (element.text() + inner).strip()


def _whole(elements: list[Element]) -> Iterator[str]:
    root = next((element for element in elements if element.tag == "html"), None)
    if root is None or not root.attributes.get("lang", "").strip():
        yield "no language"
    if not any(element.tag == "title" and element.text().strip() for element in elements):
        yield "no title"
    if not any(element.tag == "main" or element.attributes.get("role") == "main" for element in elements):
        yield "no main part"
    if any("user-scalable=no" in element.attributes.get("content", "") for element in elements):
        yield "the page cannot be enlarged"
    ids = Counter(element.attributes["id"] for element in elements if element.attributes.get("id"))
    for repeated in (held for held, count in ids.items() if count > 1):
        yield f"the id {repeated} occurs {ids[repeated]} times"


def _headings(elements: list[Element]) -> Iterator[str]:
    levels = [
        (int(element.tag[1]), " ".join(element.text().split()))
        for element in elements
        if re.fullmatch("h[1-6]", element.tag) and any(up.tag in ("main", "article") for up in element.above())
    ]
    first = [text for level, text in levels if level == 1]
    if len(first) != 1:
        yield f"{len(first)} headings of the first level"
    for (before, _), (level, text) in pairwise(levels):
        if level > before + 1:
            yield f"the heading {text[:40]!r} of level {level} follows one of level {before}"
    yield from (f"an empty heading of level {level}" for level, text in levels if not text)


def _hidden(element: Element) -> bool:
    return any(
        item.attributes.get("aria-hidden") == "true"
        or item.tag in ("template", "noscript")
        or "hidden" in item.attributes
        for item in (element, *element.above())
    )


def _inside_named(element: Element) -> bool:
    return any(up.tag in NAMED or up.tag == "figure" or name_of_role(up) for up in element.above())


def name_of_role(element: Element) -> str:
    """The label of something that stands for a picture."""
    return element.attributes.get("aria-label", "") if element.attributes.get("role") == "img" else ""


def main() -> None:
    found = pages(Path(sys.argv[1]))
    said = [f"{page}: {line}" for page, tree in found.items() for line in dict.fromkeys(findings(tree))]
    print(*said, sep="\n", end="\n" if said else "")
    print(f"accessibility of {len(found)} pages: {len(said) or 'no'} findings")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
