"""Writes docs/guides/published.md, the published figures of the test sets with their sources, from
``benchmarks.published``: ``python -m tools.published_tables``.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.published import SOURCES, TABLES, Table
from tools.system_tables import ROOT

PAGE = "docs/guides/published.md"
HEAD = """# Published figures

What others have published on the test sets of the guides: PSNR in dB, as their sources print it. Benchmarks print these rows beside what they measure, and the guides repeat some of them beside ours. Networks that say neither "a level", "a quality" nor "a factor"
may still be one network for each: their papers say it.

This page is written by `python -m tools.published_tables` from `benchmarks/published.py`. Figures without a mark were read in the table that the source names; those with (*) are after the paper that is cited, which was not at hand, and not checked by us.
"""  # noqa: E501 (a page of Markdown)


def rows_of(table: Table) -> str:
    """A table of Markdown with a number for each source."""
    numbers = list(SOURCES)
    lines = [f"| {table.what or 'method'} | {' | '.join(table.columns)} | source |"]
    lines.append(f"|---|{'---:|' * len(table.columns)}---|")
    for row in table.rows:
        cells = ["" if value is None else f"{value:.2f}" for value in row.values]
        mark = "" if row.checked else " (*)"
        lines.append(f"| {row.method}{mark} | {' | '.join(cells)} | {numbers.index(row.source) + 1} |")
    return "\n".join(lines)


def written() -> str:
    """The page as it should be."""
    parts = [HEAD.rstrip()]
    for table in TABLES.values():
        parts += [f"## {table.title}", rows_of(table)]
    sources = []
    for number, source in enumerate(SOURCES.values(), 1):
        read = f"; read in {source.read}" if source.read else "; not checked by us"
        sources.append(f"{number}. {source.paper}{read}.")
    return "\n\n".join([*parts, "## Sources", "\n".join(sources)]) + "\n"


def main() -> None:
    path = Path(ROOT / PAGE)
    if not path.is_file() or path.read_text(encoding="utf-8") != written():
        path.write_text(written(), encoding="utf-8")
        print(PAGE)


if __name__ == "__main__":
    main()
