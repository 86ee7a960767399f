"""Decoding by belief propagation and by weighted belief propagation: word error rates over the signal-to-noise ratio,
what learning gains in dB, and time.

    python -m benchmarks.decoding                          # all of it, with networks trained on the spot
    python -m benchmarks.decoding --part rates --code bch-63-45 --matrix standard
    python -m benchmarks.decoding --part rates --code ldpc-96-48 --matrix standard
    python -m benchmarks.decoding --part time
    python -m benchmarks.decoding --part rates --data H.alist   # a code of your own

Part ``rates``: belief propagation of five iterations; weighted, with three numbers in each iteration and with one for
each edge, trained for this code and matrix; belief propagation and normalised min-sum of up to 50 iterations that stop
at a word of the code, damping and scale chosen on other words; ordered statistics decoding of order two, which is
nearly maximum likelihood for short codes. The bar: the SNR at which one word in a hundred is wrong, on a line through
the logarithms, is at least 0.5 dB lower than belief propagation's of as many iterations on the same matrix.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from benchmarks import record
from unrolling import fit, unroll
from unrolling.algorithms.graphs.decoding import MinSum, ParityBeliefPropagation, decode_words
from unrolling.algorithms.graphs.reprocessing import ordered_statistics
from unrolling.systems.catalogue import find
from unrolling.systems.communications.weighted_bp import DEPTH
from unrolling.tasks.communications.decoding import Decoding
from unrolling.training.stages import scaled

GOAL = 1e-2  # errors per word
BLOCK = 2000  # words


def rate_of(run: Callable[[Tensor], Tensor], task: Decoding, snr: float, words: int) -> float:
    """Errors per word."""
    generator, wrong = torch.Generator().manual_seed(12_000_017 + round(100 * snr)), 0.0
    with torch.no_grad():
        for _ in range(0, words, BLOCK):
            samples = task.at(snr, min(BLOCK, words), generator)
            wrong += float(task.pieces(run(samples.data), samples)[:, 0].sum())
    return wrong / (math.ceil(words / BLOCK) * min(BLOCK, words))


def reached(snrs: Sequence[float], rates: Sequence[float]) -> float:
    """The SNR at which a curve has fallen to the goal, between two points by their logarithms; NaN where it is not."""
    points = list(zip(snrs, rates, strict=True))
    for (a, high), (b, low) in pairwise(points):
        if high >= GOAL > low:
            low = max(low, 1e-9)
            return a + (b - a) * math.log(high / GOAL) / math.log(high / low)
    return math.nan


def chosen(make: Callable[[float], Any], settings: Sequence[float], task: Decoding, snr: float) -> Any:
    """The decoder of the setting with the fewest errors on words that no score is made of."""
    samples = task.at(snr, BLOCK, torch.Generator().manual_seed(5))
    errors = {s: float(task.pieces(make(s)(samples.data), samples)[:, 0].sum()) for s in settings}
    best = min(errors, key=lambda s: errors[s])
    return best, make(best)


def trained(task: Decoding, per_edge: bool, steps: int) -> Any:
    """Weighted belief propagation for a task: weights that ship, where they are for it, or new ones."""
    system = find("communications/weighted_bp" + ("_edges" if per_edge else ""))
    if steps == 0:
        return system.pretrained("decoding", code=task.code, matrix=task.kind)
    recipe = system.recipes["decoding"]
    net = system.network(recipe, task)
    fit(net, task, scaled(recipe.schedule(DEPTH), steps), validations=0, quiet=True)
    return net.eval()


def rates(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Curves and what is gained."""
    task = Decoding(given.code, given.matrix, low=given.low, high=given.high, held_out=2, data=given.data)
    middle = (given.low + given.high) / 2
    snrs = [given.low + 0.5 * k for k in range(int(2 * (given.high + 0.5 - given.low)) + 1)]

    def stops(make: Callable[[float], ParityBeliefPropagation], value: float) -> Callable[[Tensor], Tensor]:
        return partial(decode_words, make(value))

    damping, damped = chosen(
        partial(stops, lambda d: ParityBeliefPropagation(task.matrix, damping=d)), (0.0, 0.3, 0.6), task, middle
    )
    scale, reduced = chosen(partial(stops, lambda s: MinSum(task.matrix, scale=s)), (0.3, 0.5, 0.75, 1.0), task, middle)

    def search(llr: Tensor) -> Tensor:
        return 1 - 2 * ordered_statistics(llr, task.matrix, 2).float()

    began = time.process_time()
    methods: dict[str, tuple[Callable[[Tensor], Tensor], int, float]] = {
        "belief propagation, 5 iterations": (
            unroll(ParityBeliefPropagation(task.matrix), DEPTH, tied="scale"), given.words, 0.0,
        ),
    }  # fmt: skip
    for per_edge, steps in ((False, given.steps), (True, 2 * given.steps)):
        net = trained(task, per_edge, steps)
        name = f"weighted, {'a number for each edge' if per_edge else 'three numbers in each iteration'}"
        methods[name] = (net, given.words, time.process_time() - began)
        began = time.process_time()
    methods |= {
        f"belief propagation, damping {damping:g}, until a word, 50 at most": (damped, given.words, 0.0),
        f"min-sum, scale {scale:g}, until a word, 50 at most": (reduced, given.words, 0.0),
        "ordered statistics, order 2": (search, min(given.words, given.searched), 0.0),
    }
    rows: list[dict[str, Any]] = []
    first = math.nan
    for name, (run, words, seconds) in methods.items():
        if words == 0:
            continue
        found = [rate_of(run, task, snr, words) for snr in snrs]
        at = reached(snrs, found)
        first = at if not rows else first
        row: dict[str, Any] = {
            "code": task.code, "matrix": task.kind, "name": name, "snrs": snrs, "rates": found, "reached": at,
            "value": first - at, "training": seconds, "better": "high",
        }  # fmt: skip
        if name.startswith("weighted"):
            row["bar"] = 0.5
        rows.append(row)
        print(line(row), file=sys.stderr, flush=True)  # the whole takes minutes
    return rows


def timed(given: argparse.Namespace) -> list[dict[str, Any]]:
    """CPU microseconds for a word and iteration."""
    rows = []
    for code, matrix in (("bch-63-45", "standard"), ("bch-63-45", "reduced"), ("ldpc-96-48", "standard")):
        task = Decoding(code, matrix, held_out=2)
        for batch in (1, 100, 1000):
            llr = task.at(5.0, batch, torch.Generator().manual_seed(0)).data
            for kind in (ParityBeliefPropagation, MinSum):
                net = unroll(kind(task.matrix), DEPTH, tied="scale")
                with torch.no_grad():
                    net(llr)
                    began, runs = time.process_time(), 0
                    while time.process_time() - began < given.seconds:
                        net(llr)
                        runs += 1
                each = 1e6 * (time.process_time() - began) / (runs * DEPTH * batch)
                rows.append({"name": f"{kind.__name__}, {code} {matrix}, batch {batch}", "microseconds": each})
    return rows


def line(row: Mapping[str, Any]) -> str:
    if "microseconds" in row:
        return f"{row['name']:60} {row['microseconds']:8.2f} us for a word and iteration"
    curve = "  ".join(f"{snr:g} dB {rate:.1e}" for snr, rate in zip(row["snrs"], row["rates"], strict=True))
    return (
        f"{row['code']} {row['matrix']}, {row['name']:58} {curve}   1e-2 at {row['reached']:.2f} dB, gain "
        f"{row['value']:.2f} dB"
    )


def main() -> None:
    parser = record.options(__doc__, seconds=0.3, threads=1)
    parser.add_argument("--part", choices=("all", "rates", "time"), default="all")
    parser.add_argument("--code", default="bch-63-45")
    parser.add_argument("--matrix", default="standard")
    parser.add_argument("--low", type=float, default=4.0, help="SNR in dB, of training too")
    parser.add_argument("--high", type=float, default=6.0)
    parser.add_argument("--words", type=int, default=20_000, help="at each SNR")
    parser.add_argument("--searched", type=int, default=2000, help="of these by ordered statistics; 0 leaves it out")
    parser.add_argument(
        "--steps", type=int, default=500, help="of training, twice as many for edges; 0: weights that ship"
    )
    parser.add_argument("--data", default=None, help="a parity-check matrix, .alist or .npy")
    given = parser.parse_args()
    record.start(given)
    rows = rates(given) if given.part in ("all", "rates") else []
    rows += timed(given) if given.part in ("all", "time") else []
    record.publish("decoding", given, rows, line)


if __name__ == "__main__":
    main()
