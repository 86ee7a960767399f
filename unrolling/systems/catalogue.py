"""Finds systems: modules of this package that hold a ``SYSTEM``, and those of the entry-point group
``unrolling.systems``.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import warnings
from functools import cache
from importlib.metadata import entry_points

import unrolling.systems
from unrolling.systems.base import System

GROUP = "unrolling.systems"


@cache
def catalogue() -> dict[str, System]:
    """All systems by name."""
    found: dict[str, System] = {}
    for module in pkgutil.walk_packages(unrolling.systems.__path__, "unrolling.systems."):
        if not module.ispkg:
            system = getattr(importlib.import_module(module.name), "SYSTEM", None)
            if isinstance(system, System):
                found[system.name] = system
    for entry in entry_points(group=GROUP):
        try:
            system = entry.load()
        except Exception as error:  # somebody else's package must not take ours down
            warnings.warn(
                f"the system {entry.name} ({entry.value}) cannot be loaded: {error}", RuntimeWarning, stacklevel=2
            )
            continue
        if not isinstance(system, System):
            warnings.warn(
                f"{entry.name} ({entry.value}) is a {type(system).__name__}, not a System", RuntimeWarning, stacklevel=2
            )
            continue
        found[system.name] = system
    return dict(sorted(found.items()))


def find(name: str) -> System:
    """The system of a name; ``-`` and ``_`` are the same.

    Raises:
        ValueError: no such system; the message names the nearest.
    """
    systems = catalogue()
    wanted = name.replace("-", "_").strip("/").lower()
    for known, system in systems.items():
        if known.replace("-", "_").lower() == wanted:
            return system
    near = difflib.get_close_matches(wanted, systems, n=1, cutoff=0.4)
    raise ValueError(
        f"no system {name!r}; " + (f"did you mean {near[0]}? " if near else "") + f"There are {', '.join(systems)}"
    )
