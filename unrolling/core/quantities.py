"""What the quantities of an algorithm are called in its formulas, and what they are: read from the docstrings of its
classes, where a paragraph ``Parameters:`` names each: its attribute in double backticks, its symbol, its words.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import NamedTuple

from torch import nn

from unrolling.core.naming import plain_name

_ENTRY = re.compile(r"``([\w.]+)``([^`]*)")
_SYMBOL = re.compile(r"[A-Za-zα-ωΑ-Ω][A-Za-z]{0,6}(?:\^2)?(?:_(?:\{[^}]*\}|\w+))?$")

_JOINS = ("and", "with", "which", "that", "if", "of", "used", "times", "layers", "where", "both", "all", "four", "also")


class Quantity(NamedTuple):
    """A parameter as the formulas have it; empty where its class does not say."""

    symbol: str = ""
    words: str = ""


def quantity(module: nn.Module, name: str) -> Quantity:
    """The symbol and the meaning of a parameter or a sub-module, by its name: from the innermost class on the way to it
    that names it.

    Args:
        module: an iteration, say.
        name: as in ``parameter_table``, ``splittings.0.prox.values``.
    """
    parts = name.split(".")
    for place in reversed(range(len(parts))):
        owner = module.get_submodule(".".join(parts[:place]))
        named = _named(type(owner))
        length = next((n for n in range(len(parts) - place, 0, -1) if ".".join(parts[place : place + n]) in named), 0)
        if not length:
            continue
        symbols, words = named[".".join(parts[place : place + length])]
        left = parts[place + length :]
        if not left:
            return Quantity(", ".join(symbols), words)
        # ``hidden`` (W_1, b_1): of a linear map its matrix and its offset
        held = owner.get_submodule(".".join(parts[place : place + length]))
        order = [plain_name(key) for key, _ in held.named_parameters()]
        own = dict(zip(order, symbols, strict=True)) if len(order) == len(symbols) else {}
        return Quantity(own.get(".".join(left), ""), words)
    return Quantity()


@cache
def _named(kind: type[nn.Module]) -> dict[str, tuple[tuple[str, ...], str]]:
    """By attribute: its symbols and its words; what a class says goes before what its bases say."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for cls in kind.__mro__:
        text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
        paragraph = re.search(r"^Parameters\b[^:`]*:(.*?)(?:\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
        for name, rest in _ENTRY.findall(" ".join(paragraph[1].split()) if paragraph else ""):
            found.setdefault(name, _read(rest))
    return found


def _read(rest: str) -> tuple[tuple[str, ...], str]:
    """`` theta (n,), positive; ...`` -> the symbols, and what is said after them."""
    rest = rest.strip()
    listed = re.match(r"\(([^)]*)\)", rest)
    if listed and all(_SYMBOL.match(item.strip()) for item in listed[1].split(",")):
        symbols: tuple[str, ...] = tuple(item.strip() for item in listed[1].split(","))
        rest = rest[listed.end() :]
    else:
        first, _, others = rest.partition(" ")
        bare = first.rstrip(",;.:")
        symbols = (bare,) if _SYMBOL.match(bare) and bare not in ("and", "with", "the", "of", "is", "in") else ()
        rest = (first[len(bare) :] + " " + others) if symbols else rest
    # `` (n,), positive``: the shape is known from the value.
    words = re.sub(r"^\s*[,;:.]?\s*(?:\([^)]*\))?[\s,;:]*", "", rest)
    words = re.split(r";|\.\s+[A-Z]|\.$", words)[0]
    words = re.sub(r"\s*\([^)]*\)", "", f" {words}")
    words = re.sub(r"[\s,;]+(?:(?:and|with|used once)|and (?:those|the)\b.*)$", "", words).strip(" ,;:")
    return symbols, "" if words.split(" ")[0] in _JOINS or words.count("(") != words.count(")") else words
