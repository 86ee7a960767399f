"""Time for -55 dB of noiseless sparse recovery, m = 250, n = 500, p = 0.1: shipped networks, FISTA with continuation,
the lasso and the orthogonal matching pursuit of SPAMS where it is installed.

Each side stops as early as it may: a network after the first layer that reaches the level, FISTA after the first such
iteration with the weight and rate that are fastest on validation data, the lasso of SPAMS with the largest of its
weights and its pursuit with the largest of its residuals that reach it on validation data. All sides take turns.
Bars: in a batch at least 4 times faster than FISTA and 5 times than the lasso of SPAMS, alone 1.5 times than that; at
least 8 times fewer iterations than FISTA. The pursuit is the stronger rival, and has no bar.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.recovery import PATHS, decibels, path
from benchmarks.timing import alternate
from unrolling import Unrolled, deploy, solve
from unrolling.algorithms import FISTA, GramISTA
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples
from unrolling.tasks.sparse.baselines import FIRST_WEIGHT
from unrolling.tasks.sparse.recovery import Recovery

NETWORKS = ("sparse_coding/alista", "sparse_coding/hyperlista", "sparse_coding/lvamp", "sparse_coding/lamp")
WEIGHTS = (3e-3, 2e-3, 1.5e-3, 1e-3, 7e-4, 5e-4, 3e-4, 1e-4)  # of the lasso
RESIDUALS = (1e-3, 1e-4, 1e-5, 1e-6)  # squared norms at which the pursuit ends
Encode = Callable[[Tensor], Tensor]


def first(values: list[float], level: float) -> int | None:
    return next((k for k, value in enumerate(values, 1) if value <= level), None)


def network(name: str, batch: Samples, level: float) -> tuple[int, Encode] | None:
    """As few of its layers as reach the level."""
    whole = find(name).pretrained("recovery")
    layers = first(path(whole, [batch], len(whole)), level)
    if layers is None:
        return None
    part = Unrolled(whole.parent, list(whole.layers)[:layers], whole.tied, whole.untied, whole.gradient)
    return layers, deploy(part, "plain")


def fista(task: Recovery, level: float) -> tuple[int, Encode] | None:
    y, x = task.validation[0]
    some, tried = Samples(y[:300], x[:300]), {}
    for weight, rate in PATHS:
        iteration = FISTA(GramISTA(task.dictionary, weight), continuation=(FIRST_WEIGHT / weight, rate))
        if (count := first(path(iteration, [some], 300), level)) is not None:
            tried[count] = iteration
    if not tried:
        return None
    chosen = tried[min(tried)]
    count = first(path(chosen, [task.test[0]], 400), level)
    return (
        None
        if count is None
        else (count, lambda data: solve(chosen, data, tolerance=0.0, max_iterations=count).estimate)
    )


def spams(task: Recovery, level: float, method: str, settings: Sequence[float]) -> tuple[float, Encode] | None:
    """The first of the settings that reaches the level on validation data: homotopy (LARS), which is exact, or
    orthogonal matching pursuit.
    """
    package, numpy = importlib.import_module("spams"), importlib.import_module("numpy")
    dictionary = numpy.asfortranarray(task.dictionary.numpy())
    y, x = task.validation[0]
    for setting in settings:

        def encode(data: Tensor, setting: float = setting) -> Tensor:
            own = (
                {"lambda1": setting, "mode": 2}
                if method == "lasso"
                else {"L": task.dictionary.shape[0] // 2, "eps": setting}
            )
            options = {**own, "numThreads": torch.get_num_threads()}
            rows = numpy.asfortranarray(data.numpy().T)
            return torch.from_numpy(getattr(package, method)(rows, D=dictionary, **options).toarray().T)

        error = encode(y).double() - x
        if decibels(error.square().sum(), x.double().square().sum()) <= level:
            return setting, encode
    return None


def measure(level: float, seconds: float) -> list[dict[str, Any]]:
    task = Recovery()
    batch = task.test[0]
    sides: dict[str, tuple[float, Encode]] = {}
    rows: list[dict[str, Any]] = []
    makers: dict[str, Callable[[], tuple[float, Encode] | None]] = {
        name: lambda name=name: network(name, batch, level) for name in NETWORKS
    }
    makers |= {
        "FISTA with continuation": lambda: fista(task, level),
        "SPAMS lasso": lambda: spams(task, level, "lasso", WEIGHTS),
        "SPAMS OMP": lambda: spams(task, level, "omp", RESIDUALS),
    }
    for name, make in makers.items():
        try:
            found = make()
        except ImportError as error:
            rows.append({"method": name, "failed": f"not measured: {error}"})
            continue
        if found is None:
            rows.append({"method": name, "failed": f"does not reach {level:g} dB"})
        else:
            sides[name] = found
    with torch.inference_mode():
        reached = {
            name: decibels((run(batch.data) - batch.target).square().sum(), batch.target.square().sum())
            for name, (_, run) in sides.items()
        }
        for kind, data in (("batch", batch.data), ("alone", batch.data[:1])):
            times = alternate(
                {name: lambda run=run, data=data: run(data) for name, (_, run) in sides.items()},
                seconds=seconds,
                least=5,
            )
            for name, (effort, _) in sides.items():
                per = statistics.median(times[name]) / data.shape[0]
                over = {
                    other: statistics.median(a / b for a, b in zip(times[other], times[name], strict=True))
                    for other in ("FISTA with continuation", "SPAMS lasso", "SPAMS OMP")
                    if other in sides
                }
                rows.append(
                    {
                        "method": name,
                        "effort": effort,
                        "kind": kind,
                        "size": data.shape[0],
                        "milliseconds": 1e3 * per,
                        "nmse": reached[name],
                        "faster than": over,
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", type=float, default=-55.0, help="NMSE in dB")
    parser.add_argument("--seconds", type=float, default=20.0, help="for all sides, in a batch and again alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(options.level, options.seconds)
    if options.json:
        print(
            json.dumps(
                {
                    "benchmark": "recovery_time",
                    "threads": options.threads,
                    "level": options.level,
                    "torch": torch.__version__,
                    "rows": rows,
                },
                indent=1,
            )
        )
        return
    for row in rows:
        if "failed" in row:
            print(f"{row['method']:26s} {row['failed']}")
            continue
        over = ", ".join(
            f"{ratio:.1f} times faster than {name}"
            for name, ratio in row["faster than"].items()
            if name != row["method"]
        )
        head = f"{row['method']:26s} {row['effort']:6g} (layers, iterations, weight), {row['kind']} of {row['size']}"
        print(f"{head}: {row['milliseconds']:.4f} ms a signal, {row['nmse']:.1f} dB; {over}")


if __name__ == "__main__":
    main()
