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
from unrolling.evaluation.records import Interval, Seconds
from unrolling.evaluation.significance import resampling_weights
from unrolling.tasks.base import Metric, Samples, first


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
    timed: Callable[[Any], Tensor] | None = None  # what to time instead of `run`
    scale: float = 1.0  # how much longer `run` takes than `timed`
    estimates: list[Tensor] | None = None  # on the test set, when they are known already
    network: nn.Module | None = None  # whose learned numbers are counted and stored
    training_seconds: float | None = None
    error: str = ""  # why it could not be measured; its row says so and the rest stands


def interval(metric: Metric, pieces: Tensor, seed: int = 0) -> Interval:
    """The metric with a 95 % percentile interval: units are resampled with replacement within their group (Efron and
    Tibshirani 1993, chapter 13).
    """
    generator = torch.Generator().manual_seed(seed)
    own = pieces.detach().double().cpu()
    groups = [own[own[:, 2] == group, :2] for group in own[:, 2].unique()]
    sums = torch.stack([resampling_weights(len(group), generator) @ group for group in groups], dim=1)
    low, high = torch.quantile(metric.of_sums(sums), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(metric.value(pieces), low, high)


@torch.no_grad()
def time_all(
    contenders: Sequence[Contender], batch: Samples, *, rounds: int = 9, budget: float = 10.0
) -> list[Seconds]:
    """Median seconds per sample of each method, in a batch and alone, all methods in turn in every round.

    Args:
        contenders: the methods.
        batch: whose samples are used; the first one alone.
        rounds: how often each is timed at most.
        budget: seconds after which no further round starts; every method is timed at least once after a warm-up.
    """
    single = first(batch, 1).data
    data = [first(batch, c.limit).data if c.limit else batch.data for c in contenders]
    sizes = [min(c.limit, len(batch.target)) if c.limit else len(batch.target) for c in contenders]
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in contenders]
    calls = [c.timed or c.run for c in contenders]
    for call in calls:
        call(single)
    begin = time.perf_counter()
    for _ in range(rounds):
        for call, many, size, (batched, alone) in zip(calls, data, sizes, times, strict=True):
            batched.append(_clock(call, many) / size)
            # A short run is repeated, so that the clock's grain and one hiccup do not show.
            repeats = max(1, min(20, int(0.02 / max(alone[-1] if alone else 1.0, 1e-6))))
            alone.append(statistics.median(_clock(call, single) for _ in range(repeats)))
        if time.perf_counter() - begin > budget:
            break
    return [
        Seconds(
            c.scale * statistics.median(batched),
            size,
            c.scale * statistics.median(alone),
            _quartiles([c.scale * t for t in batched]),
            _quartiles([c.scale * t for t in alone]),
        )
        for c, (batched, alone), size in zip(contenders, times, sizes, strict=True)
    ]


def _quartiles(times: list[float]) -> tuple[float, float] | None:
    """None of too few."""
    if len(times) < 4:
        return None
    low, _, high = statistics.quantiles(times, n=4)
    return low, high


def _clock(run: Callable[[Any], Tensor], data: Any) -> float:
    cuda = any(t.is_cuda for t in tree.tensors(data))
    begin = time.perf_counter()
    run(data)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def environment(seed: int, device: str = "cpu") -> dict[str, Any]:
    """Versions, processor and threads, without anything that names a machine or a person."""
    import unrolling

    return {
        "unrolling": unrolling.__version__,
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
