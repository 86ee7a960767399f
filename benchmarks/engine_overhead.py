"""What the engine costs over a hand-written loop: the library's own ISTA, 16 layers, step and threshold of their own in
each, beside a bare loop of the same mathematics on plain tensors, one thread.

The bare loop is what one writes without a library:

    z = x + (step * (y - x @ A.T)) @ A
    x = z - torch.clamp(z, -threshold, threshold)

with steps and thresholds as numbers without a constraint, so that it works out no exponentials, in Python lists, so
that it looks nothing up. ``same calls`` is that loop with the calls that the library makes in its place (products fused
with their sums, ``soft_threshold``), which leaves the engine and the constraints alone. Passes are the forward pass
without and with gradients recorded, and a step of training (forward, backward, Adam on both sides).

Bars, on the forward pass without gradients over the bare loop: at most 1.15 at batch 1 and 1.03 at batch 1000.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import record
from benchmarks.timing import alternate, compared
from unrolling import soft_threshold, unroll
from unrolling.algorithms import ISTA
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary

DEPTH, WEIGHT = 16, 0.1
SIZES = ((64, 128), (250, 500), (1000, 4000))
BARS = {1: 1.15, 1000: 1.03}
RATE = 1e-5  # so small that all sides go on computing the same

Pass = Callable[[Tensor], Tensor]


class Bare:
    """Steps and thresholds in lists, and the loop over them.

    Args:
        dictionary: A (m, n).
        step: of all layers at first.
        same_calls: make the library's calls.
    """

    def __init__(self, dictionary: Tensor, step: Tensor, same_calls: bool) -> None:
        self.dictionary = dictionary
        self.steps = [nn.Parameter(step.clone()) for _ in range(DEPTH)]
        self.thresholds = [nn.Parameter(WEIGHT * step) for _ in range(DEPTH)]
        self.call: Pass = self.same_calls if same_calls else self.plain

    def parameters(self) -> list[nn.Parameter]:
        return self.steps + self.thresholds

    def plain(self, y: Tensor) -> Tensor:
        dictionary = self.dictionary
        x = y.new_zeros(y.shape[0], dictionary.shape[1])
        for step, threshold in zip(self.steps, self.thresholds, strict=True):
            z = x + (step * (y - x @ dictionary.T)) @ dictionary
            x = z - torch.clamp(z, -threshold, threshold)
        return x

    def same_calls(self, y: Tensor) -> Tensor:
        dictionary = self.dictionary
        x = y.new_zeros(y.shape[0], dictionary.shape[1])
        for step, threshold in zip(self.steps, self.thresholds, strict=True):
            residual = torch.addmm(y, x, dictionary.T, alpha=-1)
            x = soft_threshold(torch.addmm(x, step * residual, dictionary), threshold)
        return x


def without_gradients(run: Pass, parameters: list[nn.Parameter], y: Tensor, x: Tensor) -> Callable[[], object]:
    return partial(torch.no_grad()(run), y)


def with_gradients(run: Pass, parameters: list[nn.Parameter], y: Tensor, x: Tensor) -> Callable[[], object]:
    return partial(run, y)


def training_step(run: Pass, parameters: list[nn.Parameter], y: Tensor, x: Tensor) -> Callable[[], object]:
    optimizer = torch.optim.Adam(parameters, lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        (run(y) - x).square().mean().backward()
        optimizer.step()

    return step


PASSES = {"forward": without_gradients, "forward, recorded": with_gradients, "training step": training_step}


def measure(
    seconds: float, sizes: tuple[tuple[int, int], ...] = SIZES, least: int = 5, batches: Sequence[int] = tuple(BARS)
) -> list[dict[str, Any]]:
    """One row for each size, batch and pass."""
    rows: list[dict[str, Any]] = []
    for m, n in sizes:
        dictionary = gaussian_dictionary(m, n, 0)
        for batch in batches:
            bar = BARS[batch]
            y, x = torch.randn(batch, m), torch.randn(batch, n)
            for name, make in PASSES.items():
                network = unroll(ISTA(dictionary, WEIGHT), DEPTH, untied=("step_size", "threshold"))
                step = network.parent.step_size.detach()
                bare, same = Bare(dictionary, step, same_calls=False), Bare(dictionary, step, same_calls=True)
                sides = {
                    "ours": (network, [p for p in network.parameters() if p.requires_grad]),
                    "bare": (bare.call, bare.parameters()),
                    "same calls": (same.call, same.parameters()),
                }
                for run, _ in sides.values():
                    torch.testing.assert_close(run(y), network(y), rtol=1e-3, atol=1e-4)
                calls = {side: make(run, parameters, y, x) for side, (run, parameters) in sides.items()}
                times = alternate(calls, seconds=seconds, least=least)
                rows.append(
                    {
                        "size": f"{m} x {n}",
                        "batch": batch,
                        "pass": name,
                        **compared(times, "ours", "bare"),
                        "over same calls": compared(times, "ours", "same calls")["ratio"],
                        **{side: statistics.median(times[side]) for side in sides},
                        "rounds": len(times["ours"]),
                        "bar": bar if name == "forward" else None,
                    }
                )
    return rows


def line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['size']:>11s} batch {row['batch']:5d} {row['pass']:17s} ratio {row['ratio']:.3f} "
        f"[{row['low']:.3f}, {row['high']:.3f}]  {row['ours'] * 1e3:9.3f} ms / {row['bare'] * 1e3:9.3f} ms; "
        f"over the same calls {row['over same calls']:.3f}"
    )


def main() -> None:
    parser = record.options(__doc__, seconds=6.0, threads=1)
    parser.add_argument("--size", type=int, nargs=2, action="append", metavar=("M", "N"), help="only these")
    parser.add_argument("--batch", type=int, action="append", choices=list(BARS), help="only these")
    given = parser.parse_args()
    if given.device == "cuda":
        parser.error("the overhead is measured on the processor")
    record.start(given)
    sizes = tuple((m, n) for m, n in given.size) if given.size else SIZES
    record.publish("engine_overhead", given, measure(given.seconds, sizes, batches=given.batch or tuple(BARS)), line)


if __name__ == "__main__":
    main()
