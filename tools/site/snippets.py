"""Commands and programs of the pages of systems: each is meant to be copied and run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolling.core import tree
from unrolling.systems.base import Application, System

FORMS = {"torch": ".pt2", "onnx": ".onnx", "aoti": ".pt2"}


def arguments(system: System, task: str, depth: int, settings: Mapping[str, Any]) -> str:
    """What ``pretrained`` is told: the task, and what is not its default."""
    given = [f'"{task}"']
    given += [f"depth={depth}"] if depth != system.recipes[task].depth else []
    return ", ".join([*given, *(f"{key}={value!r}" for key, value in settings.items())])


def from_python(system: System, task: str, depth: int, settings: Mapping[str, Any], example: str) -> str:
    """Shipped weights on the task's own data."""
    given = arguments(system, task, depth, settings)
    return (
        "from unrolling import pretrained\nfrom unrolling.systems import find\n\n"
        f'network = pretrained("{system.name}", {given})\n'
        f'task = find("{system.name}").trained_on({given})\n'
        f"data = task.example()  # {example}\n"
        "estimate = network(data)\n"
        "print(estimate.shape)\n"
    )


def untrained_from_python(system: System, task: str, example: str) -> str:
    """The network before training, which is its algorithm, and how it is trained."""
    return (
        "from unrolling import fit\nfrom unrolling.systems import find\n\n"
        f'system = find("{system.name}")\n'
        f'name, recipe = system.recipe("{task}")\n'
        "task = system.task(name)\n"
        "network = system.network(recipe, task)  # before training it is its algorithm\n"
        f"estimate = network(task.example())  # {example}\n"
        "schedule = recipe.schedule(len(network))\n"
        f'# fit(network, task, schedule, "runs/{system.name.split("/")[-1]}") trains it\n'
    )


def example_words(task: Any) -> str:
    """The sizes of the task's example: ``(64, 250)``, or by field."""
    data = task.example()
    if hasattr(data, "shape"):
        return str(tuple(data.shape))
    fields = data._asdict() if hasattr(data, "_asdict") else {}
    sizes = [f"{name} {tuple(value.shape)}" for name, value in fields.items() if hasattr(value, "shape")]
    return f"{type(data).__name__}: " + ", ".join(sizes or [str(tuple(t.shape)) for t in tree.tensors(data)])


def units_words(task: Any) -> str:
    """What the numbers of data and estimate are, for people; empty where the task does not say."""
    kinds = {name: unit.removeprefix("1, ") for name, unit in task.units.items() if unit != "1"}
    return "; ".join(f"`{name}`: {unit}" for name, unit in kinds.items())


def apply_command(system: System, task: str, application: Application) -> str:
    """A file of the user's through the shipped weights."""
    given = "" if task == next(iter(system.recipes)) else f" --task {task}"
    names = {".npz": "received", ".npy": "kspace", ".wav": "recording", ".jpg": "photo", ".png": "photo"}
    source = names.get(application.suffixes[0], "input") + application.suffixes[0]
    outputs = [_output(suffix) for suffix in application.default_suffixes[: application.least]]
    return f"unroll apply {system.name} {source}{given} " + " ".join(f"-o {name}" for name in outputs)


def outputs_words(application: Application) -> str:
    """What further names of outputs get, where there may be more than the command shows."""
    more = application.writes[application.least :]
    return "" if not more else f"A further name after `-o` gets {' and '.join(more)}."


def _output(suffix: str) -> str:
    return Path(suffix.removeprefix("-")).name


def train_command(system: System, task: str) -> str:
    given = "" if task == next(iter(system.recipes)) else f" --task {task}"
    return f"unroll train {system.name}{given}"


def compare_command(system: System, task: str, shipped: bool, depth: int | None, settings: list[str]) -> str:
    """Beside its parent, classical methods and generic networks."""
    given = "" if task == next(iter(system.recipes)) else f" --task {task}"
    given += " --pretrained" if shipped else ""
    given += f" --depth {depth}" if depth is not None and depth != system.recipes[task].depth else ""
    return f"unroll compare {system.name}{given}" + "".join(f" --set {each}" for each in settings)


def export_command(system: System, task: str, form: str, shipped: bool) -> str:
    given = "" if task == next(iter(system.recipes)) else f" --task {task}"
    last = system.name.rsplit("/", 1)[-1]
    return (
        f"unroll export {system.name}{given} --format {form} --out {last}{FORMS[form]}"
        f"{'' if shipped else ' --untrained'}"
    )
