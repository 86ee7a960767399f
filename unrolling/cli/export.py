"""``unroll export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolling._progress import Bar, duration
from unrolling.cli import prepare
from unrolling.cli.options import Data, Depth, Json, Overwrite, Quiet, Seed, Settings, SystemName, TaskName, Threads


def export(
    system: SystemName,
    form: Annotated[
        str, typer.Option("--format", help="torch (a torch.export program), onnx, or aoti (an AOTInductor package)")
    ] = "torch",
    out: Annotated[
        Path | None, typer.Option("--out", help="the file to write; .pt2 for torch and aoti, .onnx for onnx")
    ] = None,
    task: TaskName = None,
    data: Data = None,
    depth: Depth = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="use the weights of this file instead of the shipped ones")
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="export the network before training, which is the classical algorithm")
    ] = False,
    batch: Annotated[
        str, typer.Option("--batch", help="samples that the file takes at once: a number, or `dynamic` for any")
    ] = "dynamic",
    fixed_sizes: Annotated[
        bool, typer.Option("--fixed-sizes", help="take pictures of one size only, that of the task's timing data")
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            "--precision", help="of the weights in the file: float32, bf16 or int8; the metric is measured with both"
        ),
    ] = "float32",
    stream: Annotated[
        bool, typer.Option("--stream", help="take a state beside the data, and give the next one beside the estimate")
    ] = False,
    seed: Seed = 0,
    settings: Settings = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a trained system as a file that runs without this library, and compare the file with the network."""
    from unrolling.export import check_path, export, find_format
    from unrolling.export import untrained as is_untrained
    from unrolling.export.precision import check_precision
    from unrolling.files.whole import check_replaceable, keeping_others
    from unrolling.systems import catalogue
    from unrolling.systems.exports import example_of, real_samples
    from unrolling.training.weights import load_weights

    check_precision(precision)
    chosen, size = find_format(form), _size(batch)
    chosen.check()
    found = catalogue.find(system)
    name, recipe = found.recipe(task)
    if reason := found.not_exported.get(name, {}).get(form):
        raise ValueError(f"{found.name} on {name} cannot be exported as {form}: {reason}")
    path = check_path(out or Path(f"{found.name.replace('/', '-')}-{name}{chosen.suffix}"), chosen)
    with keeping_others(not overwrite):
        check_replaceable(path)
    if not (weights or untrained):
        try:
            found.shipped(name, depth or recipe.depth, prepare.settings(found.options(name), settings))
        except ValueError as error:
            raise ValueError(f"{error}; give --weights FILE, or --untrained for the classical algorithm") from error
    job = prepare.prepare(
        system,
        task,
        data,
        depth,
        seed,
        settings,
        threads,
        None,
        "",
        pretrained=not (weights or untrained),
        weights=weights,
        write=False,
        quiet=quiet or as_json,
    )
    card = load_weights(job.network, job.weights, system=found.name) if job.weights else None
    if is_untrained(job.network) and not untrained:
        raise ValueError(
            "every learned value of this network is still the classical one: train it first (unroll "
            f"train {found.name}), or give --untrained"
        )
    quality = None if precision == "float32" else _quality(job, precision)
    with keeping_others(not overwrite), Bar("drawing samples to compare on", quiet=quiet or as_json) as bar:
        example = example_of(job.task, size, fixed_sizes)
        draw = real_samples(job.task, example, fixed_sizes)
        exported = export(
            job.network,
            path,
            example,
            stream=stream,
            format=form,
            card={
                "system": found.name,
                "title": found.title,
                "summary": found.summary,
                "references": [str(paper) for paper in found.papers],
                "task": job.task.identity(),
                "task_summary": job.task.summary,
                "trained": not is_untrained(job.network),
                "weights": card,
                "licence": (card or {}).get("licence", "BSD-3-Clause"),
                "command": prepare.command(),
                **({"quality": quality} if quality else {}),
            },
            units=job.task.units,
            batch=size,
            free_sizes=not fixed_sizes,
            precision=precision,
            draw=draw,
            progress=lambda phase: bar.update(name=phase),
        )
    if as_json:
        prepare.print_json({**exported._asdict(), "path": str(path)})
        return
    _print(exported, chosen)
    if quality:
        name, unit = quality["metric"], quality["unit"]
        print(
            f"{name} on the test set: {quality['float32']:.4g} {unit} with all bits, {quality[precision]:.4g} "
            f"{unit} with weights in {precision}".rstrip()
        )


def _quality(job: Any, precision: str) -> dict[str, Any]:
    """The task's metric on its test set, of the network and of what is written."""
    from unrolling.export import ReducedWeights
    from unrolling.tasks.base import evaluate

    reduced = ReducedWeights(job.network, precision).restored()
    values = {
        name: job.task.metric.value(evaluate(net, job.task, job.task.test))
        for name, net in (("float32", job.network), (precision, reduced))
    }
    return {"metric": job.task.metric.name, "unit": job.task.metric.unit, **values}


def _size(batch: str) -> int | None:
    """The batch size; None for any."""
    if batch == "dynamic":
        return None
    if not batch.isdecimal() or int(batch) < 1:
        raise ValueError(f"--batch is {batch}; it is a number of samples, at least 1, or dynamic")
    return int(batch)


def _print(exported: Any, chosen: Any) -> None:
    """What was written, what goes in and out, how near it is."""
    card = exported.card
    opset = f", opset {exported.opset}" if exported.opset else ""
    print(
        f"{exported.path}: {chosen.title}{opset}, {exported.bytes:,} bytes, {card['learned_numbers']:,} learned "
        f"numbers, {duration(exported.seconds)}"
    )
    rows = [
        (
            kind,
            port["name"],
            f"({', '.join(map(str, port['shape']))})",
            port["dtype"],
            port["unit"] + (", pairs of real numbers" * port["complex_as_pairs"]),
        )
        for kind, ports in (("input", card["inputs"]), ("output", card["outputs"]))
        for port in ports
    ]
    prepare.print_columns(("", "name", "shape", "dtype", "unit"), rows)
    for port in card.get("state", []):
        start = "as the network starts it" if port["start"] is None else f"with {port['start']:g}"
        print(f"{port['input']} begins {start}; {port['output']} is the one for the next data")
    for name, (low, high) in exported.sizes.items():
        run = exported.sizes_compared.get(name, [])
        told = f"; compared at {', '.join(map(str, run))}" if run else ""
        print(f"{name}: any size from {low}{'' if high is None else f' to {high}'}{told}")
    batches = ", ".join(dict.fromkeys("x".join(map(str, next(iter(shapes.values())))) for shapes in exported.compared))
    print(
        f"compared with the network on {batches}, and on silence, gaps, constants and impulses: largest error "
        f"{exported.max_error:.2g}, {exported.max_relative_error:.2g} of the largest value"
    )
    if exported.own_rounding:
        print(
            "the network magnifies rounding: where the error is above 1e-4, it is itself up to "
            f"{exported.own_rounding:.2g} from its value in double precision"
        )
