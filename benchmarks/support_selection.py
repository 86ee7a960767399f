"""One layer of LISTA-CPSS (R: m = 250, n = 500) with support selection over the layer with the soft threshold, and the
shrinkage alone.

Survivors are the entries of a row, in the mean, that exceed the threshold; of them ``count`` pass unshrunk.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import ratio
from unrolling import soft_threshold
from unrolling.prox import support
from unrolling.prox.support import support_select

Shrink = Callable[[Tensor, Tensor, int], Tensor]
CASES = [(50, 6), (100, 30), (250, 65)]  # survivors, count


def topk(z: Tensor, threshold: Tensor, count: int) -> Tensor:
    """Written with torch.topk in the plain way; of equal magnitudes any may pass."""
    size = z.abs()
    passed = torch.zeros_like(z, dtype=torch.bool).scatter_(-1, size.topk(count, sorted=False).indices, True) & (
        size > threshold
    )
    return torch.where(passed, z, z - torch.clamp(z, -threshold, threshold))


def fallback(z: Tensor, threshold: Tensor, count: int) -> Tensor:
    """What support_select does without a compiler."""
    return support._plain(z, threshold, count, traced=False)


WAYS: dict[str, Shrink] = {"ours": support_select, "fallback": fallback, "topk": topk}


@torch.inference_mode()
def measure(batch: int, threads: int, seconds: float) -> list[dict[str, Any]]:
    """One row per case and way: `layer` is the ratio of the whole layers, `ms` and `soft_ms` the time of the shrinkages
    alone.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    dictionary = torch.nn.functional.normalize(torch.randn(250, 500), dim=0)
    weight = dictionary / torch.linalg.matrix_norm(dictionary, 2) ** 2
    x = torch.randn(batch, 500) * (torch.rand(batch, 500) < 0.1)
    y = torch.randn(batch, 500) @ dictionary.T

    def layer(shrink: Callable[[Tensor], Tensor]) -> Tensor:
        residual = torch.addmm(y, x, dictionary.T, alpha=-1)
        return shrink(torch.addmm(x, residual, weight))

    z = layer(lambda z: z)
    rows: list[dict[str, Any]] = []
    for survivors, count in CASES:
        threshold = z.abs().flatten().kthvalue(z.numel() - batch * survivors).values
        for name, way in WAYS.items():
            if not torch.equal(way(z, threshold, count), topk(z, threshold, count)):
                raise RuntimeError(f"{name} differs from topk")

            def select(z: Tensor, way: Shrink = way, t: Tensor = threshold, k: int = count) -> Tensor:
                return way(z, t, k)

            def soft(z: Tensor, t: Tensor = threshold) -> Tensor:
                return soft_threshold(z, t)

            whole = ratio(lambda select=select: layer(select), lambda soft=soft: layer(soft), seconds=seconds)
            alone = ratio(lambda select=select: select(z), lambda soft=soft: soft(z), seconds=seconds / 2)
            rows.append(
                {"threads": threads, "batch": batch, "survivors": survivors, "count": count, "way": name}
                | {
                    "layer": whole["ratio"],
                    "low": whole["low"],
                    "high": whole["high"],
                    "ms": 1e3 * alone["ours"],
                    "soft_ms": 1e3 * alone["bare"],
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="for each layer; half of it for each shrinkage alone"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[1000, 1])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kernel = bool(support._kernels())
    rows = [
        row
        for threads in options.threads
        for batch in options.batch
        for row in measure(batch, threads, options.seconds)
    ]
    if options.json:
        print(
            json.dumps(
                {"benchmark": "support_selection", "kernel": kernel, "torch": torch.__version__, "rows": rows}, indent=1
            )
        )
        return
    print(f"kernel: {'compiled' if kernel else 'none, ours is the fallback'}")
    print("threads  batch  survivors  count  way       layer / layer without         alone ms  soft threshold ms")
    for row in rows:
        print(
            f"{row['threads']:7d} {row['batch']:6d} {row['survivors']:10d} {row['count']:6d}  {row['way']:9s}"
            f" {row['layer']:6.2f} [{row['low']:.2f}, {row['high']:.2f}] {row['ms']:21.4f} {row['soft_ms']:18.4f}"
        )


if __name__ == "__main__":
    main()
