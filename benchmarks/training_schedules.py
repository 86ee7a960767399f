"""Untied LISTA-CPSS with 16 layers (2.0 M weights, m = 250, n = 500) trained for 60, 300 and 1200 CPU-seconds by
several schedules, from A^T / L and from analytic weights: NMSE on 1,000 unseen signals, noiseless, several seeds.

Bar: the system's own schedule reaches -55 dB within 300 s. A schedule is scaled to the steps that its budget affords on
this machine; the published protocol, whose stages end when they gain nothing, is stopped at its budgets instead.
``--resume DIR`` keeps finished rows, so that the same command goes on.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unrolling import Unrolled, unroll
from unrolling.algorithms.sparse.coupled import CoupledISTA
from unrolling.systems.catalogue import find
from unrolling.systems.sparse_coding._common import analytic_parent
from unrolling.tasks.base import evaluate
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.fit import fit
from unrolling.training.losses import LogNMSE
from unrolling.training.schedules import SCHEMES
from unrolling.training.stages import Schedule, Stage, scaled

DEPTH = 16


def published_parent(task: Recovery) -> CoupledISTA:
    """W = A^T / L, theta = 0.4 / L, as the authors' code starts."""
    return CoupledISTA(task.dictionary, 0.4, selection=(1.2, 13.0))


WAYS: dict[str, tuple[Callable[[Recovery], CoupledISTA], Callable[[int], Schedule]]] = {
    "published protocol, from A^T / L": (
        published_parent,
        lambda steps: SCHEMES["lista_cpss"].make(DEPTH, Stage(steps, rate=5e-4, batch=64)),
    ),
    "published protocol, from analytic weights": (
        analytic_parent,
        lambda steps: SCHEMES["lista_cpss"].make(DEPTH, Stage(steps, rate=5e-4, batch=64)),
    ),
    "end to end on the squared error, from analytic weights": (
        analytic_parent,
        lambda steps: SCHEMES["end_to_end"].make(DEPTH, Stage(steps, rate=4e-4, rates={"threshold": 5e-3}, clip=1.0)),
    ),
    "end to end on the logarithm, from analytic weights": (
        analytic_parent,
        lambda steps: SCHEMES["end_to_end"].make(
            DEPTH, Stage(steps, rate=1e-4, rates={"threshold": 5e-3}, loss=LogNMSE())
        ),
    ),
    "the system's own": (
        analytic_parent,
        lambda steps: scaled(find("sparse_coding/lista_cpss").recipes["recovery"].schedule(DEPTH), steps),
    ),
}


def nmse(network: Unrolled, task: Recovery) -> float:
    return task.metric.value(evaluate(network, task, task.test))


def untied(make: Callable[[int], Schedule]) -> tuple[str, ...]:
    """W and theta of each layer; gamma too where the schedule trains it."""
    named = {name for stage in make(200) for name in stage.parameters or ()}
    return ("encoder", "step_size", "threshold") if "step_size" in named else ("encoder", "threshold")


def seconds_per_step(parent: CoupledISTA, make: Callable[[int], Schedule], task: Recovery) -> float:
    """CPU-seconds of a step on average over a whole schedule, from a short one."""
    network = unroll(parent, DEPTH, untied=untied(make))
    begin = time.process_time()
    fit(network, task, make(200), validations=0, quiet=True)
    return (time.process_time() - begin) / 200


def measure(name: str, budget: float, seed: int) -> dict[str, object]:
    """One training."""
    parent_of, make = WAYS[name]
    task = Recovery(seed=seed)
    parent = parent_of(task)
    steps = max(DEPTH * 3, int(budget / seconds_per_step(parent, make, task)))
    network = unroll(parent, DEPTH, untied=untied(make))
    before = nmse(network, task)
    begin = time.process_time()
    history = fit(network, task, make(steps), seed=seed, validations=0, quiet=True)
    used = time.process_time() - begin
    layers = [task.metric.value(task.pieces(state.x, task.test[0])) for state in _states(network, task)]
    found = {"steps": history.steps, "cpu_seconds": used, "before": before, "nmse": layers[-1], "layers": layers}
    return {"schedule": name, "budget": budget, "seed": seed, **found}


@torch.no_grad()
def _states(network: Unrolled, task: Recovery) -> list[Any]:
    return list(network.trajectory(task.test[0].data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", type=float, nargs="*", default=[60, 300, 1200])
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=[0, 1, 2], help="each of a dictionary, its signals and the batches"
    )
    parser.add_argument("--only", nargs="*", help="schedules whose name contains one of these")
    parser.add_argument("--resume", type=Path, help="folder that keeps finished rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for name in WAYS:
        if options.only and not any(part in name for part in options.only):
            continue
        for budget in options.budgets:
            for seed in options.seeds:
                kept = (
                    options.resume
                    and options.resume / f"{name.replace(' ', '_').replace('/', '')}-{budget:g}-{seed}.json"
                )
                if kept and kept.is_file():
                    row: dict[str, Any] = json.loads(kept.read_text())
                else:
                    row = copy.copy(measure(name, budget, seed))
                    if kept:
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_text(json.dumps(row))
                rows.append(row)
                if not options.json:
                    used = f"{budget:5.0f} s (used {row['cpu_seconds']:.0f})"
                    print(f"{name:55s} {used} seed {seed}: {row['nmse']:.1f} dB after {row['steps']} steps", flush=True)
    if options.json:
        print(
            json.dumps(
                {
                    "benchmark": "training_schedules",
                    "threads": options.threads,
                    "torch": torch.__version__,
                    "rows": rows,
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
