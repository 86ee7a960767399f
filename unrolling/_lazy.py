"""Public names that a package gives without importing their modules before they are used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str, names: Mapping[str, str], packages: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose public names are imported when they are first asked for.

    Args:
        package: its ``__name__``.
        names: each module, relative to the package, with the names it defines, separated by spaces.
            ``python -m tools.public_names`` writes them.
        packages: packages and modules of it that are names themselves, separated by spaces.
    """
    home = {name: module for module, held in names.items() for name in held.split()}
    own = set(packages.split())

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name in own:
            return import_module(f".{name}", package)  # which makes it an attribute
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home[name], package), name)
        setattr(sys.modules[package], name, value)  # asked for once
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[package]), *home, *own})

    return __getattr__, __dir__
