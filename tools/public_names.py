"""Writes the public names of each package into its ``__init__``: ``python -m tools.public_names``.

Public are the classes and functions that a module defines without a leading underscore, and objects in capitals that
are made by calling a class (``PSNR = Metric(...)``). A package gives those of all its modules and sub-packages. Left
out, so that a name has one meaning wherever it is read: what two modules of a package define, which is to be had from
one of them, and what has the name of a module of the same package, whose place it would take.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = "algorithms estimators evaluation export files networks operators prox report systems tasks testing training"
FLAT = ("systems",)  # whose folders hold data: one SYSTEM a module
ELSEWHERE = {"losses": "training.losses"}  # modules that give the names of another one
MORE = {"export": {"loading": ["formats"]}, "testing": {"iterations": ["CHECKS"]}}
START, END = "# Written by `python -m tools.public_names`.", "# End of what is written."
LINE = 105  # characters of names in a line of the table


def defined(module: Path) -> list[str]:
    """The public names that a module defines."""
    found: list[str] = []
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif (
            isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name)
        ):
            called = ast.unparse(node.value.func).rsplit(".", 1)[-1]
            if node.targets[0].id.isupper() and called[:1].isupper() and called != "TypeVar":
                found.append(node.targets[0].id)
    return [name for name in found if not name.startswith("_") and name != "main"]


def public(package: Path) -> dict[str, list[str]]:
    """Modules of a package, relative to it, with their public names."""
    modules = package.glob("*.py") if package.name in FLAT else package.rglob("*.py")
    places = [path.relative_to(package) for path in sorted(modules)]
    own = [place for place in places if not any(part.startswith("_") for part in place.parts)]
    held = {".".join(place.with_suffix("").parts): defined(package / place) for place in own}
    for module, names in MORE.get(package.name, {}).items():
        held[module] += names
    count = Counter(name for names in held.values() for name in names)
    taken = {path.stem for path in package.rglob("*") if path.suffix == ".py" or path.is_dir()}
    return {
        module: kept
        for module, names in sorted(held.items())
        if (kept := sorted(name for name in names if count[name] == 1 and name not in taken))
    }


def packages() -> list[Path]:
    """The packages that give public names, families and fields included."""
    own = [ROOT / "unrolling" / name for name in PACKAGES.split()]
    parts = [
        path.parent for package in own if package.name not in FLAT for path in sorted(package.glob("*/__init__.py"))
    ]
    return [package for package in [*own, *parts] if public(package)]


def block(package: Path) -> str:
    """What is written into a package's ``__init__``."""
    names = public(package)
    dotted = ".".join(package.relative_to(ROOT).parts)
    imports = {f"{dotted}.{module}": ", ".join(held) for module, held in names.items() if "." not in module}
    imports |= {f"{dotted}.{module.split('.')[0]}": "*" for module in names if "." in module}
    lines = [START, "if TYPE_CHECKING:"]
    lines += [
        f"    from {source} import {'(' + held + ')' if held != '*' else held}" for source, held in imports.items()
    ]
    lines += ["", "__getattr__, __dir__ = lazy(", "    __name__,", "    {"]
    for module, held in names.items():
        lines.append(f'".{module}": (' + "\n".join(f'"{text}"' for text in _filled(held, " ")) + "),")
    everything = sorted({name for held in names.values() for name in held})
    lines += ["    },", ")", "# fmt: off", "__all__ = ["]
    lines += [f"    {text}" for text in _filled([f'"{name}",' for name in everything], "")]
    return "\n".join([*lines, "]", "# fmt: on", END]) + "\n"


def _filled(words: list[str], ending: str) -> list[str]:
    """Words in lines; all but the last end with ``ending``."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LINE:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return [line + ending * (k + 1 < len(lines)) for k, line in enumerate(lines)]


def write(package: Path) -> None:
    """Bring the ``__init__`` of a package up to date; its docstring and what surrounds the block
    are kept."""
    path = package / "__init__.py"
    text = path.read_text()
    heading = ast.get_docstring(ast.parse(text), clean=False)
    after = text.split(END + "\n", 1)[1] if END in text else ""
    docstring = f'"""{heading}"""\n\n' if heading else ""
    head = "from typing import TYPE_CHECKING\n\nfrom unrolling._lazy import lazy\n\n"
    if START in text:  # further imports are kept
        head = text.split(START)[0].split(docstring)[-1]
    path.write_text(docstring + head + block(package) + after)


def write_elsewhere(module: str, source: str) -> bool:
    """Bring a module that gives another one's names up to date; whether it was not."""
    path = ROOT / "unrolling" / f"{module}.py"
    names = sorted(name for name in defined(ROOT / "unrolling" / f"{source.replace('.', '/')}.py"))
    tree = ast.parse(path.read_text())
    if [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names] == names:
        return False
    listed = "\n".join(f"    {text}" for text in _filled([f'"{name}",' for name in names], ""))
    path.write_text(
        f'"""{ast.get_docstring(tree, clean=False)}"""\n\n{START}\n'
        f"# ruff: noqa: I001, RUF022\nfrom unrolling.{source} import ({', '.join(names)})\n\n"
        f"# fmt: off\n__all__ = [\n{listed}\n]\n# fmt: on\n"
    )
    return True


def table(package: Path) -> dict[str, list[str]]:
    """The names that a package's ``__init__`` gives now, by module; empty where none were written."""
    for node in ast.walk(ast.parse((package / "__init__.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy":
            return {name.removeprefix("."): held.split() for name, held in ast.literal_eval(node.args[1]).items()}
    return {}


def main() -> None:
    stale = [package for package in packages() if table(package) != public(package)]
    for package in stale:
        write(package)
        print(package.relative_to(ROOT))
    other = [ROOT / "unrolling" / f"{name}.py" for name, source in ELSEWHERE.items() if write_elsewhere(name, source)]
    if stale or other:
        files = [str(path) for path in [*(package / "__init__.py" for package in stale), *other]]
        for command in (["check", "--select", "I", "--fix", "-q"], ["format", "-q"]):
            subprocess.run([sys.executable, "-m", "ruff", *command, *files], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
