"""Blood and tissue from simulated contrast ultrasound: CORONA beside robust principal component analysis by FISTA with
weights and a number of iterations of its own choice, by ISTA, ADMM and projections in turn, the filter of singular
values, and the published residual network. FISTA also with |S|_1, which is sparse in entries and not in rows, in the
place of the survey's |S|_{1,2}.

Parts: ``quality`` (test movies: the mean squared error of the blood, with the interval of a bootstrap over movies),
``time`` (one movie, processor time: the networks deployed and as they are called, FISTA at the number of iterations
from which on its error falls by less than 1 %, by ``solve`` and as a bare loop over its steps), ``shifts`` (noise,
fainter bubbles, more motion).

Bars: an error at least 3 dB below that of FISTA; 20 times faster than it; no worse than the residual network, with a
tenth of its numbers.

All settings are chosen on the task's validation movies. --weights names a folder of weights files to use before the
shipped ones. --runs names a folder for the residual network, which is trained there where it is not yet, with the
settings of CORONA and for 3,500 steps, which take as long as 3,000 of CORONA; without it that row is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import record
from benchmarks.image_methods import network
from benchmarks.timing import alternate
from unrolling.algorithms import FISTA, AlternatingProjections, RobustPCA, RobustPCAADMM
from unrolling.core import Iteration, deploy, solve
from unrolling.evaluation.classical import steps_of
from unrolling.networks import ComplexVolumeResNet
from unrolling.prox import soft_threshold
from unrolling.systems.catalogue import catalogue
from unrolling.tasks.base import Samples
from unrolling.tasks.medical.clutter import Clutter, svd_filter
from unrolling.training import Cosine, Stage
from unrolling.training.fit import fit
from unrolling.training.weights import read_weights

Run = Callable[[Tensor], Tensor]
Row = dict[str, Any]
LOW = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # lambda1
ROWS, ENTRIES = (0.09, 0.1, 0.11, 0.12, 0.14), (0.02, 0.025, 0.03, 0.035)  # lambda2 over it, |S|_{1,2} and |S|_1
MOST = 100  # iterations of FISTA
PROJECTIONS = [(rank, kept) for rank in (1, 2, 3) for kept in (0.1, 0.2, 0.3, 0.5)]
LEAST = 7  # rounds of timing
SLACK = 1.01  # of the least error, from which on FISTA no longer improves


@torch.no_grad()
def errors(iteration: Iteration, batches: list[Samples], most: int) -> np.ndarray:
    """The mean squared error of the blood after each iteration."""
    total, numbers = np.zeros(most), 0
    for batch in batches:
        problem = iteration.prepare(batch.data)
        state = iteration.start(problem)
        for step in range(most):
            state = iteration(state, problem)
            total[step] += float((iteration.estimate(state, problem) - batch.target).abs().square().sum())
        numbers += batch.target.numel()
    return total / numbers


def stopped(iteration: Iteration, count: int) -> Run:
    """So many iterations."""
    return lambda data: solve(iteration, data, tolerance=0.0, max_iterations=count).estimate


def best_of(make: Callable[[Any], Iteration], settings: list[Any], task: Clutter) -> tuple[Any, int, int]:
    """The setting and the iteration of least error on validation movies, and from which one on it is within 1 %."""
    found = []
    for setting in settings:
        curve = errors(make(setting), task.validation, MOST)
        found.append((float(curve.min()), setting, curve))
    _, setting, curve = min(found, key=lambda each: each[0])
    return setting, int(curve.argmin()) + 1, int((curve <= SLACK * curve.min()).argmax()) + 1


def by_entries(low: float, sparse: float) -> RobustPCA:
    """With |S|_1."""
    return RobustPCA(low, sparse, sparse_prox=soft_threshold)


@cache
def classical() -> tuple[dict[str, Run], dict[str, Run]]:
    """Tuned methods by name with their settings; and FISTA where it stops improving."""
    task = Clutter()
    methods: dict[str, Run] = {}
    timed: dict[str, Run] = {}
    chosen = None
    for title, make, ratios in (("FISTA", RobustPCA, ROWS), ("FISTA with |S|_1", by_entries, ENTRIES)):
        grid = [(low, round(low * ratio, 3)) for low in LOW for ratio in ratios]
        weights, best, enough = best_of(lambda w, make=make: FISTA(make(*w)), grid, task)
        chosen = chosen or weights
        fista, words = FISTA(make(*weights)), f"{title}, lambda {weights[0]:g}, {weights[1]:g}"
        methods[f"{words}, {best} iterations"] = stopped(fista, best)
        timed[f"{words}, {enough} iterations by solve"] = stopped(fista, enough)
        timed[f"{words}, {enough} iterations in a bare loop"] = steps_of(
            fista, enough
        )  # nothing else, no look at convergence
    assert chosen is not None
    words = f"lambda {chosen[0]:g}, {chosen[1]:g}"
    for name, make in (("ISTA", lambda w: RobustPCA(*w)), ("ADMM", lambda w: RobustPCAADMM(*w))):
        _, count, _ = best_of(make, [chosen], task)
        methods[f"{name}, {words}, {count} iterations"] = stopped(make(chosen), count)
    (rank, kept), count, _ = best_of(lambda s: AlternatingProjections(*s), PROJECTIONS, task)
    name = f"projections in turn, rank {rank}, {kept:.0%} of the pixels, {count} iterations"
    methods[name] = stopped(AlternatingProjections(rank, kept), count)
    ranks = range(1, 8)
    scores = [
        sum(float((svd_filter(b.data, r) - b.target).abs().square().sum()) for b in task.validation) for r in ranks
    ]
    rank = ranks[int(np.argmin(scores))]
    methods[f"filter of {rank} singular values"] = lambda data: svd_filter(data, rank)
    return methods, timed


def residual_network(task: Clutter, folder: Path | None, steps: int) -> dict[str, Run]:
    """The published residual network, trained in the folder as CORONA is, or as far as it is there."""
    if folder is None:
        return {}
    torch.manual_seed(0)
    net = ComplexVolumeResNet()
    schedule = [Stage(steps, rate=3e-3, batch=4, repeat=2, annealing=Cosine(0.02, 1e-2), clip=1.0)]
    fit(net, task, schedule, folder, quiet=True, validations=10)
    return {"residual network": net.eval()}


def networks(options: argparse.Namespace) -> dict[str, nn.Module]:
    """Those that there are weights for, of every depth; with as many layers as the recipe has they go by the name."""
    found: dict[str, nn.Module] = {}
    for name, system in catalogue().items():
        if "clutter" not in system.recipes:
            continue
        usual = system.recipes["clutter"].depth
        files = [*system.weights_files("clutter"), *_own_files(options.weights, name)]
        shipped = {int(read_weights(path)[2]["depth"]) for path in files}
        for depth in sorted(options.depth or shipped | {usual}, reverse=True):
            made = network(name, "clutter", options.weights, depth=depth)
            if made is not None:
                found[name if depth == usual else f"{name}, {depth} layers"] = made
    return found


def _own_files(folder: Path | None, name: str) -> list[Path]:
    return [] if folder is None else sorted(folder.glob(f"{name.rsplit('/', 1)[-1]}-clutter-*.safetensors"))


def measured(task: Clutter, run: Run, batches: list[Samples]) -> Row:
    """The mean squared error over movies with its interval, and the task's own metrics."""
    with torch.no_grad():
        estimates = [run(batch.data) for batch in batches]
    each = torch.cat(
        [(e - b.target).abs().square().mean((1, 2, 3)) for e, b in zip(estimates, batches, strict=True)]
    ).numpy()
    drawn = np.random.default_rng(0).choice(each, (2000, len(each))).mean(1)
    pieces = torch.cat([task.pieces(e, b) for e, b in zip(estimates, batches, strict=True)])
    return {
        "movies": len(each),
        "mse": float(each.mean()),
        "low": float(np.quantile(drawn, 0.025)),
        "high": float(np.quantile(drawn, 0.975)),
        "nmse": task.metric.value(pieces),
        "left": task.more(estimates, batches)["tissue left (dB)"],
    }


def numbers(run: Run) -> int:
    """How many are learned."""
    return sum(p.numel() for p in run.parameters() if p.requires_grad) if isinstance(run, nn.Module) else 0


def of_quality(options: argparse.Namespace) -> list[Row]:
    """The task's test movies."""
    task = Clutter()
    methods = {
        **networks(options),
        **residual_network(task, options.runs, options.steps),
        **classical()[0],
    }
    return [
        {
            "part": "quality",
            "set": "test movies",
            "method": name,
            "numbers": numbers(run),
            **measured(task, run, task.test),
        }
        for name, run in methods.items()
    ]


def of_time(options: argparse.Namespace) -> list[Row]:
    """One movie; each method over the quickest network."""
    nets = networks(options)
    methods: dict[str, Run] = {
        **{f"{name}, deployed": deploy(net, "plain") for name, net in nets.items()},
        **nets,
        **residual_network(Clutter(), options.runs, options.steps),
        **classical()[1],
    }
    data = Clutter().timing.data[:1]
    with torch.no_grad():
        times = alternate(
            {name: partial(run, data) for name, run in methods.items()},
            seconds=options.seconds,
            least=LEAST,
            warm=True,
            clock=time.process_time,
        )
    least = min(float(np.median(each)) for name, each in times.items() if name.endswith(", deployed"))
    rows = []
    for name, each in times.items():
        median = float(np.median(each))
        rows.append({"part": "time", "set": "one movie", "method": name, "seconds": median, "ratio": median / least})
    return rows


def of_shifts(options: argparse.Namespace) -> list[Row]:
    """Movies of another kind."""
    task = Clutter()
    methods = {**networks(options), **classical()[0]}
    return [
        {"part": "shifts", "set": f"{shift.name} {value:g}", "method": name, **measured(task, run, [shift.make(value)])}
        for shift in task.shifts()
        for value in shift.values
        for name, run in methods.items()
    ]


PARTS = {"quality": of_quality, "time": of_time, "shifts": of_shifts}


def line(row: Mapping[str, Any]) -> str:
    """For people."""
    head = f"{row['set']:32} {row['method']:64}"
    if row["part"] == "time":
        return f"{head} {1e3 * row['seconds']:9.2f} ms {row['ratio']:7.2f} times the quickest network"
    return (
        f"{head} MSE {row['mse']:.4f} ({row['low']:.4f} to {row['high']:.4f}), NMSE {row['nmse']:6.2f} dB, tissue left "
        f"{row['left']:6.1f} dB, {row.get('numbers', 0)} numbers"
    )


def main() -> None:
    parser = record.options(__doc__, seconds=2.0, threads=1)
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--weights", type=Path)
    parser.add_argument(
        "--depth", type=int, action="append", help="layers; several may be named, all that ship by default"
    )
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--steps", type=int, default=3500, help="of the residual network")
    options = parser.parse_args()
    record.start(options)
    rows: list[Row] = []
    for part in options.part or PARTS:
        rows += PARTS[part](options)
    record.publish("clutter", options, rows, line)


if __name__ == "__main__":
    main()
