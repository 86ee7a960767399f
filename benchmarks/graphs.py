"""Message passing on graphs: what training through a few sweeps gains over fitting the likelihood.

    python -m benchmarks.graphs                       # all of it
    python -m benchmarks.graphs --part training       # marginal loss, wrong labels on noisy binary pictures, 3 seeds
    python -m benchmarks.graphs --part time           # microseconds for a graph and sweep, by size and batch
    python -m benchmarks.graphs --data FOLDER         # .npz graphs of your own: values, edges, labels

Part ``training``: the same potentials, linear in the same features, learned four ways and then used with the same five
sweeps of belief propagation: through the five sweeps with the marginal loss; by the likelihood, whose gradient long
runs of belief propagation give (30 sweeps, damped); by the pseudo-likelihood; not at all (the coupling chosen on
validation graphs). Also the likelihood's potentials with 50 sweeps, which is what they were made for, and graph
convolutions of no fewer numbers. Seeds draw graphs and batches.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks import record
from unrolling import Stage, fit, unroll
from unrolling.algorithms.graphs.belief_propagation import BeliefPropagation
from unrolling.algorithms.graphs.mean_field import MeanField
from unrolling.networks.graph_convolutions import GraphConvolutions, width_of
from unrolling.tasks.base import estimates_of, pieces_of
from unrolling.tasks.graphs.labelling import Labelling
from unrolling.tasks.graphs.likelihoods import LongRun, PseudoLikelihood
from unrolling.training.stages import Cosine

SWEEPS, COUPLING = 5, 0.75


def row(name: str, seed: int, run: Any, task: Labelling, numbers: int, began: float) -> dict[str, Any]:
    """Scores of a method on test graphs."""
    found = estimates_of(run, task.test)
    loss = task.metric.value(pieces_of(task, task.test, found))
    wrong = task.more(found, task.test)["wrong labels, share"]
    seconds = time.process_time() - began
    made = {"name": name, "seed": seed, "loss": loss, "wrong": wrong, "numbers": numbers, "cpu_seconds": seconds}
    print(line(made), file=sys.stderr, flush=True)  # the whole takes minutes
    return made


def training(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The four ways, seed by seed."""
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        task = Labelling(seed=seed, data=given.data)
        ways = {
            "through 5 sweeps, marginal loss": (None, ("damping", "edge_weight"), BeliefPropagation),
            "through 5 sweeps, potentials alone": (None, (), BeliefPropagation),
            "through 5 sweeps of mean field": (None, ("damping",), MeanField),
            "likelihood, long runs": (LongRun(30), (), BeliefPropagation),
            "pseudo-likelihood": (PseudoLikelihood(), (), BeliefPropagation),
        }
        for name, (loss, untied, kind) in ways.items():
            began = time.process_time()
            net = unroll(kind(task.potentials(COUPLING)), SWEEPS, tied=("prepare",), untied=untied)
            fit(net, task, [stage(given.steps, loss)], seed=seed, validations=0, quiet=True)
            count = sum(tensor.numel() for _, tensor in net.named_learned())
            rows.append(row(f"{name}; 5 sweeps", seed, net.eval(), task, count, began))
            if isinstance(loss, LongRun):
                trained: Any = net.layers[0].prepare
                long = unroll(BeliefPropagation(trained, damping=0.3), 50, tied=("prepare",)).eval()
                rows.append(row(f"{name}; 50 sweeps", seed, long, task, count, began))
        best = min((validated(task, c), c) for c in (0.5, 0.75, 1.0, 1.25, 1.5))[1]
        began = time.process_time()
        net = unroll(BeliefPropagation(task.potentials(best)), SWEEPS, tied=("prepare",)).eval()
        rows.append(row("coupling chosen; 5 sweeps", seed, net, task, 1, began))
        began = time.process_time()
        generic = GraphConvolutions(2, 2, width_of(24, 5), 5, seed=seed)
        fit(generic, task, [stage(given.steps, None, 1e-2)], seed=seed, validations=0, quiet=True)
        count = sum(tensor.numel() for tensor in generic.parameters())
        rows.append(row("graph convolutions, 5 layers", seed, generic.eval(), task, count, began))
    return rows


def stage(steps: int, loss: Any, rate: float = 3e-2) -> Stage:
    """What all of them are trained by."""
    return Stage(steps, rate=rate, batch=16, annealing=Cosine(0.05, 1e-2), clip=1.0, loss=loss)


def validated(task: Labelling, coupling: float) -> float:
    """The marginal loss of five sweeps on validation graphs."""
    net = unroll(BeliefPropagation(task.potentials(coupling)), SWEEPS, tied=("prepare",))
    return task.metric.value(pieces_of(task, task.validation, estimates_of(net, task.validation)))


def timed(given: argparse.Namespace) -> list[dict[str, Any]]:
    """CPU microseconds for a sweep of a graph."""
    rows = []
    for nodes, batch in ((256, 1), (256, 32), (240, 32)):
        task = Labelling(held_out=3)
        data = next(s for s in (task.test) if s.target.shape[1] == nodes).data
        generator = torch.Generator().manual_seed(0)
        while data.nodes.shape[0] != batch:
            drawn = task.draw(batch, generator)
            if drawn.target.shape[1] == nodes:
                data = drawn.data
        for kind in (BeliefPropagation, MeanField):
            net = unroll(kind(task.potentials()), 20, tied=("prepare",))
            with torch.no_grad():
                net(data)
                began, runs = time.process_time(), 0
                while time.process_time() - began < given.seconds:
                    net(data)
                    runs += 1
            each = 1e6 * (time.process_time() - began) / (runs * 20 * batch)
            rows.append({"name": f"{kind.__name__}, {nodes} nodes, batch {batch}", "microseconds": each})
    return rows


def line(row: Mapping[str, Any]) -> str:
    if "microseconds" in row:
        return f"{row['name']:45} {row['microseconds']:8.1f} us for a graph and sweep"
    return (
        f"seed {row['seed']}  {row['name']:45} {row['loss']:.4f} nats per node, {100 * row['wrong']:5.2f} % wrong, "
        f"{row['numbers']:4} numbers, {row['cpu_seconds']:.0f} CPU-s"
    )


def main() -> None:
    parser = record.options(__doc__, seconds=1.0, threads=1)
    parser.add_argument("--part", choices=("all", "training", "time"), default="all")
    parser.add_argument("--steps", type=int, default=200, help="of training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default=None, help="a folder of .npz graphs with values, edges and labels")
    given = parser.parse_args()
    record.start(given)
    rows = training(given) if given.part in ("all", "training") else []
    rows += timed(given) if given.part in ("all", "time") else []
    record.publish("graphs", given, rows, line)


if __name__ == "__main__":
    main()
