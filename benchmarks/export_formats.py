"""Forward time of a network as it is, deployed plain and compiled, and as a file in each format: LISTA-CP and LISTA, 16
layers, m = 250, n = 500, one process.

Bars: ONNX Runtime at most 1.15 times the compiled network at batch 1000; every format equal to the network to 1e-5.
What compiling and exporting cost stands beside. On a GPU the formats are left out, which run on the processor, and
``--device cuda`` adds the captured graph.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import networks
from benchmarks.record import options, publish, start, waiter
from benchmarks.timing import alternate, compared
from unrolling import Unrolled, deploy
from unrolling.export import export, formats

BATCHES, BAR, EQUAL = (1000, 1), 1.15, 1e-5
WAYS = ("eager", "plain", "captured", "compiled", *formats)


def ways(
    network: Unrolled, device: torch.device, folder: Path
) -> tuple[dict[str, Callable[[Tensor], Tensor]], dict[str, dict[str, Any]]]:
    """What is timed, by name, and what each cost to make; a format whose packages are missing only says so."""
    compiled = deploy(network, "compiled")
    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "eager": network,
        "plain": deploy(network, "plain"),
        "compiled": compiled,
    }
    with torch.inference_mode():
        for batch in BATCHES:
            compiled(networks.measurements(batch).to(device))
    costs: dict[str, dict[str, Any]] = {"compiled": {"seconds_to_make": compiled.seconds, "graphs": compiled.graphs}}
    if device.type == "cuda":
        calls["captured"] = deploy(network, "captured")
        return calls, costs
    for name, form in formats.items():
        begin = time.perf_counter()
        try:
            done = export(network, folder / f"{name}{form.suffix}", networks.measurements(4), format=name)
        except (ImportError, RuntimeError) as error:
            costs[name] = {"failed": str(error)}
            continue
        costs[name] = {
            "seconds_to_make": time.perf_counter() - begin,
            "bytes": done.bytes,
            "relative_error": done.max_relative_error,
        }
        calls[name] = _runtime(name, done.path)
    return calls, costs


def _runtime(name: str, path: Path) -> Callable[[Tensor], Tensor]:
    """The runtime alone, as a caller without this library has it."""
    if name == "torch":
        module = torch.export.load(path).module()
        return lambda y: module(data=y)
    if name == "aoti":
        package = torch._inductor.aoti_load_package(str(path))
        return lambda y: package(data=y)
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, chosen, providers=["CPUExecutionProvider"])
    return lambda y: torch.from_numpy(session.run(None, {"data": y.numpy()})[0])


def measure(seconds: float, device: torch.device) -> list[dict[str, object]]:
    """One row per network, batch size and way; ``ratio`` is its time over that of the compiled network."""
    rows: list[dict[str, object]] = []
    for title, made in (("LISTA-CP", networks.lista_cp()), ("LISTA", networks.lista())):
        network = made.to(device)
        # What compiles says so in many words on the standard output of its own processes.
        with (
            tempfile.TemporaryDirectory() as folder,
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stderr(nowhere),
        ):
            calls, costs = ways(network, device, Path(folder))
            for batch in BATCHES:
                y = networks.measurements(batch).to(device)
                with torch.inference_mode():
                    wanted = network(y)
                    errors = {
                        name: float((call(y) - wanted).abs().max() / wanted.abs().max()) for name, call in calls.items()
                    }
                    bound = {name: lambda c=call, given=y: c(given) for name, call in calls.items()}
                    times = alternate(bound, seconds=seconds * len(calls), wait=waiter(device))
                for name in WAYS:
                    row: dict[str, object] = {"network": title, "batch": batch, "way": name, **costs.get(name, {})}
                    if name in calls:
                        row |= {
                            "milliseconds": 1e3 * statistics.median(times[name]),
                            **compared(times, name, "compiled"),
                            "error": errors[name],
                        }
                        row |= {"equal": errors[name] <= EQUAL}
                        if name == "onnx" and batch == 1000:
                            row |= {"bar": BAR, "better": "low"}
                    elif name not in costs:
                        continue
                    rows.append(row)
    return rows


def line(row: Mapping[str, Any]) -> str:
    head = f"{row['network']:9s} batch {row['batch']:5d} {row['way']:10s}"
    if "ratio" not in row:
        return f"{head} not measured: {row['failed']}"
    made = f", made in {row['seconds_to_make']:.1f} s" if "seconds_to_make" in row else ""
    return (
        f"{head} {row['milliseconds']:8.3f} ms, {row['ratio']:.3f} of compiled [{row['low']:.3f}, "
        f"{row['high']:.3f}], error {row['error']:.1e}{made}"
    )


def main() -> None:
    given = options(__doc__, seconds=1.0).parse_args()
    publish("export_formats", given, measure(given.seconds, start(given)), line)


if __name__ == "__main__":
    main()
