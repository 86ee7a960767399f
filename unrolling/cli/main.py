"""The command ``unroll``."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Turn iterative algorithms into small, fast, interpretable networks."
)

SystemName = Annotated[str, typer.Argument(metavar="SYSTEM", help="a name from `unroll list`, such as sparse_coding/lista; - and _ are the same")]
TaskName = Annotated[str | None, typer.Option("--task", help="what to solve; `unroll show SYSTEM` lists the tasks, the first is the default")]
Depth = Annotated[int | None, typer.Option("--depth", help="number of layers")]
Steps = Annotated[int | None, typer.Option("--steps", help="optimizer steps in all, instead of the schedule's")]
Seed = Annotated[int, typer.Option("--seed", help="of data, batches and initial values")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or auto")]
Data = Annotated[Path | None, typer.Option("--data", help="your own data instead of the packages': what it may be depends on the task")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="an option of the task; may be repeated")]
Out = Annotated[Path | None, typer.Option("--out", help="folder for what is written")]
Json = Annotated[bool, typer.Option("--json", help="print JSON on the standard output")]
Threads = Annotated[int | None, typer.Option("--threads", help="processor threads; by default all cores, or what the system does best with")]


@app.command("list")
def list_systems(as_json: Json = False) -> None:
    """The systems, one line each."""
    from unrolling.systems.catalogue import catalogue

    systems = catalogue()
    if as_json:
        _print_json(
            [{"name": s.name, "title": s.title, "summary": s.summary, "tasks": list(s.recipes), "reference": str(s.references[0])} for s in systems.values()]
        )
        return
    for system in systems.values():
        print(f"{system.name}\n    {system.title}: {system.summary}\n    tasks: {', '.join(system.recipes)}")


@app.command()
def show(
    system: SystemName, task: TaskName = None, depth: Depth = None, seed: Seed = 0, settings: Settings = None, data: Data = None, as_json: Json = False
) -> None:
    """What a system computes, where it was published, and every learned quantity with its classical value."""
    from unrolling.systems.catalogue import find
    from unrolling.training.weights import read_weights

    found = find(system)
    name, recipe = found.recipe(task)
    # Shipped weights bring the fixed tensors (a learned dictionary, say), which takes no time.
    path = found.weights_path(name, depth or recipe.depth, _settings(recipe.options, settings or []))
    fixed = read_weights(path)[1] if path.is_file() and seed == 0 and data is None else None
    network = found.network(recipe, _task(recipe, seed, data, settings, fixed), depth)
    table = network.parameter_table()
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if as_json:
        _print_json(
            {
                "name": found.name,
                "title": found.title,
                "summary": found.summary,
                "equations": found.equations,
                "references": [str(reference) for reference in found.references],
                "tasks": list(found.recipes),
                "task": name,
                "depth": len(network),
                "learned_numbers": learned,
                "options": {key: _plain(value) for key, value in recipe.options.items()},
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
            }
        )
        return
    from rich.console import Console
    from rich.table import Table

    print(f"{found.title}: {found.summary}\n\n{found.equations}\n")
    for reference in found.references:
        print(f"  {reference}")
    print(f"\ntasks: {', '.join(found.recipes)}; here {name}, {len(network)} layers, {learned:,} learned numbers")
    if recipe.options:
        print("options (--set KEY=VALUE): " + ", ".join(f"{key}={value}" for key, value in recipe.options.items()))
    rows = Table("parameter", "layer", "shape", "classical value: mean", "norm")
    seen = set()
    for row in table:
        if row.name not in seen:
            seen.add(row.name)
            layers = "all, shared" if row.layer is None else f"each of {len(network)}"
            rows.add_row(
                row.name, layers, "x".join(map(str, row.value.shape)) or "scalar", f"{float(row.classical.mean()):.4g}", f"{float(row.classical.norm()):.4g}"
            )
    Console().print(rows)


@app.command()
def train(
    system: SystemName,
    task: TaskName = None,
    data: Data = None,
    depth: Depth = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    settings: Settings = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a system; the same command goes on after an interruption. Ends with a weights file."""
    found, name, recipe, held, network, folder = _prepare(system, task, data, depth, seed, settings, threads, out, "runs", steps=steps, device=device)
    card = _train(found, name, recipe, held, network, steps, seed, device, folder, quiet=as_json)
    if as_json:
        _print_json(card)
    else:
        print(
            f"{card['metric']['name']} {card['metric']['mean']:.2f} {card['metric']['unit']} on the validation set; weights in {folder / 'weights.safetensors'}"
        )


@app.command()
def compare(
    system: SystemName,
    task: TaskName = None,
    data: Data = None,
    depth: Depth = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = "cpu",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="use the shipped weights instead of training")] = False,
    weights: Annotated[Path | None, typer.Option("--weights", help="use the weights of this file instead of training")] = None,
    out: Out = None,
    settings: Settings = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a system (or load it) and measure it beside its parent, classical methods and a generic network; writes a page."""
    from unrolling.evaluation.compare import compare as run_comparison
    from unrolling.report.page import write_page
    from unrolling.report.table import print_table
    from unrolling.training.files import write_bytes
    from unrolling.training.weights import load_weights, save_weights

    found, name, recipe, held, network, folder = _prepare(
        system, task, data, depth, seed, settings, threads, out, "out", steps=steps, device=device, pretrained=pretrained, weights=weights
    )
    if pretrained or weights:
        path = weights or found.shipped(name, len(network), _settings(recipe.options, settings or []))
        card = load_weights(network, path, system=found.name)
        note = "shipped weights" if pretrained else f"weights from {path.name}"
        save_weights(network, folder / "weights.safetensors", card, held.fixed())
    else:
        card = _train(found, name, recipe, held, network, steps, seed, device, folder, quiet=as_json)
        note = f"trained {card['seconds']:.0f} s"
    comparison = run_comparison(
        found, name, recipe, held, network, seed=seed, note=note, quiet=as_json, say=lambda text: print(text, file=sys.stderr, flush=True)
    )
    comparison.command = "unroll " + shlex.join(_arguments())
    write_bytes(folder / "comparison.json", (json.dumps(comparison.to_json(), indent=1) + "\n").encode())
    page = write_page(comparison, folder)
    if as_json:
        _print_json(comparison.to_json())
    else:
        print_table(comparison)
        print(f"\n{comparison.headline}\n\nThe page: {page}")


def _prepare(
    system: str,
    task: str | None,
    data: Path | None,
    depth: int | None,
    seed: int,
    settings: list[str] | None,
    threads: int | None,
    out: Path | None,
    parent_folder: str,
    *,
    steps: int | None = None,
    device: str = "cpu",
    pretrained: bool = False,
    weights: Path | None = None,
) -> Any:
    """Everything that can be wrong with the arguments is found here, before any long work."""
    import torch

    from unrolling.systems.catalogue import find
    from unrolling.training.stages import scaled
    from unrolling.training.weights import read_weights

    if threads is not None and threads < 1:
        raise ValueError(f"--threads is {threads}; it must be at least 1")
    if depth is not None and depth < 1:
        raise ValueError(f"depth is {depth}; a network has at least one layer")
    found = find(system)
    name, recipe = found.recipe(task)
    if steps is not None:
        scaled(recipe.schedule(depth or recipe.depth), steps)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: there is no CUDA device here")
    folder = out or Path(parent_folder) / f"{found.name.replace('/', '-')}-{name}"
    _writable(folder)
    torch.set_num_threads(threads or recipe.threads or torch.get_num_threads())
    if pretrained and weights:
        raise ValueError("--pretrained and --weights exclude each other")
    fixed, trained = None, {}
    if pretrained or weights:
        path = weights or found.shipped(name, depth or recipe.depth, _settings(recipe.options, settings or []))
        _, fixed, card = read_weights(path)
        depth = card["depth"] if depth is None else depth
        trained = card.get("task") or {}
        if card.get("system") != found.name or trained.get("name") != name:
            raise ValueError(f"{path} holds weights of {card.get('system')} for the task {trained.get('name')}, not of {found.name} for {name}")
    held = _task(recipe, seed, data, settings, fixed, trained)
    torch.manual_seed(seed)
    return found, name, recipe, held, found.network(recipe, held, depth), folder


def _train(
    found: Any, name: str, recipe: Any, held: Any, network: Any, steps: int | None, seed: int, device: str, folder: Path, *, quiet: bool
) -> dict[str, Any]:
    from unrolling.evaluation.measure import environment, evaluate, interval
    from unrolling.training.fit import CHECKPOINT, fit
    from unrolling.training.stages import scaled
    from unrolling.training.weights import save_weights

    schedule = recipe.schedule(len(network))
    if steps is not None:
        schedule = scaled(schedule, steps)
    history = fit(network, held, schedule, folder, seed=seed, device=device, quiet=quiet)
    network.cpu()
    quality = interval(held.metric, evaluate(network, held, held.validation), seed)
    card = {
        "system": found.name,
        "task": held.identity(),
        "schedule": [stage.describe() for stage in schedule],
        "seed": seed,
        "seconds": round(history.seconds, 1),
        "metric": {"name": held.metric.name, "unit": held.metric.unit, "on": "validation", "mean": quality.mean, "low": quality.low, "high": quality.high},
        "environment": environment(seed, device),
        "licence": "BSD-3-Clause",
        "command": "unroll " + shlex.join(_arguments()),
    }
    save_weights(network, folder / "weights.safetensors", card, held.fixed())
    # The run is over and its result is written: what is left of it would only stand in the way of another run in this folder.
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return card


def _task(recipe: Any, seed: int, data: Path | None, settings: list[str] | None, fixed: Any = None, trained: dict[str, Any] | None = None) -> Any:
    """The task; options that are not given are those that the weights were trained with, else the defaults."""
    options = {key: type(default)(trained[key]) for key, default in recipe.options.items() if key in (trained or {})}  # pyright: ignore[reportOptionalSubscript]
    return recipe.task(seed=seed, data=data, fixed=fixed, **{**recipe.options, **options, **_settings(recipe.options, settings or [])})


def _settings(options: Any, given: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs as the types of the defaults.

    Raises:
        ValueError: an unknown key, or a value of another type.
    """
    chosen: dict[str, Any] = {}
    for pair in given:
        key, found, text = pair.partition("=")
        if not found or key not in options:
            raise ValueError(f"--set {pair}: the options here are {', '.join(f'{k}={v}' for k, v in options.items()) or 'none'}")
        kind = type(options[key])
        try:
            chosen[key] = kind(text)
        except ValueError:
            raise ValueError(f"--set {pair}: {key} is {'a whole number' if kind is int else 'a number'}") from None
    return chosen


def _writable(folder: Path) -> None:
    """Finds out before the work whether its result can be written.

    Raises:
        ValueError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"cannot write into {folder}: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    return str(value) if value == float("inf") else value


def _arguments() -> list[str]:
    return sys.argv[1:]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def main() -> None:
    """Run the command; mistakes of the caller end with one line and exit status 2, not with a traceback."""
    try:
        app()
    except (ValueError, TypeError, OSError, ArithmeticError, ImportError) as error:
        print(f"unroll: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("unroll: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
