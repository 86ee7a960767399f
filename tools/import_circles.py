"""Finds modules that import one another in a circle: ``python -m tools.import_circles`` prints them, and its status is
1 where there are any. Imports inside functions count, and those for type checkers only: who reads one must read all.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path


def circles(package: Path) -> list[list[str]]:
    """The strongly connected sets of more than one module (Tarjan 1972), each sorted.

    Args:
        package: folder of the top package.
    """
    files = {_name(path, package): path for path in package.rglob("*.py")}
    imports = {name: set(_imports(name, path, files)) - {name} for name, path in files.items()}
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(imports[name]):
            if other not in number:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == number[name]:
            place = stack.index(name)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for name in sorted(imports):
        if name not in number:
            visit(name)
    return found


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, files: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a file names; ``from package import module`` is an import of the module."""
    home = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            parts = home.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            source = base if node.level else node.module or ""
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                if whole in files:
                    yield whole
                elif source in files:
                    yield source


def main() -> None:
    found = circles(Path(__file__).parents[1] / "unrolling")
    for names in found:
        print("a circle of imports: " + ", ".join(names))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
