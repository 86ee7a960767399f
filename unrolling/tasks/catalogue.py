"""Finds tasks: the ``Task`` classes with a name in the modules of this package, and those of the entry-point group
``unrolling.tasks``.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from unrolling.tasks.base import Task

GROUP = "unrolling.tasks"


def modules(folder: Path, prefix: str) -> Iterator[ModuleType]:
    """The modules of a package, named with its prefix, and of the packages in it, imported."""
    for module in pkgutil.walk_packages([str(folder)], prefix):
        if not module.ispkg:
            yield importlib.import_module(module.name)


def loaded(group: str, kind: type, is_kind: Callable[[Any], bool]) -> Iterator[tuple[EntryPoint, Any]]:
    """What the entry points of a group name; of what is none, or cannot be loaded, there is a warning: another package
    must not take ours down.
    """
    for entry in entry_points(group=group):
        try:
            value = entry.load()
            fits = is_kind(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, or a class of its own beside Exception
            warn(f"the {kind.__name__.lower()} {entry.name} ({entry.value}) cannot be loaded: {first_words(error)}")
            continue
        if fits:
            yield entry, value
        else:
            warn(f"{entry.name} ({entry.value}) is a {type(value).__name__}, not a {kind.__name__}")


def first_words(error: BaseException) -> str:
    """What an error is and says, in a line; nothing that its own class does can fail here."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"


def warn(text: str) -> None:
    """A warning about somebody else's package."""
    warnings.warn(text, RuntimeWarning, stacklevel=4)


def unknown(kind: str, name: str, known: Collection[str]) -> ValueError:
    """The error for a name that a catalogue does not have, with the nearest that it has."""
    near = [each for each in known if name and name.lower() in each][:1]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    there = f"here are {', '.join(known)}"
    return ValueError(f"no {kind} {name!r}; " + (f"did you mean {near[0]}? T{there}" if near else f"t{there}"))


@cache
def catalogue() -> dict[str, type[Task]]:
    """All tasks by name."""
    tasks = {
        value.name: value
        for module in modules(Path(__file__).parent, "unrolling.tasks.")
        for value in vars(module).values()
        if _named(value) and value.__module__ == module.__name__
    }
    for entry, value in loaded(GROUP, Task, _named):
        if value.name in tasks:
            warn(f"{entry.name} ({entry.value}) is named like the task {value.name}, which stays as it is")
        else:
            tasks[value.name] = value
    return dict(sorted(tasks.items()))


def _named(value: Any) -> bool:
    """Whether it is a class of tasks with a name of its own."""
    return isinstance(value, type) and issubclass(value, Task) and isinstance(vars(value).get("name"), str)


def find_task(name: str) -> type[Task]:
    """The task of a name.

    Raises:
        ValueError: no such task; the message names the nearest.
    """
    tasks = catalogue()
    if name not in tasks:
        raise unknown("task", name, tasks)
    return tasks[name]
