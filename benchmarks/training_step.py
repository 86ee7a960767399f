"""What a training step of ``fit`` costs over a bare loop with the same optimizer, batches and network: LISTA-CPSS and LISTA, 16 layers, m = 250, n = 500.

Both sides train alternately in pieces of some steps. Bar: at most 1.05.
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
from unrolling.systems.sparse_coding.family import analytic_parent
from unrolling.tasks.recovery import Recovery
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


def ours(network: Unrolled, task: Recovery, steps: int) -> float:
    """Seconds of the loop of ``fit``; the log, the health of gradients and a look at the validation set included."""
    stage = Stage(steps, rate=RATE, batch=BATCH, annealing=Constant())
    return fit(network, task, [stage], validations=1, quiet=True).seconds


def measure(steps: int, rounds: int) -> list[dict[str, object]]:
    task = Recovery()
    networks = {
        "LISTA-CPSS, untied": unroll(analytic_parent(task), DEPTH, untied=("encoder", "threshold")),
        "LISTA, tied": unroll(GramISTA(task.dictionary, 0.1), DEPTH, tied=("encoder", "inhibition"), untied="threshold"),
    }
    rows: list[dict[str, object]] = []
    for name, network in networks.items():
        bare(network, task, 3), ours(network, task, 3)
        ratios, times = [], []
        for turn in range(rounds):
            order = (ours, bare) if turn % 2 else (bare, ours)
            found = {side.__name__: side(network, task, steps) for side in order}  # pyright: ignore[reportArgumentType]
            ratios.append(found["ours"] / found["bare"])
            times.append(found["ours"] / steps)
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append({"network": name, "ratio": middle, "low": low, "high": high, "seconds": statistics.median(times), "steps": steps, "rounds": rounds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help="of a piece")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(options.steps, options.rounds)
    if options.json:
        print(json.dumps({"benchmark": "training_step", "threads": options.threads, "torch": torch.__version__, "rows": rows}, indent=1))
        return
    for row in rows:
        print(f"{row['network']:20s} ratio {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]  {row['seconds'] * 1e3:.2f} ms a step")


if __name__ == "__main__":
    main()
