"""Finds systems: modules of this package that hold a ``SYSTEM``, and those of the entry-point group
``unrolling.systems``.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from unrolling.core import Unrolled
from unrolling.systems.base import System

GROUP = "unrolling.systems"


@cache
def catalogue() -> dict[str, System]:
    """All systems by name."""
    found: dict[str, System] = {}
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], "unrolling.systems."):
        if not module.ispkg:
            system = getattr(importlib.import_module(module.name), "SYSTEM", None)
            if isinstance(system, System):
                found[system.name] = system
    for entry in entry_points(group=GROUP):
        system = _loaded(entry)
        if system is not None and system.name in found:
            _warn(f"{entry.name} ({entry.value}) is named like the system {system.name}, which stays as it is")
        elif system is not None:
            found[system.name] = system
    return dict(sorted(found.items()))


def _loaded(entry: EntryPoint) -> System | None:
    """Somebody else's system; None, with a warning, where it is none: another package must not take ours down."""
    try:
        system = entry.load()
    except (Exception, SystemExit) as error:
        _warn(f"the system {entry.name} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}")
        return None
    if not isinstance(system, System):
        _warn(f"{entry.name} ({entry.value}) is a {type(system).__name__}, not a System")
        return None
    return system


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


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
    if len(last) == 1:
        return last[0]
    near = difflib.get_close_matches(wanted, systems, n=1, cutoff=0.4)
    raise ValueError(
        f"no system {name!r}; " + (f"did you mean {near[0]}? " if near else "") + f"There are {', '.join(systems)}"
    )


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
