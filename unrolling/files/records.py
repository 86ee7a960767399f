"""What is expected of a record that was read from a file, looked at before anything is done by what it says: a card
that names a depth of 1,000,000,000 must not cost the memory for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 1_000_000  # entries of a list, characters of a text


class Expected(NamedTuple):
    """What a value is, in words, and whether a value is that."""

    words: str
    holds: Callable[[Any], bool]

    def or_none(self) -> Expected:
        """The same, or null."""
        return Expected(f"{self.words}, or null", lambda value: value is None or self.holds(value))

    def or_text(self, longest: int = 1000) -> Expected:
        """The same, or a text."""
        return Expected(
            f"{self.words}, or a text",
            lambda value: len(value) <= longest if isinstance(value, str) else self.holds(value),
        )


def whole(low: int = 0, high: int = 2**53) -> Expected:
    """A whole number of a range."""
    return Expected(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def text(longest: int = LONGEST) -> Expected:
    """A text of so many characters at most."""
    return Expected("a text", lambda value: isinstance(value, str) and len(value) <= longest)


def one_of(*known: Any) -> Expected:
    """One of these."""
    return Expected(f"one of {', '.join(map(str, known))}", lambda value: any(value == each for each in known))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


number = Expected("a finite number", _is_number)
truth = Expected("true or false", lambda value: isinstance(value, bool))
anything = Expected("anything", lambda value: True)


def listed(each: Expected, longest: int = LONGEST) -> Expected:
    """A list of so many at most."""
    return Expected(
        f"a list of at most {longest}, each {each.words}",
        lambda value: isinstance(value, list | tuple) and len(value) <= longest and all(map(each.holds, value)),
    )


def mapping(each: Expected = anything, longest: int = LONGEST) -> Expected:
    """A dictionary by name."""
    return Expected(
        f"a dictionary, of each name {each.words}",
        lambda value: isinstance(value, dict) and len(value) <= longest and all(map(each.holds, value.values())),
    )


def record(fields: Mapping[str, Expected], optional: Mapping[str, Expected] | None = None) -> Expected:
    """A dictionary that has these fields; others may be there."""
    return Expected(
        f"a record with {', '.join(fields)}",
        lambda value: isinstance(value, dict) and not _wrong(value, fields, optional),
    )


def _wrong(value: Mapping[str, Any], fields: Mapping[str, Expected], optional: Mapping[str, Expected] | None) -> str:
    """What is not as expected; nothing where all is."""
    for name, expected in {**fields, **(optional or {})}.items():
        if name not in value:
            if name in fields:
                return f"it has no {name}"
        elif not expected.holds(value[name]):
            return f"its {name} is {repr(value[name])[:60]}, where {expected.words} is expected"
    return ""


def verify(
    path: str | Path,
    value: Any,
    fields: Mapping[str, Expected],
    optional: Mapping[str, Expected] | None = None,
    what: str = "the record",
) -> None:
    """Raises ValueError, naming the file, where a record is not as expected.

    Args:
        path: the file.
        value: the record.
        fields: what it must have.
        optional: what it may have.
        what: it is, for the message.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged or was changed: {what} is a {type(value).__name__}, not a dictionary")
    if wrong := _wrong(value, fields, optional):
        raise ValueError(f"{path} is damaged or was changed: {what} is not as expected, {wrong}")
