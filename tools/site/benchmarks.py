"""Pages of the benchmarks: what each measures, its bars, what it measured last and over the runs that were kept."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks import history
from tools.site.files import keep
from tools.site.learned import data_table

ROOT = Path(__file__).resolve().parents[2]
BUSY = 1.0  # processes per core: beyond it, times are those of a machine with other work


@dataclass(frozen=True)
class Benchmark:
    """A module of ``benchmarks/`` that is run by itself."""

    name: str
    words: str  # its docstring


def write(docs: Path) -> None:
    """The pages below ``docs/benchmarks``, and the list that its index includes."""
    folder = docs / "benchmarks"
    kept, unread = history.read(folder / "results")
    if unread:
        raise ValueError(f"docs/benchmarks/results holds what is no record: {', '.join(unread)}")
    found = benchmarks()
    pages = {f"{each.name}.md": page(each, kept.get(each.name, [])) for each in found}
    pages["index.md"] = (folder / "index.md").read_text(encoding="utf-8")
    keep(folder, pages, suffix=".md")
    keep(folder, {"_all.txt": overview(found, kept)}, suffix=".txt")


def benchmarks(folder: Path = ROOT / "benchmarks") -> list[Benchmark]:
    """Every module that ``python -m benchmarks.NAME`` runs and that measures something."""
    found = []
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if "main" in names and path.stem not in ("run", "history"):
            found.append(Benchmark(path.stem, ast.get_docstring(tree) or ""))
    return found


def overview(found: list[Benchmark], kept: Mapping[str, list[history.Run]]) -> str:
    """A row for each: what it measures, whether its bars were met, when it ran."""
    lines = ["| benchmark | what it measures | bars | last kept run |", "|---|---|---|---|"]
    for each in sorted(found, key=lambda b: (b.name not in kept, b.name)):
        runs = kept.get(each.name)
        met, bars = history.section(each.name, runs).bars if runs else (0, 0)
        held = f"{met} of {bars} met" if bars else ""
        lines.append(f"| [{title(each.name)}]({each.name}.md) | {first(each.words)} | {held} | {_day(runs)} |")
    return "\n".join(lines) + "\n"


def page(benchmark: Benchmark, runs: list[history.Run]) -> str:
    """What it measures, its command, the last run, and the runs before."""
    command = f"```bash\npython -m benchmarks.{benchmark.name}\n```"
    parts = [f"# {title(benchmark.name)}", markdown(benchmark.words), command]
    if not runs:
        parts.append(f"No run is kept yet; `make bench KEEP=1 ONLY={benchmark.name}` adds one.")
        return "\n\n".join(parts) + "\n"
    section, last = history.section(benchmark.name, runs), runs[-1]
    rows = []
    for label, *cells in section.lines:
        head = f'<th scope="row">{escape(label)}</th>'
        rows.append(f"<tr>{head}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    where = f"{last.when[:10]}, {last.machine}, torch {last.about['torch']}"
    met, bars = section.bars
    parts.append(f"## The last run\n\n{where}." + (f" {met} of {bars} bars are met." if bars else ""))
    if (load := last.about.get("load")) is not None and load > BUSY:
        parts.append(
            f"The machine had other work ({load:g} processes for each core): times are not to be relied on, counts, "
            "errors and bytes are."
        )
    parts.append(_raw(data_table(f"{title(benchmark.name)}: the last run", section.header, rows)))
    if section.figure is not None and any(section.figure.drawings):
        drawings = "".join(section.figure.drawings)
        body = [
            f'<tr><th scope="row">{escape(when)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
            for when, *cells in section.figure.numbers
        ]
        numbers = data_table("The runs", section.figure.header, body)
        parts.append(
            f"## Over the runs\n\n{markdown(section.figure.words)}\n\n"
            + _raw(f'<div class="learned-charts one"><figure>{drawings}</figure></div>\n{numbers}')
        )
    return "\n\n".join(parts) + "\n"


def title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def first(words: str) -> str:
    """The first sentence of a docstring, in a cell."""
    sentence = re.split(r"(?<=[.;])\s", " ".join(words.split("\n\n")[0].split()))[0]
    return markdown(sentence.rstrip(".:;")).replace("|", "\\|")


def markdown(words: str) -> str:
    """A docstring as Markdown: code between single marks, what would be markup as it is written."""
    paragraphs = []
    for paragraph in words.replace("``", "`").split("\n\n"):
        if paragraph.startswith("    "):
            lines = "\n".join(line[4:] for line in paragraph.splitlines())
            paragraphs.append(f"```python\n{lines}\n```")
        else:
            parts = paragraph.split("`")
            parts[::2] = [re.sub(r"([*_<|\[\]$])", r"\\\1", part) for part in parts[::2]]
            paragraphs.append("`".join(parts))
    return "\n\n".join(paragraphs)


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html}\n```"


def _day(runs: list[history.Run] | None) -> str:
    return runs[-1].when[:10] if runs else "none"
