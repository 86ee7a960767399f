"""Looks up every link and anchor of the built site, and what its pages load: ``python -m tools.site.links out/site``.

Nothing may come from a network; addresses outside are looked at for their form (``make linkcheck`` asks for them).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.site.markup import Element, pages

LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}
FORM = re.compile(r"^(https?://[\w.-]+\.[a-z]{2,}(:\d+)?([/?#]\S*)?|mailto:\S+@\S+)$", re.IGNORECASE)


def broken(site: Path, found: Mapping[str, Element]) -> Iterator[str]:
    """What is wrong with the links of pages, a line each."""
    anchors = {name: _anchors(page) for name, page in found.items()}
    for name, page in found.items():
        for element in page.walk():
            if (source := _loaded(element)) and _outside(source):
                yield f"{name}: <{element.tag}> loads {source} from a network"
                continue
            for target in _targets(element):
                if said := _wrong(site, name, target, anchors):
                    yield f"{name}: {target} {said}"
    for sheet in sorted(site.rglob("*.css")):
        for address in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", sheet.read_text()):
            yield f"{sheet.relative_to(site)}: loads {address} from a network"


def _loaded(element: Element) -> str:
    """What a browser fetches for an element by itself."""
    if element.tag == "link":
        is_loaded = set(element.attributes.get("rel", "").split()) & {"stylesheet", "icon", "preload", "modulepreload"}
        return element.attributes.get("href", "") if is_loaded else ""
    return element.attributes.get(LOADED.get(element.tag, ""), "")


def _outside(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ftp")


def _targets(element: Element) -> Iterator[str]:
    if element.tag in ("a", "link", "area"):
        yield element.attributes.get("href", "")
    if element.tag in LOADED:
        yield element.attributes.get("src", "")
    for part in element.attributes.get("srcset", "").split(","):
        yield part.strip().split(" ")[0]


def _wrong(site: Path, page: str, target: str, anchors: Mapping[str, set[str]]) -> str:
    """What is wrong with a target; empty where nothing is."""
    parts = urlsplit(target)
    if parts.scheme == "data" or not target or target == "#":
        return ""
    if parts.scheme or target.startswith("//"):
        return "" if FORM.match(target) else "is no address"
    path = (Path(page).parent / unquote(parts.path)) if parts.path else Path(page)
    there = (site / path).resolve()
    if not there.is_relative_to(site.resolve()):
        return "leads out of the site"
    if there.is_dir():
        there = there / "index.html"
    if not there.exists():
        return "does not exist"
    name = there.relative_to(site.resolve()).as_posix()
    if parts.fragment and name in anchors and unquote(parts.fragment) not in anchors[name]:
        return "has no such anchor"
    return ""


def _anchors(page: Element) -> set[str]:
    held = set()
    for element in page.walk():
        held.add(element.attributes.get("id", ""))
        if element.tag == "a":
            held.add(element.attributes.get("name", ""))
    return held


def main() -> None:
    site = Path(sys.argv[1])
    found = pages(site)
    said = sorted(set(broken(site, found)))
    print(*said, sep="\n", end="\n" if said else "")
    print(f"links of {len(found)} pages: {len(said) or 'none'} broken")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
