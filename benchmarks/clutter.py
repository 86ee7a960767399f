"""Blood and tissue from simulated contrast ultrasound: CORONA beside robust principal component analysis by FISTA with
weights and a number of iterations of its own choice, by ISTA, ADMM and projections in turn, the filter of singular
values, and the published residual network.

Parts: ``quality`` (test movies: the mean squared error of the blood, with the interval of a bootstrap over movies),
``time`` (one movie: the network as it is called, and FISTA at the number of iterations from which on its error falls by
less than 1 %), ``shifts`` (noise, fainter bubbles, more motion).

Bars: an error at least 3 dB below that of FISTA; 20 times faster than it; no worse than the residual network, with a
tenth of its numbers.

All settings are chosen on the task's validation movies. --weights names a folder of weights files to use before the
shipped ones. --runs names a folder for the residual network, which is trained there for --minutes of this machine's
processor where it is not yet; without it that row is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import record
from benchmarks.image_methods import network
from benchmarks.timing import alternate
from unrolling.algorithms import FISTA, AlternatingProjections, RobustPCA, RobustPCAADMM
from unrolling.core import Iteration, solve
from unrolling.networks import ComplexVolumeResNet
from unrolling.systems.catalogue import catalogue
from unrolling.tasks.base import Samples
from unrolling.tasks.medical.clutter import Clutter, svd_filter
from unrolling.training import Cosine, Stage, fit

Run = Callable[[Tensor], Tensor]
Row = dict[str, Any]
LOW, SPARSE = (2.0, 4.0, 6.0, 8.0, 12.0, 16.0), (0.5, 0.75, 1.0, 1.25, 1.5)
MOST = 60  # iterations of FISTA
PROJECTIONS = [(rank, kept) for rank in (1, 2, 3) for kept in (0.1, 0.2, 0.3, 0.5)]
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


def classical(task: Clutter) -> tuple[dict[str, Run], dict[str, Run]]:
    """Tuned methods by name with their settings; and FISTA where it stops improving."""
    grid = [(low, sparse) for low in LOW for sparse in SPARSE]
    weights, best, enough = best_of(lambda w: FISTA(RobustPCA(*w)), grid, task)
    fista = FISTA(RobustPCA(*weights))
    words = f"lambda {weights[0]:g}, {weights[1]:g}"
    methods: dict[str, Run] = {f"FISTA, {words}, {best} iterations": stopped(fista, best)}
    near = [weights]
    for name, make in (("ISTA", lambda w: RobustPCA(*w)), ("ADMM", lambda w: RobustPCAADMM(*w))):
        _, count, _ = best_of(make, near, task)
        methods[f"{name}, {words}, {count} iterations"] = stopped(make(weights), count)
    (rank, kept), count, _ = best_of(lambda s: AlternatingProjections(*s), PROJECTIONS, task)
    name = f"projections in turn, rank {rank}, {kept:.0%} of the pixels, {count} iterations"
    methods[name] = stopped(AlternatingProjections(rank, kept), count)
    ranks = range(1, 8)
    scores = [
        sum(float((svd_filter(b.data, r) - b.target).abs().square().sum()) for b in task.validation) for r in ranks
    ]
    rank = ranks[int(np.argmin(scores))]
    methods[f"filter of {rank} singular values"] = lambda data: svd_filter(data, rank)
    return methods, {f"FISTA, {words}, {enough} iterations": stopped(fista, enough)}


def residual_network(task: Clutter, folder: Path | None, minutes: float) -> dict[str, Run]:
    """The published residual network, trained for some minutes of the processor."""
    if folder is None:
        return {}
    path = folder / "residual.pt"
    net = ComplexVolumeResNet()
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.process_time()
        fit(net, task, [Stage(10, rate=3e-3, batch=4)], quiet=True, validations=1)  # to see what a step takes
        steps = max(50, round(60 * minutes / ((time.process_time() - begin) / 10)))
        torch.manual_seed(0)
        net = ComplexVolumeResNet()
        schedule = [Stage(steps, rate=3e-3, batch=4, repeat=2, annealing=Cosine(0.02, 1e-2), clip=1.0)]
        fit(net, task, schedule, folder / "residual", quiet=True, validations=5, choose="best")
        torch.save(net.state_dict(), path)
        print(f"residual network: {steps} steps", flush=True)
    net.load_state_dict(torch.load(path, weights_only=True))
    return {"residual network": net.eval()}


def networks(weights: Path | None) -> dict[str, nn.Module]:
    """Those that there are weights for."""
    names = [name for name, system in catalogue().items() if "clutter" in system.recipes]
    found = {name: network(name, "clutter", weights) for name in names}
    return {name: made for name, made in found.items() if made is not None}


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
        **networks(options.weights),
        **residual_network(task, options.runs, options.minutes),
        **classical(task)[0],
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
    """One movie; each method over the first network."""
    task = Clutter()
    nets = networks(options.weights)
    methods = {**nets, **residual_network(task, options.runs, options.minutes), **classical(task)[1]}
    data = task.timing.data[:1]
    with torch.no_grad():
        times = alternate(
            {name: lambda run=run: run(data) for name, run in methods.items()}, seconds=options.seconds, least=3
        )
    ours = next(iter(nets), "")
    rows = []
    for name in methods:
        median = float(np.median(times[name]))
        ratio = median / float(np.median(times[ours])) if ours else float("nan")
        rows.append({"part": "time", "set": "one movie", "method": name, "seconds": median, "ratio": ratio})
    return rows


def of_shifts(options: argparse.Namespace) -> list[Row]:
    """Movies of another kind."""
    task = Clutter()
    methods = {**networks(options.weights), **classical(task)[0]}
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
        return f"{head} {1e3 * row['seconds']:9.2f} ms {row['ratio']:7.2f} times the first"
    return (
        f"{head} MSE {row['mse']:.4f} ({row['low']:.4f} to {row['high']:.4f}), NMSE {row['nmse']:6.2f} dB, tissue left "
        f"{row['left']:6.1f} dB, {row.get('numbers', 0)} numbers"
    )


def main() -> None:
    parser = record.options(__doc__, seconds=2.0, threads=1)
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    options = parser.parse_args()
    record.start(options)
    rows: list[Row] = []
    for part in options.part or PARTS:
        rows += PARTS[part](options)
    record.publish("clutter", options, rows, line)


if __name__ == "__main__":
    main()
