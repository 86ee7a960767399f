"""LISTA-CP (16 layers, m = 250, n = 500) beside what the machine can do at most.

Batch 1000: the rate of its matrix products, 2 m n batch operations each and 1 + 2 (depth - 1) of them, over the best
rate of plain products, either of large square matrices or of the same shapes, whichever is faster. Bar: at least 0.85.

Batch 1: its time over that of reading every weight once, from whatever cache or memory holds them after the run before.
Reading is the faster of a sum and of one product with a vector, over one tensor of as many bytes. Bar: at most 1.3.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks import networks
from benchmarks.record import options, publish, start, waiter
from benchmarks.timing import alternate
from unrolling import Unrolled, deploy

M, N, DEPTH = networks.M, networks.N, networks.DEPTH
SQUARES, PEAK_BAR, READING_BAR = (1024, 2048), 0.85, 1.3


def ways(network: Unrolled) -> dict[str, Callable[[Tensor], Tensor]]:
    """How the network is run."""
    found: dict[str, Callable[[Tensor], Tensor]] = {
        "plain": deploy(network, "plain"),
        "compiled": deploy(network, "compiled"),
        "eager": network,
    }
    return found | ({"captured": deploy(network, "captured")} if next(network.parameters()).is_cuda else {})


def products(batch: int, device: torch.device) -> dict[str, tuple[Callable[[], object], float]]:
    """Plain products with the operations of each, written into memory that is there."""
    found: dict[str, tuple[Callable[[], object], float]] = {}
    for rows, inner, columns in [(size,) * 3 for size in SQUARES] + [(batch, N, M), (batch, M, N)]:
        a, b = torch.randn(rows, inner, device=device), torch.randn(columns, inner, device=device)
        out = torch.empty(rows, columns, device=device)
        found[f"({rows} x {inner}) ({inner} x {columns})"] = (
            lambda a=a, b=b, out=out: torch.mm(a, b.T, out=out),
            2.0 * rows * inner * columns,
        )
    return found


def peak(seconds: float, network: Unrolled, device: torch.device) -> list[dict[str, object]]:
    """Batch 1000: a row per way to run the network."""
    batch = 1000
    work = 2.0 * M * N * batch * (1 + 2 * (DEPTH - 1))
    y, plain, calls = networks.measurements(batch).to(device), products(batch, device), ways(network)
    bound = {name: lambda c=call: c(y) for name, call in calls.items()}
    times = alternate(bound | {name: call for name, (call, _) in plain.items()}, seconds=seconds, wait=waiter(device))
    rates = {name: operations / statistics.median(times[name]) for name, (_, operations) in plain.items()}
    best = max(rates, key=lambda name: rates[name])
    rows = []
    for name in calls:
        # Round by round, so that both sides meet the same mood of the machine.
        fractions = sorted(
            work / own * other / plain[best][1] for own, other in zip(times[name], times[best], strict=True)
        )
        low, middle, high = statistics.quantiles(fractions, n=4)
        row: dict[str, object] = {
            "batch": batch,
            "way": name,
            "ratio": middle,
            "low": low,
            "high": high,
            "gigaflops": work / statistics.median(times[name]) / 1e9,
        }
        row |= {"limit": f"{rates[best] / 1e9:.0f} Gflop/s, of a product {best}"}
        rows.append(row | ({"bar": PEAK_BAR, "better": "high"} if name == "plain" else {}))
    return rows


def reading(seconds: float, network: Unrolled, device: torch.device) -> list[dict[str, object]]:
    """Batch 1: a row per way to run the network."""
    y, calls = networks.measurements(1).to(device), ways(network)
    held = {t.data_ptr(): t for t in [*network.parameters(), *network.buffers()] if t.numel() > 1}
    numbers = sum(t.numel() for t in held.values())
    all_weights = torch.randn(numbers, device=device)
    matrix, vector = all_weights[: numbers // N * N].view(-1, N), torch.randn(N, device=device)
    sink, scalar = torch.empty(matrix.shape[0], device=device), torch.empty((), device=device)
    limits: dict[str, Callable[[], object]] = {
        "a sum": lambda: torch.sum(all_weights, dim=0, out=scalar),
        "a product with a vector": lambda: torch.mv(matrix, vector, out=sink),
    }
    bound = {name: lambda c=call: c(y) for name, call in calls.items()}
    times = alternate(bound | limits, seconds=seconds, least=200, wait=waiter(device), warm=True)
    best = min(limits, key=lambda name: statistics.median(times[name]))
    limit = statistics.median(times[best])
    rows = []
    for name in calls:
        low, middle, high = statistics.quantiles([a / b for a, b in zip(times[name], times[best], strict=True)], n=4)
        row: dict[str, object] = {
            "batch": 1,
            "way": name,
            "ratio": middle,
            "low": low,
            "high": high,
            "milliseconds": 1e3 * statistics.median(times[name]),
        }
        row |= {
            "limit": f"{limit * 1e3:.3f} ms for {4 * numbers / 2**20:.1f} MiB, {4 * numbers / limit / 1e9:.1f} "
            f"GB/s, by {best}"
        }
        rows.append(row | ({"bar": READING_BAR, "better": "low"} if name == "plain" else {}))
    return rows


@torch.inference_mode()
def measure(seconds: float, device: torch.device) -> list[dict[str, object]]:
    """Both batch sizes."""
    network = networks.lista_cp().to(device)
    return peak(seconds, network, device) + reading(seconds, network, device)


def line(row: Mapping[str, Any]) -> str:
    what = "of the peak" if row["batch"] > 1 else "times reading the weights"
    return (
        f"batch {row['batch']:5d} {row['way']:10s} {row['ratio']:.3f} {what} [{row['low']:.3f}, "
        f"{row['high']:.3f}], limit {row['limit']}"
    )


def main() -> None:
    given = options(__doc__, seconds=10.0).parse_args()
    publish("roofline", given, measure(given.seconds, start(given)), line)


if __name__ == "__main__":
    main()
