"""Writes the tables of systems in the README and in the guides, from the index of the catalogue:
``python -m tools.system_tables``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolling.systems.index import read_index
from unrolling.systems.paradigms import PARADIGMS

ROOT = Path(__file__).resolve().parents[1]
GUIDES = {
    "docs/guides/communications.md": ("communications",),
    "docs/guides/graphs.md": ("graphs",),
    "docs/guides/images.md": ("imaging",),
    "docs/guides/medical.md": ("medical",),
    "docs/guides/power.md": ("power",),
    "docs/guides/sparse_coding.md": ("sparse_coding",),
    "docs/guides/speech.md": ("speech",),
    "docs/guides/tracking.md": ("tracking",),
    "docs/guides/segmentation.md": ("vision",),
}
BEGIN, END = "<!-- written by `make written` -->\n", "<!-- end -->"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as a table of Markdown."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in (header, *rows)]
    return "".join([lines[0], "|" + "---|" * len(header) + "\n", *lines[1:]])


def field_table(systems: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """The systems of fields, each followed by its variants: name, what it does, for which tasks, with weights for
    which.
    """
    chosen = [entry for entry in systems if _field(entry) in fields]
    chosen.sort(key=lambda entry: (entry["variant_of"] or entry["name"], entry["name"]))
    rows = []
    for entry in chosen:
        tasks, shipped = entry["tasks"], [task for task in entry["tasks"] if entry["weights"][task]]
        weights = "yes" if shipped == tasks else ", ".join(f"`{task}`" for task in shipped)
        learned = entry["paradigm"] and PARADIGMS[entry["paradigm"]].title.removeprefix("learned ")
        cells = [f"`{entry['name']}`", entry["summary"], learned, ", ".join(f"`{task}`" for task in tasks), weights]
        rows.append(cells)
    return table(("system", "what it does", "what is learned", "tasks", "weights"), rows)


def overview(systems: Sequence[Mapping[str, Any]]) -> str:
    """The titles of a field's systems in a line, variants left out, and the field's guide."""
    rows = []
    for field in dict.fromkeys(map(_field, systems)):
        own = [entry for entry in systems if _field(entry) == field and entry["variant_of"] is None]
        titles = dict.fromkeys(entry["title"].split(",")[0] for entry in own)
        guides = [f"[{path}]({path})" for path, fields in GUIDES.items() if field in fields]
        rows.append([field.replace("_", " "), ", ".join(titles), ", ".join(guides)])
    return table(("field", "systems, each with its classical parent", "guide"), rows)


def written(path: str) -> str:
    """The text of a page with its table as it should be.

    Raises:
        ValueError: it has no place for one.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path} has no place for a table of systems: one {BEGIN.strip()} and one {END}")
    systems = read_index()
    made = field_table(systems, GUIDES[path]) if path in GUIDES else overview(systems)
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}"


def _field(entry: Mapping[str, Any]) -> str:
    return entry["name"].rsplit("/", 1)[0]


def main() -> None:
    for path in ("README.md", *GUIDES):
        text = written(path)
        if text != (ROOT / path).read_text(encoding="utf-8"):
            (ROOT / path).write_text(text, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
