"""What an application to files can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = {float: "a number", int: "a whole number", str: "a word", Path: "a file", bool: "0 or 1"}


@dataclass(frozen=True)
class Option:
    """An option of ``unroll apply`` that a system brings along: typed ``--sigma 25``, or ``--set sigma=25``.

    Attributes:
        name: of the keyword that the application's ``run`` takes: ``show_kernel`` is typed ``--show-kernel``.
        kind: float, int, str, Path, or bool for one that is typed without a value.
        help: a phrase without a capital and a full stop.
        unit: of a number.
        default: what ``run`` does where it is not given, in words; empty where that is nothing.
    """

    name: str
    kind: type
    help: str
    unit: str = ""
    default: str = ""

    @property
    def flag(self) -> str:
        """As it is typed."""
        return "--" + self.name.replace("_", "-")

    @property
    def words(self) -> str:
        """Its help with unit and default."""
        return ", ".join([self.help, *([self.unit] if self.unit else [])]) + (
            f"; by default {self.default}" if self.default else ""
        )

    def parsed(self, text: str) -> Any:
        """A value that was typed as KEY=VALUE.

        Raises:
            ValueError: it is none.
        """
        if self.kind is bool:
            if text.lower() not in ("0", "1", "false", "true"):
                raise ValueError(f"--set {self.name}={text}: {self.name} is {WORDS[bool]}")
            return text.lower() in ("1", "true")
        try:
            return self.kind(text)
        except ValueError:
            raise ValueError(f"--set {self.name}={text}: {self.name} is {WORDS[self.kind]}") from None


def separate(
    pairs: Sequence[str], options: Sequence[Option], others: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The values among KEY=VALUE pairs that are an application's, and the pairs that are not.

    Args:
        pairs: as they were typed.
        options: of the application.
        others: options of the task with their defaults, whose meaning comes first where both have one of a name.

    Raises:
        ValueError: a key that is neither's, a value of another kind.
    """
    own = {option.name: option for option in options if option.name not in others}
    values: dict[str, Any] = {}
    rest = []
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if sign and key.replace("-", "_") in own:
            values[key.replace("-", "_")] = own[key.replace("-", "_")].parsed(text)
        elif sign and key in others:
            rest.append(pair)
        else:
            known = [*(f"{k}={v}" for k, v in others.items()), *own]
            raise ValueError(f"--set {pair}: the options here are {', '.join(known) or 'none'}")
    return values, rest
