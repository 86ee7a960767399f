"""What ``unroll list`` and shell completion say of the systems, from a file that is made from the catalogue, so that
they answer without importing a single system: ``python -m unrolling.systems.index`` makes it anew.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("index.json")
GROUP = "unrolling.systems"
FORMATS = ("torch", "onnx", "aoti")  # of `unroll export`


def read_index() -> list[dict[str, Any]]:
    """The systems of this package: ``name``, ``title``, ``summary``, ``reference``, ``variant_of`` (a system or None),
    ``paradigm``, ``tasks``, and by task ``weights`` (names of shipped files), ``applied`` (to what files; only where it
    can be), ``exported`` (formats) and ``held`` (those of them in which all its weights were exported and agreed).
    """
    entries = stored_index()
    known = {entry["name"] for entry in entries}
    files = PATH.parent.glob("*/[!_]*.py")
    # A system whose file is younger than the index is there all the same, at the price of importing them all.
    return entries if all(f"{file.parent.name}/{file.stem}" in known for file in files) else build_index()


def stored_index() -> list[dict[str, Any]]:
    """The index as it was made last."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def system_names() -> list[str]:
    """All names of systems, those of other packages as far as their entry points tell: nothing of them is imported."""
    return sorted({*(entry["name"] for entry in read_index()), *(entry.name for entry in foreign_systems())})


def foreign_systems() -> Iterator[EntryPoint]:
    """Entry points of other packages; one that has the name of a system of ours is left out, with a warning."""
    own = {entry["name"].replace("-", "_").lower() for entry in read_index()}
    for entry in entry_points(group=GROUP):
        if entry.name.replace("-", "_").strip("/").lower() in own:
            text = f"{entry.name} ({entry.value}) is named like the system {entry.name}, which stays as it is"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        else:
            yield entry


def build_index() -> list[dict[str, Any]]:
    """The index of the systems as they are."""
    from unrolling.systems.catalogue import catalogue

    own = Path(__file__).parent
    systems = [system for system in catalogue().values() if own in system.home.parents]
    parents = {variant.name: system.name for system in systems for variant in system.variants}
    return [_entry(system, parents.get(system.name)) for system in systems]


def _entry(system: Any, parent: str | None) -> dict[str, Any]:
    from unrolling.systems.exports import held

    recipes = system.recipes
    return {
        "name": system.name,
        "title": system.title,
        "summary": system.summary,
        "reference": str(system.papers[0]),
        "variant_of": parent,
        "paradigm": system.paradigm,
        "tasks": list(recipes),
        "weights": {task: [path.stem for path in system.weights_files(task)] for task in recipes},
        "applied": {task: application.reads for task, application in system.apply.items()},
        "exported": {
            task: [form for form in FORMATS if form not in system.not_exported.get(task, {})] for task in recipes
        },
        "held": {task: held(system, task) for task in recipes},
    }


def main() -> None:
    content = json.dumps(build_index(), indent=1, ensure_ascii=False) + "\n"
    if not PATH.is_file() or PATH.read_text(encoding="utf-8") != content:
        PATH.write_text(content, encoding="utf-8")
        print(PATH.name)


if __name__ == "__main__":
    main()
