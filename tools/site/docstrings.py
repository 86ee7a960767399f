"""Docstrings on pages: formulas in plain text are no markup, names lead to where they are documented, and examples that
use a name are shown below it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any


def plain(lines: Sequence[str]) -> list[str]:
    r"""Lines of a docstring in which ``*``, ``|`` and a ``_`` at the end of a word are what they look like: they are
    escaped outside of literals, of programs (``>>>``) and of blocks that follow ``::``.
    """
    made: list[str] = []
    inside = False  # of a literal that goes over the end of a line
    block: int | None = None  # the indentation of what announced a literal block
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if block is not None and line.strip() and indent <= block:
            block = None
        if block is not None or line.lstrip().startswith(">>>"):
            made.append(line)
            continue
        parts = []
        for k, part in enumerate(line.split("``")):
            if k:  # a quote that touches a word would be none
                if inside and part and re.match(r"[^\s.,:;!?)\]}'\"/\\-]", part):
                    part = r"\ " + part
                elif not inside and parts and re.search(r"[^\s:/'\"<(\[{-]$", parts[-1]):
                    parts.append(r"\ ")
                parts.append("``")
                inside = not inside
            parts.append(part if inside else _escape(part))
        made.append("".join(parts))
        if line.rstrip().endswith("::"):
            block = indent
        if not line.strip():
            inside = False
    return made


def _escape(text: str) -> str:
    """Text without markup; the stars of ``*args:`` in a list of arguments stay."""
    star = re.match(r"\s*\*{1,2}(?=\w+:)", text)
    head, rest = (star.group(), text[star.end() :]) if star else ("", text)
    rest = re.sub(r"\\(?=[^\s`])", r"\\\\", rest)
    rest = re.sub(r"[*|]", lambda found: "\\" + found.group(), rest)
    rest = re.sub(r"(?<=\w)_(?!\w)", r"\\_", rest)
    return head + re.sub(r"^(\s*)(\(?\w{1,3}[.)] )", _no_list, rest)


def _no_list(found: re.Match[str]) -> str:
    """The number of an equation, "(3) ", that begins a line begins no list."""
    return found.group(1) + "\\" + found.group(2)


def process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """What autodoc asks before napoleon reads the sections."""
    lines[:] = plain(lines)


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A reference to a name by where it is defined, or by a package that gives it too, leads to where it is
    documented.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("unrolling."):
        return None
    from tools.site.api import definitions

    package, _, name = target.rpartition(".")
    try:
        value = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError):
        return None
    for entry in definitions():
        if entry.value is value and entry.full != target:
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", entry.full, node, contnode)
    return None


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
