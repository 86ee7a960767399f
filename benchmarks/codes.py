"""How many iterations the classical methods need for the error of a network of 1, 3 and 7 layers, on test patches
(Gregor and LeCun 2010).

Bar: FISTA at least 5 times as many at 1 and 3 layers. Uses the shipped weights, whose cards record the
commands that made them, or training runs of your own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import torch

from unrolling.algorithms import FISTA, GramISTA
from unrolling.evaluation.classical import trace
from unrolling.systems.catalogue import find
from unrolling.tasks.base import evaluate
from unrolling.training.weights import load_weights, read_weights

RATIOS, RATES = (2.0, 4.0, 8.0), (0.7, 0.8, 0.85, 0.9, 0.95)


def measure(atoms: int, depth: int, whiten: int, data: str | None, path: Path | None = None) -> dict[str, object]:
    """One row of the table."""
    system = find("sparse_coding/lista")
    _, recipe = system.recipe("codes")
    path = path or system.shipped("codes", depth, {"atoms": atoms, "whiten": whiten})
    _, fixed, _ = read_weights(path)
    task = system.task("codes", data=data, fixed=fixed, atoms=atoms, whiten=whiten)
    network = system.network(recipe, task, depth)
    load_weights(network, path)
    goal = task.metric.value(evaluate(network, task, task.test))
    validation_goal = task.metric.value(evaluate(network, task, task.validation))

    def ista() -> GramISTA:
        return GramISTA(task.dictionary, task.alpha)

    def needed(iteration, batches, level) -> int | None:
        return trace(iteration, task, batches, 2000, lambda value: value <= level).first(lambda value: value <= level)

    grid = [(ratio, rate) for ratio in RATIOS for rate in RATES]
    best = min(grid, key=lambda c: needed(FISTA(ista(), continuation=c), task.validation, validation_goal) or 10**6)
    counts = {
        "ISTA": needed(ista(), task.test, goal),
        "FISTA": needed(FISTA(ista()), task.test, goal),
        "FISTA with continuation": needed(FISTA(ista(), continuation=best), task.test, goal),
    }
    lipschitz = float(torch.linalg.matrix_norm(task.dictionary, 2)) ** 2
    before = task.metric.value(evaluate(system.network(recipe, task, depth), task, task.test))
    return {
        "atoms": atoms,
        "whiten": whiten,
        "depth": depth,
        "lipschitz": lipschitz,
        "nmse": goal,
        "nmse_ista": before,
        "iterations": counts,
        "fista_ratio": (counts["FISTA"] or float("nan")) / depth,
        "continuation": best,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, nargs="*", default=[400, 100])
    parser.add_argument("--depth", type=int, nargs="*", default=[1, 3, 7])
    parser.add_argument("--whiten", type=int, nargs="*", default=[1, 0])
    parser.add_argument("--data", help="folder of test photographs instead of the packages'")
    parser.add_argument(
        "--runs", type=Path, help="folder with training runs codes-ATOMS-DEPTH, instead of the shipped weights"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for whiten, atoms, depth in itertools.product(options.whiten, options.atoms, options.depth):
        path = (
            options.runs and options.runs / f"codes-{atoms}{'' if whiten else '-plain'}-{depth}" / "weights.safetensors"
        )
        shipped = find("sparse_coding/lista").weights_path("codes", depth, {"atoms": atoms, "whiten": whiten})
        if not (path or shipped).is_file():
            print(f"n={atoms} whiten={whiten} layers={depth}: no weights", file=sys.stderr)
            continue
        rows.append(measure(atoms, depth, whiten, options.data, path))
        row = rows[-1]
        if not options.json:
            print(
                f"n={atoms} whiten={whiten} L={row['lipschitz']:.1f} layers={depth}: {row['nmse']:.2f} dB (ISTA, as "
                f"many: {row['nmse_ista']:.2f}); iterations {row['iterations']}; FISTA needs {row['fista_ratio']:.1f} "
                "times as many"
            )
    if options.json:
        print(
            json.dumps(
                {"benchmark": "codes", "threads": options.threads, "torch": torch.__version__, "rows": rows}, indent=1
            )
        )


if __name__ == "__main__":
    main()
