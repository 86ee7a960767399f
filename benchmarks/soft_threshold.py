"""The soft threshold written four ways, (1000, 500) with a threshold per unit: time of each over ours, forward and
forward with backward.
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import Tensor

from benchmarks.timing import ratio
from unrolling import soft_threshold

WAYS = {
    "sign * relu": lambda z, t: torch.sign(z) * torch.relu(z.abs() - t),
    "z - clamp, differentiated automatically": lambda z, t: z - torch.clamp(z, -t, t),
    "z - minimum of maximum": lambda z, t: z - torch.minimum(torch.maximum(z, -t), t),
    "relu - relu": lambda z, t: torch.relu(z - t) - torch.relu(-z - t),
}


def measure(seconds: float) -> list[dict[str, object]]:
    """One row per way and pass; ratios above one mean that ours is faster."""
    z = torch.randn(1000, 500, requires_grad=True)
    t = torch.full((500,), 0.5, requires_grad=True)
    upstream = torch.randn(1000, 500)

    def training(way) -> Tensor:
        z.grad = t.grad = None
        out = way(z, t)
        out.backward(upstream)
        return out

    rows: list[dict[str, object]] = []
    for name, way in WAYS.items():
        torch.testing.assert_close(way(z, t), soft_threshold(z, t))
        with torch.no_grad():
            rows.append(
                {
                    "way": name,
                    "pass": "forward",
                    **ratio(lambda w=way: w(z, t), lambda: soft_threshold(z, t), seconds=seconds),
                }
            )
        rows.append(
            {
                "way": name,
                "pass": "training",
                **ratio(lambda w=way: training(w), lambda: training(soft_threshold), seconds=seconds),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="per row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(options.seconds)
    if options.json:
        print(
            json.dumps(
                {"benchmark": "soft_threshold", "threads": options.threads, "torch": torch.__version__, "rows": rows},
                indent=1,
            )
        )
        return
    for row in rows:
        print(f"{row['way']:42s} {row['pass']:9s} {row['ratio']:.2f} times ours [{row['low']:.2f}, {row['high']:.2f}]")


if __name__ == "__main__":
    main()
