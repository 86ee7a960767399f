"""Finds systems: modules of this package that hold a ``SYSTEM``, and those of the entry-point group
``unrolling.systems``, with the variants that they name.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from unrolling.core import Unrolled
from unrolling.systems.base import System
from unrolling.tasks.catalogue import first_words, loaded, modules, unknown, warn

GROUP = "unrolling.systems"


@cache
def catalogue() -> dict[str, System]:
    """All systems by name."""
    systems = {
        each.name: each
        for module in modules(Path(__file__).parent, "unrolling.systems.")
        if isinstance(system := getattr(module, "SYSTEM", None), System)
        for each in _at_home(system, module.__file__)
    }
    own = {_plain(name) for name in systems}
    for entry, system in loaded(GROUP, System, _is_named):
        try:
            file = getattr(sys.modules.get(getattr(entry, "module", "")), "__file__", None)
            theirs = [each for each in _at_home(system, file) if _is_named(each)]
        except Exception as error:  # variants of another kind, say
            warn(f"the system {entry.name} ({entry.value}) cannot be used: {first_words(error)}")
            continue
        for each in theirs:
            if _plain(each.name) in own:  # `find` takes - and _ for the same
                warn(f"{entry.name} ({entry.value}) is named like the system {each.name}, which stays as it is")
            else:
                own.add(_plain(each.name))
                systems[each.name] = each
    return dict(sorted(systems.items()))


def _is_named(value: Any) -> bool:
    """Whether it is a system whose name is a text."""
    return isinstance(value, System) and isinstance(value.name, str) and bool(value.name.strip("/"))


def _at_home(system: System, file: str | None) -> list[System]:
    """A system and its variants, each with the folder of its module as home unless it names one itself."""
    home = Path() if file is None else Path(file).parent
    return [
        each if each.home != Path() or file is None else replace(each, home=home) for each in (system, *system.variants)
    ]


def find(name: str) -> System:
    """The system of a name, or of the last part of one where only one system has it; ``-`` and ``_`` are the same.

    Raises:
        ValueError: no such system, or several; the message names the nearest.
    """
    systems = catalogue()
    wanted = _plain(name)
    for known, system in systems.items():
        if _plain(known) == wanted:
            return system
    last = [system for known, system in systems.items() if _plain(known.rsplit("/", 1)[-1]) == wanted]
    ours = [system for system in last if Path(__file__).parent in system.home.parents]
    for found in (ours, last):  # another package must not make a short name of ours ambiguous
        if len(found) == 1:
            return found[0]
    raise unknown("system", name, systems)


def _plain(name: str) -> str:
    return name.replace("-", "_").strip("/").lower()


def pretrained(name: str, task: str | None = None, depth: int | None = None, **options: Any) -> Unrolled:
    """The network of a system with its shipped weights: ``pretrained("imaging/tnrd")(picture)``.

    Args:
        name: of the system; ``-`` and ``_`` are the same.
        task: its first one by default.
        depth: layers; the recipe's by default.
        options: of the task, where they differ from the defaults; weights are shipped for some settings only.

    Raises:
        ValueError: no such system; no weights for these; a file that is not the one that was shipped.
    """
    return find(name).pretrained(task, depth, **options)
