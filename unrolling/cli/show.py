"""What there is: ``unroll list``, ``unroll show``, ``unroll schedules``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling.cli import prepare
from unrolling.cli.meanings import meanings
from unrolling.cli.options import Data, Depth, Json, Overwrite, Seed, Settings, SystemName, TaskName, paradigms

SAMPLES = 2  # whose sizes a drawing shows


def list_systems(
    field: Annotated[
        str | None, typer.Argument(metavar="FIELD", help="only the systems of a field, such as imaging")
    ] = None,
    paradigm: Annotated[
        str | None,
        typer.Option(
            "--paradigm",
            metavar="NAME",
            help="only those that learn this of the algorithm: hyperparameters, objective, correction, inductive-bias",
            autocompletion=paradigms,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The systems: what each solves, and what it comes with."""
    from unrolling.systems.index import foreign_systems, read_index
    from unrolling.systems.paradigms import PARADIGMS, paradigm_named

    wanted = None if paradigm is None else paradigm_named(paradigm)
    entries = [entry for entry in read_index() if field in (None, entry["name"].split("/")[0])]
    others = [entry for entry in foreign_systems() if field in (None, entry.name.split("/")[0])]
    if not entries and not others:
        known = dict.fromkeys(entry["name"].split("/")[0] for entry in read_index())
        raise ValueError(f"no field {field!r}; there are {', '.join(known)}")
    if wanted is not None:
        found, entries = entries, [entry for entry in entries if entry["paradigm"] == wanted]
        others = []  # nothing of other packages is imported, so that nobody knows what theirs learn
        if not entries:
            held = dict.fromkeys(entry["paradigm"] for entry in found if entry["paradigm"])
            among = f" of {field}" * (field is not None)
            raise ValueError(f"no system{among} has the paradigm {wanted}; there are {', '.join(held) or 'none'}")
    if as_json:
        more = [{"name": entry.name, "entry_point": entry.value} for entry in others]
        prepare.print_json([*entries, *more])
        return
    for entry in entries:
        print(f"{entry['name']}\n    {entry['title']}: {entry['summary']}\n    tasks: {', '.join(entry['tasks'])}")
        learned = f"{PARADIGMS[entry['paradigm']].title}; " if entry["paradigm"] else ""
        print(f"    {learned}{_comes_with(entry)}")
    for entry in others:
        print(f"{entry.name}\n    of another package: {entry.value}")


def _comes_with(entry: dict[str, Any]) -> str:
    """Weights, files it can be applied to, formats it can be exported as; each with its tasks where not for all."""

    def of(tasks: list[str]) -> str:
        return "" if len(tasks) == len(entry["tasks"]) else f" ({', '.join(tasks)})"

    trained = [task for task in entry["tasks"] if entry["weights"][task]]
    formats = dict.fromkeys(form for forms in entry["exported"].values() for form in forms)
    parts = [f"weights{of(trained)}"] if trained else ["no weights"]
    parts += [f"applied to files{of(list(entry['applied']))}"] if entry["applied"] else []
    parts += [f"exported as {', '.join(formats)}"] if formats else []
    return "; ".join(parts)


def schedules(as_json: Json = False) -> None:
    """The training schemes of the literature, for ``unroll train --schedule``."""
    from unrolling.training.schedules import SCHEMES

    if as_json:
        prepare.print_json(
            [
                {"name": name, "summary": scheme.summary, "reference": scheme.reference}
                for name, scheme in SCHEMES.items()
            ]
        )
        return
    for name, scheme in SCHEMES.items():
        print(f"{name}\n    {scheme.summary}\n    {scheme.reference}")


def show(
    system: SystemName,
    task: TaskName = None,
    depth: Depth = None,
    seed: Seed = 0,
    settings: Settings = None,
    data: Data = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE.svg", help="write a drawing: layers, sizes, what is learned"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """What a system computes, where it was published, and every learned quantity with its classical value."""
    from unrolling.files.whole import check_place, keeping_others, write_bytes
    from unrolling.systems.catalogue import find
    from unrolling.systems.exports import held
    from unrolling.systems.paradigms import PARADIGMS
    from unrolling.tasks.base import first
    from unrolling.tasks.catalogue import find_task
    from unrolling.training.weights import read_weights

    if picture is not None:
        if picture.suffix.lower() != ".svg":
            raise ValueError(f"{picture} is no .svg file, which is what drawings are written as")
        with keeping_others(not overwrite):
            check_place(picture)
    found = find(system)
    name, recipe = found.recipe(task)
    options = found.options(name)
    # Shipped weights bring the fixed tensors (a learned dictionary, say), which takes no time.
    path = found.weights_path(name, depth or recipe.depth, prepare.settings(options, settings))
    fixed = read_weights(path)[1] if path.is_file() and seed == 0 and data is None else None
    layers, table, learned, lacking = depth or recipe.depth, [], None, ""
    try:
        task_held = prepare.build_task(found, name, seed, data, settings, fixed)
        network = found.network(recipe, task_held, depth)
    except ImportError as error:  # an extra is not installed: the rest can be told without
        if picture is not None:
            raise
        lacking = str(error)
    else:
        layers, table = len(network), network.parameter_table()
        learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
        if picture is not None:
            drawing = network.draw(first(task_held.test[0], SAMPLES).data, found.title)
            with keeping_others(not overwrite):
                write_bytes(picture, drawing.encode())
    words = meanings(find_task(name))
    if as_json:
        prepare.print_json(
            {
                "name": found.name,
                "title": found.title,
                "summary": found.summary,
                "equations": found.equations,
                "paradigm": found.paradigm,
                "references": [str(paper) for paper in found.papers],
                "tasks": list(found.recipes),
                "task": name,
                "depth": layers,
                "learned_numbers": learned,
                "options": {key: prepare.plain(value) for key, value in options.items()},
                "meanings": {key: words.get(key, "") for key in options},
                "apply": _application(found.apply.get(name)),
                "exports": {"held": held(found, name), "ruled_out": dict(found.not_exported.get(name, {}))},
                "parameters": [
                    {
                        "name": row.name,
                        "layer": row.layer,
                        "shape": list(row.value.shape),
                        "mean": float(row.classical.mean()),
                        "norm": float(row.classical.norm()),
                    }
                    for row in table
                ],
                **({"lacking": lacking} if lacking else {}),
            }
        )
        return
    from rich.console import Console
    from rich.table import Table

    if picture is not None:
        print(f"The drawing: {picture}\n")
    print(f"{found.title}: {found.summary}\n\n{found.equations}\n")
    if found.paradigm:
        print(f"  {PARADIGMS[found.paradigm].title}: {PARADIGMS[found.paradigm].words}")
    for paper in found.papers:
        print(f"  {paper}")
    counted = "" if learned is None else f", {learned:,} learned numbers"
    print(f"\ntasks: {', '.join(found.recipes)}; here {name}, {layers} layers{counted}")
    if options:
        print("options of the task:")
    for key, value in options.items():
        print(f"  --set {key}={value}: {words.get(key, '')}".removesuffix(": "))
    if application := found.apply.get(name):
        print(f"unroll apply: from {application.reads} to {', '.join(dict.fromkeys(application.writes))}")
        for option in application.options:
            print(f"  {option.flag}: {option.words}")
    if forms := held(found, name):
        print(f"unroll export: {', '.join(forms)}")
    for form, reason in found.not_exported.get(name, {}).items():
        print(f"  not as {form}: {reason}")
    if lacking:
        print(f"what is learned: {lacking}")
        return
    rows = Table("parameter", "layer", "shape", "classical value: mean", "norm")
    seen = set()
    for row in table:
        if row.name not in seen:
            seen.add(row.name)
            where = "all, shared" if row.layer is None else f"each of {layers}"
            rows.add_row(
                row.name,
                where,
                "x".join(map(str, row.value.shape)) or "scalar",
                f"{float(row.classical.mean()):.4g}",
                f"{float(row.classical.norm()):.4g}",
            )
    Console().print(rows)


def _application(application: Any) -> dict[str, Any] | None:
    """What can be said to ``unroll apply``, None where it has no part in the system."""
    return application and {
        "reads": application.reads,
        "writes": list(application.writes),
        "options": [{"flag": option.flag, "help": option.words} for option in application.options],
    }
