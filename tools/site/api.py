"""Pages of the reference, from the public names of each package: a page per package with what each name is for, and a
page per module with signatures, docstrings, and the examples that use them.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.site.docstrings import plain
from tools.site.files import keep

PACKAGES = (
    "unrolling operators prox algorithms losses tasks training export systems estimators evaluation report networks "
    "files testing"
)


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        package: where users import it from: ``unrolling.operators``.
        name: of what is imported.
        value: what it is.
        home: where it is documented: the first package that has it.
    """

    package: str
    name: str
    value: Any
    home: str

    @property
    def full(self) -> str:
        return f"{self.package}.{self.name}"

    @property
    def module(self) -> str:
        """The module that defines it, relative to the package; empty for values."""
        defined = getattr(inspect.unwrap(self.value) if callable(self.value) else self.value, "__module__", None)
        if isinstance(self.value, type) or callable(self.value):
            return str(defined).removeprefix(self.package).removeprefix(".")
        return ""


def packages() -> list[str]:
    """The packages with public names, as users write them."""
    return ["unrolling" if name == "unrolling" else f"unrolling.{name}" for name in PACKAGES.split()]


@cache
def public() -> tuple[Name, ...]:
    """Every public name of every package, in the order of the packages."""
    homes: dict[int, str] = {}
    found = []
    for package in packages():
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            home = homes.setdefault(id(value), package) if _is_definition(value) else package
            found.append(Name(package, name, value, home))
    return tuple(found)


def definitions() -> Iterator[Name]:
    """The classes and functions among the public names, each once."""
    for entry in public():
        if entry.home == entry.package and _is_definition(entry.value):
            yield entry


def summary(value: Any) -> str:
    """What a name is, in the first sentence of its docstring; of an object, its kind and its fields that are plain."""
    if not _is_definition(value):
        return _fields(value)
    text = inspect.getdoc(value) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s+(?=[A-Z`(\[])", first, maxsplit=1)[0].rstrip(":")


def write(docs: Path) -> None:
    """Write the pages under ``docs/api``; those of names that are gone are removed."""
    made = {}
    for package in packages():
        entries = [entry for entry in public() if entry.package == package]
        for module, held in _modules(entries).items():
            made[f"{package}/{module}.rst"] = _module_page(package, module, held)
        made[f"{package}.rst"] = _package_page(package, entries)
    keep(docs / "api", made, suffix=".rst")


def _is_definition(value: Any) -> bool:
    return isinstance(value, type) or inspect.isroutine(value) or hasattr(value, "__wrapped__")


def _modules(entries: list[Name]) -> dict[str, list[Name]]:
    """Names by the page that holds them, with dots in the place of slashes."""
    pages: dict[str, list[Name]] = {}
    for entry in entries:
        pages.setdefault(_page(entry), []).append(entry)
    return dict(sorted(pages.items()))


def _page(entry: Name) -> str:
    if entry.package == "unrolling" or entry.home != entry.package:
        return "names"
    return entry.module or "values"


def _package_page(package: str, entries: list[Name]) -> str:
    about = inspect.getdoc(importlib.import_module(package)) or ""
    lines = [f".. currentmodule:: {package}", "", *_title(package, "="), *plain(about.splitlines()), ""]
    for module, held in _modules(entries).items():
        if package != "unrolling":
            lines += [*_title(_heading(module), "-"), *_about(f"{package}.{module}"), ""]
        lines += [".. list-table::", "   :class: api-names", "   :header-rows: 1", "   :widths: 30 70", ""]
        lines += ["   * - name", "     - what it is"]
        for entry in held:
            lines += [f"   * - :py:obj:`~{entry.home}.{entry.name}`", f"     - {_cell(entry.value)}"]
        lines.append("")
    pages = [f"   {package}/{module}" for module in _modules(entries)]
    return "\n".join([*lines, ".. toctree::", "   :hidden:", "   :maxdepth: 1", "", *pages, ""])


def _module_page(package: str, module: str, entries: list[Name]) -> str:
    lines = [f".. currentmodule:: {package}", "", *_title(_heading(module), "="), *_about(f"{package}.{module}"), ""]
    for entry in entries:
        lines += _entry(entry)
    return "\n".join(lines) + "\n"


def _entry(entry: Name) -> list[str]:
    if entry.home != entry.package:
        return [f"``{entry.name}`` is :py:obj:`{entry.home}.{entry.name}`.", ""]
    if inspect.ismodule(entry.value):  # a package that can be called
        inner = f"{entry.value.__name__}.{entry.name}"
        return [f"``{entry.full}`` is a package that can be called: as :py:obj:`{inner}`.", ""]
    if not _is_definition(entry.value):
        kind = type(entry.value)
        return [f".. py:data:: {entry.full}", f"   :type: {kind.__name__}", "", f"   {_cell(entry.value)}", ""]
    kind = "class" if isinstance(entry.value, type) else "function"
    if kind == "class" and issubclass(entry.value, Exception):
        kind = "exception"
    lines = [f".. auto{kind}:: {entry.full}"]
    if kind == "class":
        lines.append("   :members:")
        if issubclass(entry.value, tuple):
            fields = ", ".join(getattr(entry.value, "_fields", ()))
            lines += [f"   :exclude-members: {fields}"] if fields else []
    own = f"{entry.value.__module__}.{entry.name}"
    return [*lines, "", f".. examples-using:: {entry.full} {own}", ""]


def _heading(module: str) -> str:
    return {"values": "Values", "names": "Names from other modules"}.get(module, module)


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _about(module: str) -> list[str]:
    """The docstring of a module, where there is one of that name."""
    try:
        return plain((inspect.getdoc(importlib.import_module(module)) or "").splitlines())
    except ModuleNotFoundError:
        return []


def _cell(value: Any) -> str:
    return " ".join(plain([summary(value)]))


def _fields(value: Any) -> str:
    """An object in words: its kind, and those of its fields that are text or numbers."""
    if inspect.ismodule(value):
        return (inspect.getdoc(value) or "").split("\n\n")[0]
    if dataclasses.is_dataclass(value):
        held = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        shown = [f"{name} {item}" for name, item in held if isinstance(item, str | int | float) and item != ""]
        return f"A ``{type(value).__name__}``: {', '.join(shown)}."
    if isinstance(value, dict):
        return f"A dictionary with {', '.join(map(str, value))}."
    return f"A ``{type(value).__name__}``."
