"""Pages of the systems, generated from the catalogue: one for each system and each field, and the list of all."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tools.site import compared, equations, learned, shipped, snippets, which
from tools.site.comparisons import stored
from tools.site.files import keep
from tools.system_tables import GUIDES
from unrolling.systems import exports
from unrolling.systems.base import System
from unrolling.systems.catalogue import catalogue
from unrolling.systems.papers import SURVEY, cited
from unrolling.systems.paradigms import PARADIGMS
from unrolling.tasks.catalogue import find_task

ROOT = Path(__file__).resolve().parents[2]
FORMS = {"torch": "torch.export", "onnx": "ONNX", "aoti": "AOTInductor"}
DIGEST = ".made_of"


def write(docs: Path) -> None:
    """The pages of all systems below ``docs/systems``, made anew where something that they are made of has changed."""
    folder, made_of = docs / "systems", digest(docs)
    if (folder / DIGEST).is_file() and (folder / DIGEST).read_text() == made_of:
        return
    committed = {"index.md": (folder / "index.md").read_text(encoding="utf-8")}
    keep(folder, {**pages(catalogue(), docs), **committed}, suffix=".md")
    keep(folder, which.parts(catalogue()), suffix=".txt")
    (folder / DIGEST).write_text(made_of)


def digest(docs: Path) -> str:
    """Of everything that the pages are made of."""
    found = hashlib.sha256()
    for path in sorted(
        [
            *(ROOT / "unrolling").rglob("*.py"),
            *(ROOT / "unrolling/systems").rglob("*.json"),
            *(ROOT / "unrolling/systems").rglob("*.toml"),
            *(ROOT / "unrolling/systems").rglob("*.bib"),
            *(ROOT / "unrolling/systems").rglob("SHA256SUMS"),
            *(ROOT / "tools").rglob("*.py"),
            *(docs / "comparisons").glob("*.json"),
            *(docs / "guides").glob("*.json"),
            ROOT / "benchmarks/paradigms.py",
        ]
    ):
        found.update(path.name.encode() + path.read_bytes())
    found.update(str([(name, examples_of(system)) for name, system in catalogue().items()]).encode())
    return found.hexdigest()


def pages(systems: Mapping[str, System], docs: Path) -> dict[str, str]:
    """The text of each page, by its place in ``docs/systems``."""
    comparisons = stored(docs / "comparisons")
    found = {f"{name}.md": page(system, systems, comparisons) for name, system in systems.items()}
    fields = dict.fromkeys(which.field_of(name) for name in systems)
    return found | {f"{field}.md": field_page(field, systems) for field in fields}


def field_page(field: str, systems: Mapping[str, System]) -> str:
    """The systems of a field."""
    own = {name: system for name, system in systems.items() if which.field_of(name) == field}
    guides = [path.removeprefix("docs/") for path, fields in GUIDES.items() if field in fields]
    more = "".join(f"The guide is {{doc}}`../{guide.removesuffix('.md')}`.\n\n" for guide in guides)
    names = "\n".join(own)
    return f"# {which.field_title(field)}\n\n{more}{which.table(own, '')}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def page(system: System, systems: Mapping[str, System], comparisons: Mapping[str, Any]) -> str:
    """A system's page: MyST Markdown."""
    weights = shipped.weights_of(system)
    networks = _networks(system, weights)
    parts = [
        f"# {system.title}\n\n{_sentence(system.summary)}",
        _facts(system, systems, weights),
        _problem(system, networks, comparisons),
        _equations(system, networks),
        _learned(system, weights, networks),
        _weights(weights),
        _comparison(system, weights, comparisons),
        _use(system, weights, networks),
        _exports(system, weights),
        _cite(system),
        _further(system, systems),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _sentence(words: str) -> str:
    return compared.markdown(words[:1].upper() + words[1:])


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html}\n```"


def _facts(system: System, systems: Mapping[str, System], weights: list[shipped.Weights]) -> str:
    """What one wants to know first, as a definition list."""
    trained = list(dict.fromkeys(each.task for each in weights))
    facts = [("Name", f"`{system.name}`, for {{py:obj}}`unrolling.pretrained` and every command")]
    if parents := [each for each in systems.values() if system.name in [v.name for v in each.variants]]:
        facts.append(("Variant of", _links(parents, system)))
    if system.variants:
        facts.append(("Variants", _links(system.variants, system)))
    if system.paradigm:
        up = "../" * (system.name.count("/") + 1)
        title, words = PARADIGMS[system.paradigm]
        facts.append(("Paradigm", f"[{title[:1].upper()}{title[1:]}]({up}guides/paradigms.md): {words}"))
    facts.append(("Tasks", ", ".join(f"`{task}`" for task in system.recipes)))
    ships = "none ship; `unroll train` makes them"
    facts.append(("Weights", "ship for " + ", ".join(f"`{task}`" for task in trained) if trained else ships))
    reads = dict.fromkeys(system.apply[task].reads for task in trained if task in system.apply)
    facts.append(("Files", "; ".join(map(compared.markdown, reads)) or "none; it takes tensors, from Python"))
    return "\n\n".join(f"{name}\n: {value}" for name, value in facts)


def _links(systems: Any, system: System) -> str:
    up = "../" * system.name.count("/")
    return ", ".join(f"[{each.title}]({up}{each.name}.md)" for each in systems)


def _networks(system: System, weights: list[shipped.Weights]) -> dict[str, tuple[Any, Any]]:
    """By task: the task and the network, with shipped weights where there are any."""
    found = {}
    for name, recipe in system.recipes.items():
        if own := next((each for each in weights if each.task == name), None):
            found[name] = own.trained_on(), own.network()
        else:
            task = system.task(name)
            found[name] = task, system.network(recipe, task)
    return found


def _problem(
    system: System, networks: Mapping[str, tuple[Any, Any]], comparisons: Mapping[str, Mapping[str, Any]]
) -> str:
    lines = []
    for name, (task, _) in networks.items():
        given, sought = which.words_of(system, name)
        unit = f", {task.metric.unit}" if task.metric.unit else ""
        summary = compared.markdown(_summary(task, comparisons))
        lines.append(
            f"`{name}`\n: From {compared.markdown(given)}: {compared.markdown(sought)}. {summary} "
            f"Judged by {task.metric.name}{unit}; {task.metric.better} is better."
        )
    return "## The problem\n\n" + "\n\n".join(lines)


def _summary(task: Any, comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """Of a task; where it works its summary out, which may take minutes, that of a stored comparison."""
    if not isinstance(getattr(type(task), "summary", None), property):
        return task.summary
    kept = [each for each in comparisons.values() if each["task"] == task.name and not each["settings"]]
    return kept[0]["summary"] if kept else ""


def _equations(system: System, networks: Mapping[str, tuple[Any, Any]]) -> str:
    name, recipe = system.recipe(None)
    parent = which.class_link(type(networks[name][1].parent))
    task, network = networks[name]
    made = f"Unrolled from {parent}; {recipe.depth} layers where nothing else is asked for."
    return (
        f"## The layer\n\n{_raw(equations.html(system.equations))}\n\n{made}\n\n"
        f"{_raw(network.draw(task.example()).strip())}\n\n"
        f"`unroll show {system.name} --picture {system.name.rsplit('/', 1)[-1]}.svg` writes this drawing."
    )


def _learned(system: System, weights: list[shipped.Weights], networks: Mapping[str, tuple[Any, Any]]) -> str:
    chosen = {each.task: each for each in reversed(weights)}
    parts = ["## What was learned" if weights else "## What is learned"]
    for name, (task, network) in networks.items():
        if (each := chosen.get(name)) is None:
            continue
        parts.append(f"### Learned: {_words(each)}" if len(chosen) > 1 else f"From the weights for {_words(each)}.")
        figures = learned.figures_html(network, task)
        parts += [_raw(figures)] if figures else []
        parts.append(_raw(learned.table_html(network, True, each.words)))
    if not weights:
        name, (_, network) = next(iter(networks.items()))
        parts.append(f"On `{name}`, with {len(network)} layers; no weights ship.")
        parts.append(_raw(learned.table_html(network, False, name)))
    words = "Symbols are those of the equations; of arrays the values are the median and the range of the middle 80 %."
    if weights:
        words += (
            " The change is the Frobenius norm of the difference from the classical value, over that of the classical "
            "value."
        )
    return "\n\n".join([*parts, words])


def _words(weights: shipped.Weights) -> str:
    return compared.markdown(weights.words)


def _weights(weights: list[shipped.Weights]) -> str:
    if not weights:
        return ""
    made = "\n".join(shipped.origin(each) for each in weights)
    title = "The command that made them" if len(weights) == 1 else "The commands that made them"
    return (
        f"## The weights\n\n{_raw(shipped.table(weights))}\n\n"
        "Intervals are 95 % bootstrap intervals. `unroll apply` says so where a file is not what weights were trained "
        "for.\n\n"
        f":::{{dropdown}} {title}\n{made}:::"
    )


def _comparison(system: System, weights: list[shipped.Weights], comparisons: Mapping[str, Any]) -> str:
    parts = ["## Compared"]
    found = [(each, comparisons.get(each.comparison)) for each in weights]
    for each, comparison in found:
        if comparison is None:
            continue
        if len(weights) > 1:
            parts.append(f"### Compared: {_words(each)}")
        if comparison["weights"] != each.digest:
            parts.append(f"Measured on {comparison['date']} with weights that have since been trained anew.")
        parts.append(compared.section(comparison))
    missing = [each for each, comparison in found if comparison is None]
    if not weights:
        parts.append("No weights ship, so that no comparison is kept. This trains the network and compares it:")
        parts.append(f"```bash\n{snippets.compare_command(system, next(iter(system.recipes)), False, None, [])}\n```")
    elif missing:
        commands = [snippets.compare_command(system, each.task, True, each.depth, each.settings) for each in missing]
        words = "Not kept here, and made in minutes:" if len(missing) < len(weights) else "This compares it in minutes:"
        parts.append(words + "\n\n```bash\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts)


def _use(system: System, weights: list[shipped.Weights], networks: Mapping[str, tuple[Any, Any]]) -> str:
    parts = ["## Use it"]
    usual = list({each.task: each for each in reversed(weights)}.values())[::-1]
    applied = [each for each in usual if each.task in system.apply]
    if applied:
        commands = [snippets.apply_command(system, each.task, system.apply[each.task]) for each in applied]
        written = "".join(
            f"\n\n{words}" for each in applied if (words := snippets.outputs_words(system.apply[each.task]))
        )
        options = [option for each in applied for option in system.apply[each.task].options]
        told = "\n".join(f"- `{option.flag}`: {compared.markdown(option.words)}" for option in options)
        parts.append("On a file of yours:\n\n```bash\n" + "\n".join(commands) + f"\n```{written}")
        parts += [told] if told else []
    name = usual[0].task if usual else next(iter(system.recipes))
    example = snippets.example_words(networks[name][0])
    text = snippets.untrained_from_python(system, name, example)
    if usual:
        text = snippets.from_python(system, name, usual[0].depth, usual[0].values, example)
    parts.append(f"From Python:\n\n```python\n{text}```")
    if units := snippets.units_words(networks[name][0]):
        parts.append(f"The numbers are: {units}.")
    lines = [snippets.train_command(system, task) for task in system.recipes]
    lines.append(f"{lines[0]} --dry-run    # the schedule, and how long it takes")
    parts.append("Train it yourself, with the schedule that it brings:\n\n```bash\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts)


def _exports(system: System, weights: list[shipped.Weights]) -> str:
    """Which formats hold: as far as the record goes, and why not."""
    lines = []
    for task in system.recipes:
        rows = [(pair, row) for pair, row in exports.recorded().items() if pair[:2] == (system.name, task)]
        ruled_out = system.not_exported.get(task, {})
        for form, title in FORMS.items():
            own = [row for pair, row in rows if pair.form == form]
            worst = max((row["error"] for row in own if row["holds"]), default=None)
            refused = ruled_out.get(form) or next((row["reason"] for row in own if not row["holds"]), None)
            if refused:
                lines.append(f"- `{task}` as {title}: no, {compared.markdown(refused)}.")
            elif worst is not None:
                agrees = "equal to the bit" if worst == 0 else f"agrees to {worst:.1e} of the largest value"
                lines.append(f"- `{task}` as {title}: {agrees}.")
            elif form == "aoti" and rows:
                lines.append(f"- `{task}` as {title}: compiled for one machine, and checked by `make nightly`.")
    if not lines:
        return ""
    first = next(iter(system.recipes))
    forms = [form for form in ("torch", "onnx") if form not in system.not_exported.get(first, {})]
    shipped_first = any(each.task == first and each.usual for each in weights)
    commands = "\n".join(snippets.export_command(system, first, form, shipped_first) for form in forms)
    return f"## Export it\n\n{chr(10).join(lines)}\n\n```bash\n{commands}\n```"


def _cite(system: System) -> str:
    data = [paper for name in system.recipes for paper in find_task(name).references]
    papers = cited([*system.references, *data, SURVEY])
    entries = "\n\n".join(dict.fromkeys(paper.bibtex() for paper in papers))
    return (
        "## Cite\n\nThe system and the algorithm that it is unrolled from"
        f"{', its data' if data else ''}, and the survey; `unroll cite {system.name}` prints the same.\n\n"
        f"```bibtex\n{entries}\n```"
    )


def _further(system: System, systems: Mapping[str, System]) -> str:
    up = "../" * (system.name.count("/") + 1)
    lines = [f"- {{doc}}`{up}gallery/{place}`" for place in examples_of(system)]
    field = which.field_of(system.name)
    for path, fields in GUIDES.items():
        if field in fields:
            lines.append(f"- {{doc}}`{up}{path.removeprefix('docs/').removesuffix('.md')}`")
    source = next((each for each in systems.values() if system.name in [v.name for v in each.variants]), system)
    if (ROOT / f"unrolling/systems/{source.name}.py").is_file():
        lines.append(f"- [Its source](../{up}unrolling/systems/{source.name}.py)")
    return "## Further\n\n" + "\n".join(lines) if lines else ""


def examples_of(system: System) -> list[str]:
    """The gallery's scripts that name a system or tell of it, as ``sparse/at_the_bayes_limit``."""
    last = re.escape(system.name.rsplit("/", 1)[-1])
    named = re.compile(rf"""["'`](?:{re.escape(system.name)}|{last})["'`]""")
    told = re.compile(rf"(?<![\w-]){re.escape(system.title)}(?![\w-])")
    found = []
    for path in sorted((ROOT / "examples").glob("*/*.py")):
        text, words = _script(path, path.stat().st_mtime_ns)
        if named.search(text) or told.search(words):
            found.append(path.relative_to(ROOT / "examples").with_suffix("").as_posix())
    return found


@cache
def _script(path: Path, changed: int) -> tuple[str, str]:
    """The text of a script and its docstring."""
    text = path.read_text(encoding="utf-8")
    return text, ast.get_docstring(ast.parse(text)) or ""
