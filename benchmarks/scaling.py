"""How time grows with the batch, the depth and the number of coefficients, forward and training step, and what one
sample at a time takes: LISTA-CP.

Sizes are moved one at a time around 16 layers, m = 250, n = 500, batch 100; ``exponent`` is log2 of the time's growth
from the size before, per doubling: 1 is linear, and n (with m = n / 2) should tend to 2. Latencies are percentiles over
single samples, in milliseconds, of the network as it is, deployed plain and compiled. With ``--device cuda`` also
captured, and in bfloat16 (autocast).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks import networks
from benchmarks.record import options, publish, start, waiter
from benchmarks.timing import alternate
from unrolling import Unrolled, deploy

BATCHES, DEPTHS, WIDTHS = (1, 10, 100, 1000), (4, 8, 16, 32), (125, 250, 500, 1000)
BATCH = 100
PERCENTILES = (50, 90, 99)


def training(network: Unrolled, y: Tensor) -> Callable[[], None]:
    """A step of Adam."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        network(y).square().mean().backward()
        optimizer.step()

    return step


def series(
    what: str,
    sizes: Sequence[int],
    make: Callable[[int], tuple[Unrolled, Tensor]],
    seconds: float,
    device: torch.device,
) -> list[dict[str, object]]:
    """Forward and training step over one size; all sizes are timed in turn."""
    forwards: dict[str, Callable[[], object]] = {}
    steps: dict[str, Callable[[], object]] = {}
    for size in sizes:
        network, y = make(size)
        network, y = network.to(device), y.to(device)
        fast = deploy(network, "plain")
        forwards[str(size)] = lambda f=fast, y=y: f(y)
        steps[str(size)] = training(network, y)
    rows: list[dict[str, object]] = []
    for kind, calls in (("forward", forwards), ("training step", steps)):
        times = alternate(calls, seconds=seconds, least=5, wait=waiter(device))
        before: tuple[int, float] | None = None
        for size in sizes:
            median = statistics.median(times[str(size)])
            row: dict[str, object] = {"what": f"{kind} against {what}", "size": size, "milliseconds": 1e3 * median}
            if before is not None:
                row["exponent"] = math.log(median / before[1]) / math.log(size / before[0])
            rows.append(row)
            before = size, median
    return rows


def latencies(seconds: float, device: torch.device) -> list[dict[str, object]]:
    """Percentiles of single samples, ways in turn."""
    network, y = networks.lista_cp().to(device), networks.measurements(1).to(device)
    calls: dict[str, Callable[[Tensor], object]] = {
        "eager": network,
        "plain": deploy(network, "plain"),
        "compiled": deploy(network, "compiled"),
    }
    if device.type == "cuda":
        calls["captured"] = deploy(network, "captured")
    with torch.inference_mode():
        times = alternate(
            {name: lambda c=call: c(y) for name, call in calls.items()}, seconds=seconds, least=200, wait=waiter(device)
        )
    rows: list[dict[str, object]] = []
    for name, own in times.items():
        cuts = statistics.quantiles(own, n=100)
        rows.append(
            {
                "what": "latency of one sample",
                "way": name,
                "calls": len(own),
                **{f"p{p}": 1e3 * cuts[p - 1] for p in PERCENTILES},
            }
        )
    return rows


def half(seconds: float, device: torch.device) -> list[dict[str, object]]:
    """bfloat16 products beside float32 ones, at a batch of 1000."""
    network, y = networks.lista_cp().to(device), networks.measurements(1000).to(device)

    def narrow() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return network(y)

    with torch.inference_mode():
        times = alternate({"float32": lambda: network(y), "bfloat16": narrow}, seconds=seconds, wait=waiter(device))
    ratio = statistics.median(times["bfloat16"]) / statistics.median(times["float32"])
    return [
        {
            "what": "forward in bfloat16, autocast, batch 1000",
            "ratio": ratio,
            "milliseconds": 1e3 * statistics.median(times["bfloat16"]),
        }
    ]


def measure(seconds: float, device: torch.device) -> list[dict[str, object]]:
    """All of it."""
    begin = time.perf_counter()
    rows = series("batch", BATCHES, lambda size: (networks.lista_cp(), networks.measurements(size)), seconds, device)
    rows += series(
        "depth", DEPTHS, lambda size: (networks.lista_cp(size), networks.measurements(BATCH)), seconds, device
    )
    rows += series(
        "n",
        WIDTHS,
        lambda size: (networks.lista_cp(networks.DEPTH, size // 2, size), networks.measurements(BATCH, size // 2)),
        seconds,
        device,
    )
    rows += latencies(seconds, device) + half(seconds, device)
    return [*rows, {"what": "this benchmark", "seconds": time.perf_counter() - begin}]


def line(row: Mapping[str, Any]) -> str:
    numbers = ", ".join(
        f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
        for key, value in row.items()
        if key != "what"
    )
    return f"{row['what']:32s} {numbers}"


def main() -> None:
    given = options(__doc__, seconds=5.0).parse_args()
    publish("scaling", given, measure(given.seconds, start(given)), line)


if __name__ == "__main__":
    main()
