"""Quality with intervals, and times that can be compared."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.evaluation.budget import Part
from unrolling.evaluation.records import Interval, Seconds, Spread
from unrolling.evaluation.significance import bounds, few, resampled_values
from unrolling.tasks.base import Metric, Samples, count, first

LONG = 3.0  # seconds of a run, beside which what a first one has to prepare is little


@dataclass
class Contender:
    """A method that takes part: a function from data to estimates."""

    name: str
    role: str
    run: Callable[[Any], Tensor]
    iterations: int | None = None
    parameters: int | None = None
    note: str = ""
    limit: int | None = None  # largest number of samples of a batch it is given, for methods that take them one by one
    # Of a long run: what is done once, data -> x; a part of the rest, a function of x; how many such parts there are.
    prepare: Callable[[Any], Any] | None = None
    part: Callable[[Any], Any] | None = None
    scale: float = 1.0
    estimates: list[Tensor] | None = None  # on the test set, when they are known already
    network: nn.Module | None = None  # whose learned numbers are counted and stored
    training_seconds: float | None = None
    scored: Part | None = None  # of the test set, what its score is taken of; None for all
    linear: bool = False  # a linear estimate, or the data themselves
    error: str = ""  # why it could not be measured; its row says so and the rest stands


def scored_batches(contender: Contender, test: Sequence[Samples]) -> list[Samples]:
    """The samples of the test set that a method is given."""
    batches = list(test) if contender.scored is None else contender.scored.batches
    return batches if contender.limit is None else [first(batch, contender.limit) for batch in batches]


def interval(metric: Metric, pieces: Tensor, seed: int = 0) -> Interval:
    """The metric with a 95 % percentile interval: its units (pictures, utterances, frames) are resampled with
    replacement (Efron and Tibshirani 1993, chapter 13). The interval says so where they are few.
    """
    own = pieces.detach().double().cpu()
    return Interval(metric.value(own), *bounds([resampled_values(metric, own, seed)]), few(metric, len(own)))


def spread(metric: Metric, pieces: Tensor, limit: float | None = None) -> Spread | None:
    """The metric of each unit by itself: its median, what 99 % are better than, the worst, and how many are worse than
    a limit. NaN is the worst value. None where units have no values of their own, as under an area under a curve.

    Args:
        metric: of the pieces.
        pieces: (units, width).
        limit: in the metric's unit.
    """
    own = metric.singles(pieces)
    if bool(own.isnan().all()):
        return None
    ranks = (own.cpu() if metric.better == "lower" else -own.cpu()).nan_to_num(
        float("inf"), float("inf"), -float("inf")
    )
    ranks = ranks.sort().values
    sign = 1 if metric.better == "lower" else -1
    middle, late = (sign * float(ranks[min(len(ranks) - 1, int(part * len(ranks)))]) for part in (0.5, 0.99))
    failures = None if limit is None else int((ranks > sign * limit).sum())
    return Spread(metric.value(pieces), middle, late, sign * float(ranks[-1]), len(ranks), limit, failures)


@torch.no_grad()
def time_all(
    contenders: Sequence[Contender], batch: Samples, *, rounds: int = 9, budget: float = 10.0
) -> list[Seconds]:
    """Median seconds per sample of each method, in a batch and alone, all methods in turn in every round.

    Args:
        contenders: the methods.
        batch: whose samples are used; the first one alone.
        rounds: how often each is timed at most.
        budget: seconds after which no further round starts; every method is timed at least once after a warm-up, which
            counts where it took more than three seconds: such a method runs once, and alone.
    """
    single = first(batch, 1).data
    data = [first(batch, c.limit).data if c.limit else batch.data for c in contenders]
    whole = count(batch)
    sizes = [min(c.limit, whole) if c.limit else whole for c in contenders]
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in contenders]
    warm = [_seconds(contender, single) for contender in contenders]
    for number, once in enumerate(warm):
        if once > LONG:
            sizes[number] = 1
            times[number][0].append(once)
            times[number][1].append(once)
    begin = time.perf_counter()
    for _ in range(rounds):
        for once, contender, many, size, (batched, alone) in zip(warm, contenders, data, sizes, times, strict=True):
            if once > LONG:
                continue
            batched.append(_seconds(contender, many) / size)
            # A short run is repeated, so that the clock's grain and one hiccup do not show.
            repeats = max(1, min(20, int(0.02 / max(alone[-1] if alone else 1.0, 1e-6))))
            alone.append(statistics.median(_seconds(contender, single) for _ in range(repeats)))
        if time.perf_counter() - begin > budget:
            break
    return [
        Seconds(
            statistics.median(batched),
            size,
            statistics.median(alone),
            _quartiles(batched),
            _quartiles(alone),
        )
        for (batched, alone), size in zip(times, sizes, strict=True)
    ]


def _quartiles(times: list[float]) -> tuple[float, float] | None:
    """None of too few."""
    if len(times) < 4:
        return None
    low, _, high = statistics.quantiles(times, n=4)
    return low, high


def _seconds(contender: Contender, data: Any) -> float:
    """Of one run; of a long one what is done once, and a part of the rest times the number of parts."""
    if contender.prepare is None or contender.part is None:
        return _clock(contender.run, data)[0]
    once, begun = _clock(contender.prepare, data)
    return once + contender.scale * _clock(contender.part, begun)[0]


def _clock(run: Callable[[Any], Any], data: Any) -> tuple[float, Any]:
    cuda = any(t.is_cuda for t in tree.tensors(data))
    begin = time.perf_counter()
    found = run(data)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin, found


def environment(seed: int, device: str = "cpu") -> dict[str, Any]:
    """Versions, processor and threads, without anything that names a machine or a person."""
    from unrolling._version import __version__

    return {
        "unrolling": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "seed": seed,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
