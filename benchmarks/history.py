"""One page from all runs of ``make bench``: ``python -m benchmarks.history [FOLDER]``.

FOLDER holds a folder per run, named by its time, with a JSON file per benchmark. The page shows for every benchmark
what its last run measured beside the one before and the bars, and how what has a ratio moved over the runs. Runs on
another processor or with other threads are drawn apart, never compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.record import met
from unrolling.report.chart import DASHES, MARKERS, NARROW, WIDE, Axes, Series, line_chart
from unrolling.report.figures import Figure
from unrolling.report.page import environment
from unrolling.training.files import write_bytes

MOST = 6  # curves of a chart
NUMBERS = (int, float)


@dataclass
class Run:
    """A benchmark once."""

    when: str
    rows: list[dict[str, Any]]
    machine: str
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Section:
    """A benchmark on the page."""

    name: str
    last: Run
    runs: int
    header: list[str]
    lines: list[list[str]]
    figure: Figure | None
    bars: tuple[int, int]  # met, of how many


def read(folder: Path) -> tuple[dict[str, list[Run]], list[str]]:
    """The runs of each benchmark, the oldest first, and files that hold none."""
    found: dict[str, list[Run]] = {}
    unread: list[str] = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            record = json.loads(path.read_text())
            rows = [row for row in record["rows"] if isinstance(row, dict)]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, OSError):
            unread.append(str(path.relative_to(folder)))  # a benchmark that failed leaves half a file
            continue
        held = record.get("machine", {})
        where = [
            held.get("processor"),
            held.get("device") if held.get("device") != "cpu" else None,
            f"{record.get('threads', '?')} thread{'' if record.get('threads') == 1 else 's'}",
        ]
        found.setdefault(record.get("benchmark", path.stem), []).append(
            Run(
                path.parent.name,
                rows,
                ", ".join(str(part) for part in where if part),
                {key: record.get(key) for key in ("torch", "load")},
            )
        )
    return found, unread


def label(row: Mapping[str, Any]) -> str:
    """What a row is about: all that is no measurement."""
    words = [str(value) for key, value in row.items() if _is_name(key, value) and value != ""]
    return ", ".join(words)


def _is_name(key: str, value: Any) -> bool:
    if key in ("bar", "better", "notes", "limit", "failed", "note", "weights", "headline"):
        return False
    return isinstance(value, str) or (
        key in ("batch", "size", "depth", "m", "n", "layers", "steps") and isinstance(value, int)
    )


def main_number(row: Mapping[str, Any]) -> float | None:
    """What a row is judged by."""
    for key in ("value", "ratio"):
        if isinstance(row.get(key), NUMBERS):
            return float(row[key])
    return None


def text(value: Any) -> str:
    """A number with as many digits as it carries, or a word."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return ", ".join(map(text, value)) if isinstance(value, list) else str(value)


def section(name: str, runs: Sequence[Run]) -> Section:
    """The table of the last run, and the chart of all that ran on the same machine."""
    last = runs[-1]
    alike = [run for run in runs if run.machine == last.machine]
    before = {label(row): main_number(row) for row in alike[-2].rows} if len(alike) > 1 else {}
    columns = [
        key
        for key in dict.fromkeys(key for row in last.rows for key, value in row.items() if not _is_name(key, value))
        if key not in ("bar", "better")
    ]
    lines = []
    for row in last.rows:
        held = met(row) if main_number(row) is not None else None
        bar = (
            ""
            if held is None
            else (
                f"{'at most' if row.get('better', 'low') == 'low' else 'at least'} "
                f"{row['bar']:g}: {'met' if held else 'missed'}"
            )
        )
        old, new = before.get(label(row)), main_number(row)
        change = "" if old is None or new is None or old == 0 else f"{new / old - 1:+.0%}"
        lines.append([label(row), bar, change, *(text(row.get(key)) for key in columns)])
    judged = [m for row in last.rows if main_number(row) is not None and (m := met(row)) is not None]
    header = ["", "bar", "since the run before", *(key.replace("_", " ") for key in columns)]
    return Section(name, last, len(runs), header, lines, chart(alike), (sum(judged), len(judged)))


def chart(runs: Sequence[Run]) -> Figure | None:
    """What has a bar, else what has a ratio, over the runs."""
    if len(runs) < 2:
        return None
    values: dict[str, dict[int, float]] = {}
    barred: set[str] = set()
    for number, run in enumerate(runs):
        for row in run.rows:
            if (value := main_number(row)) is not None:
                values.setdefault(label(row), {})[number] = value
                if row.get("bar") is not None:
                    barred.add(label(row))
    chosen = [key for key in values if key in barred] or list(values)
    if not chosen:
        return None
    drawn = [
        Series(
            key,
            [n + 1.0 for n in values[key]],
            list(values[key].values()),
            "classical",
            DASHES[k % len(DASHES)],
            MARKERS[k % len(MARKERS)],
            every_point=True,
        )
        for k, key in enumerate(chosen[:MOST])
    ]
    axes = Axes("run", "ratio or value", lambda x: f"{x:g}", lambda y: f"{y:.3g}", integers=True)
    words = f"{len(runs)} runs on {runs[-1].machine}, the oldest first." + (
        f" The first {MOST} of {len(chosen)} are drawn." if len(chosen) > MOST else ""
    )
    figure = Figure("Over the runs", words)
    figure.drawings = [
        line_chart(drawn, axes, WIDE, words, "wide"),
        line_chart(drawn, axes, NARROW, words, "narrow"),
    ]
    figure.header = ["run", *chosen]
    figure.numbers = [[run.when, *(text(values[key].get(number)) for key in chosen)] for number, run in enumerate(runs)]
    return figure


TEMPLATE = """{% extends 'base.html' %}
{% from 'parts.html' import chart %}
{% block description %}Benchmarks of unrolling{% endblock %}
{% block title %}Benchmarks{% endblock %}
{% block main %}
<header>
<h1>Benchmarks</h1>
<p class="headline">{{ met }} of {{ bars }} bars are met.</p>
<nav aria-label="The benchmarks"><ul class="notes">
{% for s in sections %}
<li><a href="#{{ s.name }}">{{ s.name }}</a>{% if s.bars[1] %}: {{ s.bars[0] }} of {{ s.bars[1] }} bars{% endif %}</li>
{% endfor %}
</ul></nav>
{% if unread %}
<p class="aside">Not read, as they hold no benchmark: {{ unread | join(', ') }}.</p>
{% endif %}
</header>
{% for s in sections %}
<section aria-labelledby="{{ s.name }}">
<p class="eyebrow"><b>{{ s.last.when }}</b> · {{ s.last.machine }}
 · torch {{ s.last.about.torch }} · {{ s.runs }} run{{ '' if s.runs == 1 else 's' }}</p>
<h2 id="{{ s.name }}">{{ s.name }}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="{{ s.name }}: the numbers">
<table class="data small"><caption class="hidden">{{ s.name }}</caption>
<thead><tr>{% for head in s.header %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in s.lines %}
<tr>{% for cell in line %}
{% if loop.first %}<th scope="row">{{ cell }}</th>{% else %}<td>{{ cell }}</td>{% endif %}{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% if s.figure %}
{{ chart(s.figure) }}
{% endif %}
<pre><code>python -m benchmarks.{{ s.name }}</code></pre>
</section>
{% endfor %}
{% endblock %}
"""


def write(folder: Path) -> Path:
    """``index.html`` in the folder.

    Raises:
        ValueError: no run in it.
    """
    found, unread = read(folder)
    if not found:
        raise ValueError(f"{folder} holds no runs: `make bench` writes them, FOLDER/TIME/NAME.json")
    sections = [section(name, runs) for name, runs in sorted(found.items())]
    counts: Iterable[tuple[int, int]] = [s.bars for s in sections]
    held, bars = (sum(part) for part in zip(*counts, strict=True))
    page = environment().from_string(TEMPLATE).render(sections=sections, unread=unread, met=held, bars=bars)
    path = folder / "index.html"
    write_bytes(path, page.encode("utf-8"))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/benchmarks"), metavar="FOLDER")
    try:
        print(write(parser.parse_args().folder))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
