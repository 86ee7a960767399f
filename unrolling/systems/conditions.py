"""What was found out about an input, beside what the weights were trained for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, both included."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


Trained = Range | Collection[Any]  # a range of numbers, or the values themselves


@dataclass(frozen=True)
class Condition:
    """One thing that weights depend on, as it is in an input.

    Attributes:
        name: in words: ``noise``; the range of the weights' card has the same name.
        value: a number or a word.
        how: it is known: estimated from the input, given by the caller, or read from the file.
        unit: of a number: ``of 255``, ``Hz``.
        trained: what the weights were trained for; None where that is not known.
        effect: a phrase on what becomes of the result outside of it.
    """

    name: str
    value: Any
    how: Literal["estimated", "given", "read"]
    unit: str = ""
    trained: Trained | None = None
    effect: str = ""

    @property
    def words(self) -> str:
        """``noise 25.1 of 255``."""
        return " ".join(part for part in (self.name, _words(self.value), self.unit) if part)


def outside(condition: Condition) -> str | None:
    """The sentence on a condition that the weights were not trained for; None where they were, or that is unknown."""
    if condition.trained is None or condition.value in condition.trained:
        return None
    how = "" if condition.how == "read" else f", {condition.how},"
    trained = condition.trained
    where = f"lies outside {trained}" if isinstance(trained, Range) else f"is not {_collected(trained)}"
    sentence = f"{condition.words}{how} {where} that the weights were trained for"
    return sentence + (f"; {condition.effect}" if condition.effect else "")


def summary(conditions: Iterable[Condition]) -> str:
    """What was found, in one line: ``noise 25.1 of 255, estimated; weights for 25``."""
    parts = []
    for each in conditions:
        part = each.words + ("" if each.how == "read" else f", {each.how}")
        if each.trained is not None:
            held = str(each.trained) if isinstance(each.trained, Range) else _collected(each.trained)
            # One value that is the input's own says nothing more.
            part += "" if held == _words(each.value) else f", weights for {held}"
        parts.append(part)
    return "; ".join(parts)


def listed(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """Plain values."""
    return [
        {
            "name": each.name,
            "value": each.value,
            "how": each.how,
            "unit": each.unit,
            "trained": None if each.trained is None else range_to_card({each.name: each.trained})[each.name],
            "outside": outside(each),
        }
        for each in conditions
    ]


def range_to_card(ranges: Mapping[str, Trained]) -> dict[str, Any]:
    """As a weights' card holds it: ``{"noise": {"low": 5, "high": 50}, "modulation": ["qpsk"]}``."""
    return {
        name: {"low": each.low, "high": each.high} if isinstance(each, Range) else list(each)
        for name, each in ranges.items()
    }


def range_from_card(held: Mapping[str, Any]) -> dict[str, Trained]:
    """The inverse of ``range_to_card``."""
    return {
        name: Range(float(each["low"]), float(each["high"])) if isinstance(each, Mapping) else tuple(each)
        for name, each in held.items()
    }


def trained_for(network: nn.Module) -> Mapping[str, Trained]:
    """What a network's weights were trained for, by the names of conditions; nothing where that is not known."""
    return getattr(network, "trained_for", {})


def with_ranges(conditions: Iterable[Condition], network: nn.Module) -> list[Condition]:
    """Conditions that do not say it themselves, with what the network's weights were trained for."""
    known = trained_for(network)
    return [replace(each, trained=known.get(each.name)) if each.trained is None else each for each in conditions]


def _words(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 and value != int(value) else f"{value:.6g}"


def _collected(values: Collection[Any]) -> str:
    *first, last = map(_words, values)
    return f"{', '.join(first)} or {last}" if first else last
