"""Which system for my problem: a table and a map, from what is given and sought in the tasks of the catalogue."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from tools.site.compared import standing
from tools.site.comparisons import FOLDER, stored
from unrolling.report.survey_table import markdown_survey_table, stored_comparisons
from unrolling.report.text import quality_text, ratio_text
from unrolling.systems.base import System
from unrolling.systems.paradigms import PARADIGMS
from unrolling.tasks.catalogue import find_task
from unrolling.tasks.metrics import Metric

WIDTH, LINE, PAD = 680, 17, 8
COLUMNS = ((0, 190), (214, 180), (420, 260))  # left and width, of what is given, of what is sought, of the systems
LETTER = 7.2  # width at 13 units, with room for wide faces


@dataclass
class Problem:
    """What is given and what is sought, and who solves it."""

    given: str
    sought: str
    systems: dict[str, System] = field(default_factory=dict)
    ships: set[str] = field(default_factory=set)  # names of those with weights for it
    tasks: set[str] = field(default_factory=set)
    suffixes: tuple[str, ...] = ()  # of the files that `unroll apply` reads

    @property
    def files(self) -> str:
        """``.png, .jpg, .jpeg …``"""
        return ", ".join(self.suffixes[:3]) + (" …" if len(self.suffixes) > 3 else "")


def field_of(name: str) -> str:
    """``sparse_coding`` of ``sparse_coding/lista``."""
    return name.rsplit("/", 1)[0]


def field_title(field: str) -> str:
    return field.replace("_", " ").replace("/", ", ").capitalize()


def class_link(kind: type) -> str:
    """A role that leads to the reference of a class, or of the base of it that is public; else its name."""
    import unrolling.algorithms as algorithms
    import unrolling.networks as networks

    for each in kind.__mro__:
        for package in (algorithms, networks):
            if getattr(package, each.__name__, None) is each:
                return f"{{py:obj}}`{package.__name__}.{each.__name__}`"
    return f"`{kind.__name__}`"


def problems(systems: Mapping[str, System]) -> list[Problem]:
    """The problems that systems solve; those with the same data beside each other, those with most weights first."""
    found: dict[tuple[str, str], Problem] = {}
    for name, system in systems.items():
        for task in system.recipes:
            given, sought = words_of(system, task)
            problem = found.setdefault((given, sought), Problem(given, sought))
            problem.systems[name] = system
            problem.tasks.add(task)
            if system.weights_files(task):
                problem.ships.add(name)
                if task in system.apply:
                    problem.suffixes = system.apply[task].suffixes
    for problem in found.values():
        problem.systems = dict(sorted(problem.systems.items(), key=lambda item: item[0] not in problem.ships))
    return sorted(found.values(), key=lambda p: (field_of(next(iter(p.systems))), p.given, p.sought))


def words_of(system: System, task: str) -> tuple[str, str]:
    """What is given and sought: the task says it, or what the system reads and writes, or else the summaries."""
    kind, application = find_task(task), system.apply.get(task)
    given = kind.given or (application.reads.split(" (")[0] if application else f"data of the task {task}")
    summary = kind.summary if isinstance(getattr(kind, "summary", None), str) else ""
    return given, kind.sought or (application.writes[0] if application else summary or system.summary)


def parts(systems: Mapping[str, System], comparisons: Path = FOLDER) -> dict[str, str]:
    """What pages include, by file names in ``docs/systems``: the table and the map for a page in a folder beside that
    one, and all systems by field for its index.
    """
    return {
        "_which_table.txt": problem_table(systems, "../systems/", stored(comparisons)),
        "_which_map.txt": decision_map(systems, "../systems/"),
        "_all.txt": all_fields(systems),
        "_table_2.txt": survey_table(comparisons),
        "_paradigms.txt": paradigm_study(comparisons.parent / "guides" / "paradigms.json"),
    }


def paradigm_study(kept: Path) -> str:
    """What ``python -m benchmarks.paradigms`` measured last."""
    from benchmarks.paradigms import page

    if not kept.is_file():
        return f"{kept.name} is not there yet: the command above makes it, in a quarter of an hour of one core.\n"
    return page(json.loads(kept.read_text(encoding="utf-8")))


def survey_table(comparisons: Path) -> str:
    """Table II of the survey as far as its systems have stored comparisons: what ``unroll report --table-2`` prints."""
    return markdown_survey_table(stored_comparisons([comparisons]) if any(comparisons.glob("*.json")) else [])


def all_fields(systems: Mapping[str, System]) -> str:
    """A table for each field."""
    texts = []
    for name in dict.fromkeys(map(field_of, systems)):
        own = {key: system for key, system in systems.items() if field_of(key) == name}
        texts.append(f"## {field_title(name)}\n\n{table(own, '')}")
    return "\n\n".join(texts) + "\n"


def table(systems: Mapping[str, System], prefix: str) -> str:
    """What each system does, whether weights ship, and whether it takes files: Markdown."""
    parents = {variant.name: system for system in systems.values() for variant in system.variants}
    ordered = sorted(systems, key=lambda name: (parents[name].name if name in parents else name, name))
    lines = ["| system | what it does | what is learned | weights | files |", "|---|---|---|---|---|"]
    for name in ordered:
        system = systems[name]
        shipped = [task for task in system.recipes if system.weights_files(task)]
        weights = "none" if not shipped else "yes" if len(shipped) == len(system.recipes) else ", ".join(shipped)
        files = "yes" if any(task in system.apply for task in shipped) else ""
        learned = PARADIGMS[system.paradigm].title.removeprefix("learned ") if system.paradigm else ""
        title = f"[{system.title}]({prefix}{name}.md)"
        lines.append(f"| {title} | {_cell(system.summary)} | {learned} | {weights} | {files} |")
    return "\n".join(lines)


def problem_table(systems: Mapping[str, System], prefix: str, comparisons: Mapping[str, Any]) -> str:
    """Per problem: the systems, those with weights in bold, and the best classical method beside them: Markdown."""
    lines = [
        "| you have | you want | systems, in bold those whose weights ship | the best classical method beside them |",
        "|---|---|---|---|",
    ]
    for problem in problems(systems):
        links = []
        for name, system in problem.systems.items():
            link = f"[{system.title}]({prefix}{name}.md)"
            links.append(f"**{link}**" if name in problem.ships else link)
        given = _cell(problem.given) + (f" ({problem.files})" if problem.files else "")
        cells = (given, _cell(problem.sought), ", ".join(links), _cell(rival(problem, comparisons)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rival(problem: Problem, comparisons: Mapping[str, Any]) -> str:
    """The best classical row of the stored comparison whose network is best, and how far it is from that network."""
    usual = [
        each
        for each in comparisons.values()
        if each["system"] in problem.systems and each["task"] in problem.tasks and not each["settings"]
    ]
    pairs = [(each, row) for each in usual for row in each["rows"] if row["role"] == "network"]
    if not pairs:
        return "–"
    metric = Metric(**pairs[0][0]["metric"])

    comparison, network = min(pairs, key=lambda pair: metric.rank(standing(pair[1], None)))
    others = [row for row in comparison["rows"] if row["role"] in ("classical", "parent", "library")]
    if not others:
        return "–"
    best = min(others, key=lambda row: metric.rank(standing(row, network)))
    numbers = [f"{quality_text(standing(row, network), metric)} {metric.unit}".strip() for row in (best, network)]
    words = f"{best['name']}: {numbers[0]}; {comparison['title']}: {numbers[1]}"
    paired = best["paired"]
    if paired is None or None in (paired["low"], paired["high"]):
        return words
    if paired["low"] <= 0 <= paired["high"]:
        return f"{words}: not told apart{_time(best, network)}. It may be enough"
    better = (paired["difference"] < 0) == (metric.better == "lower")
    return f"{words}{_time(best, network)}{'. It is the better one' if better else ''}"


def _time(best: Mapping[str, Any], network: Mapping[str, Any]) -> str:
    """``, at 0.39× its time``."""
    if not best["seconds"] or not network["seconds"]:
        return ""
    ratio = ratio_text(best["seconds"]["batch"] / network["seconds"]["batch"])
    return f", in {ratio} the network's time"


def decision_map(systems: Mapping[str, System], prefix: str) -> str:
    """A drawing, and for narrow screens and readers of lists the same as a list: HTML in Markdown."""
    found = problems(systems)
    return (
        f'```{{raw}} html\n<div class="which-map">\n{drawing(found, prefix)}\n</div>\n'
        f'<div class="which-list">\n{listing(found, prefix)}\n</div>\n```\n'
    )


def listing(found: Sequence[Problem], prefix: str) -> str:
    """What is given, below it what is sought, below it the systems."""
    lines = ["<ul>"]
    for given, group in _grouped(found).items():
        files = f' <span class="no-weights">({group[0].files})</span>' if group[0].files else ""
        lines.append(f"<li>{escape(_capital(given))}{files}<ul>")
        for problem in group:
            lines.append(f"<li>{escape(problem.sought)}<ul>")
            for name, system in problem.systems.items():
                ships = "" if name in problem.ships else ' <span class="no-weights">(no weights)</span>'
                lines.append(f'<li><a href="{prefix}{name}.html">{escape(system.title)}</a>{ships}</li>')
            lines.append("</ul></li>")
        lines.append("</ul></li>")
    return "\n".join([*lines, "</ul>"])


def drawing(found: Sequence[Problem], prefix: str) -> str:
    """The map as SVG: three columns joined by lines; a filled dot marks weights that ship."""
    parts, y = [], 30.0
    for given, group in _grouped(found).items():
        top, middles = y, []
        for problem in group:
            rows = _rows(problem)
            height = max(len(rows), len(_lines(problem.sought, 1))) * LINE + PAD
            if len(group) == 1:
                height = max(height, (len(_lines(given, 0)) + bool(problem.files)) * LINE + PAD)
            middle = y + height / 2
            middles.append(middle)
            parts.append(_box(1, problem.sought, middle))
            left, width = COLUMNS[1]
            parts.append(f'<path class="join" d="M{left + width} {middle:.1f}H{COLUMNS[2][0] - 8}"/>')
            start = middle - len(rows) * LINE / 2
            for number, row in enumerate(rows):
                parts += _links(row, start + number * LINE + 12.5, problem, prefix)
            y += height + 8
        middle = (top + y - 8) / 2
        left, width = COLUMNS[0]
        turn = (left + width + COLUMNS[1][0]) / 2
        parts += [
            f'<path class="join" d="M{left + width} {middle:.1f}H{turn}V{m:.1f}H{COLUMNS[1][0]}"/>' for m in middles
        ]
        parts.append(_box(0, given, middle, group[0].files))
        y += 6
    heads = [
        f'<text class="head" x="{left}" y="14">{head}</text>'
        for (left, _), head in zip(COLUMNS, ("You have", "You want", "Systems"), strict=True)
    ]
    return (
        f'<svg class="which" viewBox="0 0 {WIDTH} {y:.0f}" role="group" aria-labelledby="which-title which-words">\n'
        '<title id="which-title">Which system for which problem</title>\n'
        '<desc id="which-words">From what you have to what you want to the systems that do it; names lead to their '
        "pages. A filled dot: trained weights come with the library.</desc>\n"
        + "\n".join([*heads, *parts])
        + "\n</svg>"
    )


def _grouped(found: Sequence[Problem]) -> dict[str, list[Problem]]:
    groups: dict[str, list[Problem]] = {}
    for problem in found:
        groups.setdefault(problem.given, []).append(problem)
    return groups


def _lines(words: str, column: int) -> list[str]:
    return textwrap.wrap(_capital(words), int((COLUMNS[column][1] - 12) / LETTER))


def _box(column: int, words: str, middle: float, files: str = "") -> str:
    left, width = COLUMNS[column]
    lines = [*_lines(words, column), *([files] if files else [])]
    height = len(lines) * LINE + PAD
    top, soft = middle - height / 2, ' class="soft"'
    spans = "".join(
        f'<tspan x="{left + 8}" y="{top + PAD / 2 + LINE * number + 12.5:.1f}"'
        f"{soft if files and number == len(lines) - 1 else ''}>{escape(line)}</tspan>"
        for number, line in enumerate(lines)
    )
    return f'<rect class="box" x="{left}" y="{top:.1f}" width="{width}" height="{height}" rx="4"/><text>{spans}</text>'


def _rows(problem: Problem) -> list[list[tuple[str, str]]]:
    """The systems in lines of the third column: (name, title)."""
    rows: list[list[tuple[str, str]]] = [[]]
    used = 0.0
    for name, system in problem.systems.items():
        width = _width(system.title) + 26
        if rows[-1] and used + width > COLUMNS[2][1]:
            rows.append([])
            used = 0.0
        rows[-1].append((name, system.title))
        used += width
    return rows


def _links(row: Sequence[tuple[str, str]], y: float, problem: Problem, prefix: str) -> list[str]:
    x, parts = float(COLUMNS[2][0]), []
    for name, title in row:
        kind = "ships" if name in problem.ships else "bare"
        parts.append(f'<circle class="{kind}" cx="{x + 5:.1f}" cy="{y - 4.5:.1f}" r="4"/>')
        parts.append(f'<a href="{prefix}{name}.html"><text x="{x + 14:.1f}" y="{y:.1f}">{escape(title)}</text></a>')
        x += _width(title) + 26
    return parts


def _width(words: str) -> float:
    return sum(1.2 * LETTER if letter.isupper() else LETTER for letter in words)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
