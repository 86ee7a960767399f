"""What a docstring says, held against what it describes: a first sentence, and arguments and attributes that exist."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):\s*$")
ENTRY = re.compile(r"^    (\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\([^)]*\))?:")


def faults(value: Any) -> Iterator[str]:
    """What is wrong with the docstring of a class or function, in words."""
    text = inspect.cleandoc(_written(value))
    if not text:
        yield "no docstring"
        return
    if not text.split("\n\n")[0].rstrip().endswith((".", ":", "?", ")", "``")):
        yield "the first paragraph is no sentence"
    held = sections(text)
    try:
        parameters = inspect.signature(value).parameters
    except (TypeError, ValueError):  # in C, without a signature
        return
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    told = set(entries(held.get("Args", [])))
    if not free:
        yield from (f"argument {name} is not in the signature" for name in sorted(told - set(parameters)))
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    asked = {name for name, parameter in parameters.items() if parameter.kind not in kinds}
    if "Args" in held:
        yield from (f"argument {name} is left out" for name in sorted(asked - told))
    if "Attributes" in held:
        known = set(attributes(value)) | set(parameters)
        yield from (f"no attribute {name}" for name in entries(held["Attributes"]) if name not in known)


def sections(text: str) -> dict[str, list[str]]:
    """The lines below ``Args:`` and the like, by heading."""
    held: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        if found := SECTION.match(line):
            current = held.setdefault(found.group(1), [])
        elif current is not None and (not line.strip() or line.startswith(" ")):
            current.append(line)
        else:
            current = None
    return held


def entries(lines: list[str]) -> list[str]:
    """The names that lines of a section describe."""
    found = [match.group(1) for line in lines if (match := ENTRY.match(line))]
    return [name.strip().lstrip("*") for names in found for name in names.split(",")]


def attributes(kind: type) -> set[str]:
    """What objects of a class have: of the class, annotated, or set in its methods."""
    own = set(dir(kind))
    for base in kind.__mro__:
        own |= set(vars(base).get("__annotations__", ()))
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            continue
        own |= set(re.findall(r"self\.(\w+)", source)) | set(re.findall(r"\"(\w+)\"", source))
    return own


def _written(value: Any) -> str:
    """A docstring that somebody wrote: dataclasses and NamedTuples make their own from the signature."""
    text = value.__doc__ or ""
    made = isinstance(value, type) and (dataclasses.is_dataclass(value) or issubclass(value, tuple))
    return "" if made and text.startswith(f"{value.__name__}(") else text
