"""Weights in fewer bits: the metric on the test set, bytes, and time, for systems with shipped weights.

``bf16`` and ``int8`` hold the matrices in fewer bits and compute in float32 (``unroll export --precision``); ``bf16
arithmetic`` keeps the weights and computes products in bfloat16 (``torch.autocast``), which pays where the processor
has units for it. Time is over that of float32, on the task's timing data.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import options, publish, start, waiter
from benchmarks.timing import alternate, compared
from unrolling.core import frozen, tree
from unrolling.export import ReducedWeights
from unrolling.systems.catalogue import find
from unrolling.tasks.base import evaluate
from unrolling.training.weights import load_weights, read_weights

SYSTEMS = (
    "sparse_coding/lista",
    "sparse_coding/lista:recovery",
    "sparse_coding/lamp:recovery",
    "sparse_coding/lcod:codes",
    "speech/deep_nmf",
    "speech/misi",
    "communications/detnet",
    "communications/mmnet",
    "communications/viterbinet",
    "imaging/tnrd",
)


def variants(network: Any, device: torch.device) -> dict[str, tuple[Callable[[Any], Tensor], int]]:
    """What is measured, by name, with its bytes."""
    plain = frozen(network)  # constraints hold their initial values beside the learned ones
    tensors = {t.data_ptr(): t for t in [*plain.parameters(), *plain.buffers()]}
    full = sum(t.numel() * t.element_size() for t in tensors.values())

    def narrow(data: Any) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return network(data).float()

    found: dict[str, tuple[Callable[[Any], Tensor], int]] = {"float32": (network, full)}
    for precision in ("bf16", "int8"):
        reduced = ReducedWeights(network, precision)
        found[precision] = (reduced.restored(), reduced.bytes)
    return found | {"bf16 arithmetic": (narrow, full)}


@torch.inference_mode()
def rows_of(name: str, task_name: str | None, seconds: float, device: torch.device) -> list[dict[str, object]]:
    """One system on one task."""
    system = find(name)
    chosen, recipe = system.recipe(task_name)
    files = system.weights_files(chosen)
    if not files:
        return [{"system": name, "task": chosen, "failed": "no weights are shipped"}]
    # The default's weights where they are shipped, otherwise the first ones.
    path = next((p for p in files if p == system.weights_path(chosen, recipe.depth, {})), files[0])
    _, fixed, card = read_weights(path)
    held = {key: type(value)(card["task"][key]) for key, value in system.options(chosen).items() if key in card["task"]}
    task = system.task(chosen, seed=card.get("seed", 0), fixed=fixed, **held)
    network = system.network(recipe, task, card["depth"])
    load_weights(network, path, system=name)
    network = network.eval().to(device)
    made = variants(network, device)

    def move(data: Any) -> Any:
        return tree.apply(lambda t: t.to(device), data)

    rows: list[dict[str, object]] = []
    data = move(task.timing.data)
    for key, (run, _) in list(made.items()):
        try:
            run(data)
        except RuntimeError as error:  # an operator that has no code for two precisions at once
            del made[key]
            rows.append({"system": name, "task": f"{chosen}, {key}", "failed": str(error).splitlines()[0]})
    times = alternate(
        {key: lambda r=run: r(data) for key, (run, _) in made.items()}, seconds=seconds, least=3, wait=waiter(device)
    )
    for key, (run, size) in made.items():
        quality = task.metric.value(evaluate(lambda given, r=run: r(move(given)).cpu(), task, task.test))
        row: dict[str, object] = {
            "system": name,
            "task": chosen,
            "weights": path.stem,
            "precision": key,
            "metric": task.metric.name,
            "quality": quality,
        }
        row |= {"bytes": size, **compared(times, key, "float32"), "milliseconds": 1e3 * statistics.median(times[key])}
        rows.append(row)
    return rows


def measure(seconds: float, device: torch.device, systems: list[str]) -> list[dict[str, object]]:
    """All systems; one that cannot be measured says why."""
    rows: list[dict[str, object]] = []
    for given in systems:
        name, _, task = given.partition(":")
        try:
            rows += rows_of(name, task or None, seconds, device)
        except (ValueError, OSError, RuntimeError) as error:
            rows.append(
                {"system": name, "task": task, "failed": (str(error).splitlines() or [type(error).__name__])[0]}
            )
    return rows


def line(row: Mapping[str, Any]) -> str:
    if "failed" in row:
        return f"{row['system']} {row['task']}: not measured: {row['failed']}"
    head = f"{row['weights']:42s} {row['precision']:16s} {row['metric']} {row['quality']:8.4g}"
    return (
        f"{head}, {row['bytes'] / 1e3:8.1f} kB, time {row['ratio']:.2f} of float32 [{row['low']:.2f}, "
        f"{row['high']:.2f}]"
    )


def main() -> None:
    parser = options(__doc__, seconds=3.0)
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, metavar="SYSTEM[:TASK]")
    given = parser.parse_args()
    publish("precision", given, measure(given.seconds, start(given), given.systems), line)


if __name__ == "__main__":
    main()
