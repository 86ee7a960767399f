"""What a training step of ``fit`` costs over a bare loop with the same optimizer, batches and network: LISTA-CPSS and
LISTA, 16 layers, m = 250, n = 500.

The sides train in turn, in pieces of 300 steps. Bar: at most 1.05 for the step; a look at the validation set is no part
of it and stated apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import nn

from unrolling import Unrolled, unroll
from unrolling.algorithms import GramISTA
from unrolling.systems.sparse_coding._common import analytic_parent
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.batches import generator
from unrolling.training.fit import fit
from unrolling.training.stages import Constant, Stage

DEPTH, BATCH, RATE = 16, 128, 1e-5


def bare(network: nn.Module, task: Recovery, steps: int) -> float:
    """Seconds of a loop as a researcher would write it."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=RATE)
    begin = time.perf_counter()
    for step in range(steps):
        batch = task.draw(BATCH, generator(0, step))
        optimizer.zero_grad()
        loss = task.loss(network(batch.data), batch.target)
        loss.backward()
        optimizer.step()
    return time.perf_counter() - begin


def fitted(network: Unrolled, task: Recovery, steps: int, validations: int = 0) -> float:
    """Seconds of the loop of ``fit``, the log and the health of gradients included."""
    stage = Stage(steps, rate=RATE, batch=BATCH, annealing=Constant())
    return fit(network, task, [stage], validations=validations, quiet=True).seconds


def validated(network: Unrolled, task: Recovery, steps: int) -> float:
    """The same with one look at the validation set, as in a run of 6,000 steps every 300 by default."""
    return fitted(network, task, steps, validations=1)


SIDES = {"bare": bare, "fit": fitted, "fit with validation": validated}


def measure(steps: int, rounds: int) -> list[dict[str, object]]:
    task = Recovery()
    networks = {
        "LISTA-CPSS, untied": unroll(analytic_parent(task), DEPTH, untied=("encoder", "threshold")),
        "LISTA, tied": unroll(
            GramISTA(task.dictionary, 0.1), DEPTH, tied=("encoder", "inhibition"), untied="threshold"
        ),
    }
    rows: list[dict[str, object]] = []
    for name, network in networks.items():
        for side in SIDES.values():
            side(network, task, 3)
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(rounds):
            for side in list(SIDES)[:: -1 if turn % 2 else 1]:
                times[side].append(SIDES[side](network, task, steps))
        for side in list(SIDES)[1:]:
            low, middle, high = statistics.quantiles(
                [a / b for a, b in zip(times[side], times["bare"], strict=True)], n=4
            )
            found = {"ratio": middle, "low": low, "high": high, "seconds": statistics.median(times[side]) / steps}
            rows.append({"network": name, "side": side, **found, "steps": steps, "rounds": rounds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="of a piece")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(options.steps, options.rounds)
    if options.json:
        print(
            json.dumps(
                {"benchmark": "training_step", "threads": options.threads, "torch": torch.__version__, "rows": rows},
                indent=1,
            )
        )
        return
    for row in rows:
        print(
            f"{row['network']:20s} {row['side']:20s} ratio {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}] "
            f" {row['seconds'] * 1e3:.2f} ms a step"
        )


if __name__ == "__main__":
    main()
