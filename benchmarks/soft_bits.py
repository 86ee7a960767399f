"""Soft bits: what log-likelihood ratios tell about their bits, and what that costs.

Part ``information``: 4 x 4 16-QAM over independent channels, at which the true posterior can still be summed over all
65,536 vectors: bits that a soft bit tells (``mutual_information``) by EP and OAMP unrolled, as they are and as
``soft_bits`` gives them, by LMMSE, and by lists of 16, 64 and 512; time per vector, in blocks of 400. Bar: within 1 %
of the true posterior's at every SNR.

Part ``blocks``: the share of blocks that a low-density code (512 bits, 256 of them free, three checks for each bit) has
wrong after 50 iterations of belief propagation on these ratios, and the SNR at which it is 1e-2, between the SNRs that
were tried (``--snr`` names others). The true posterior is stood for by the list of 512, which tells as much here. Bar:
``soft_bits`` within 0.3 dB of the best.

Where sionna is installed (``make peers``) its expectation propagation, K-best and MMSE-PIC are in both, on the same
vectors. ``--without WORD`` leaves out sources whose names hold a word.

Part ``trained``: the same of the detectors that ship weights, on channels of their own, beside the list; the exact ones
are out of reach there.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from math import log
from typing import Any

import torch
from torch import Tensor

from benchmarks.image_methods import Row
from benchmarks.record import options, publish, start
from benchmarks.sionna_detectors import sionna_sources
from unrolling import pretrained, unroll
from unrolling.algorithms.detection.bit_ratios import exact_llrs, mutual_information
from unrolling.algorithms.detection.breadth_first import list_llrs
from unrolling.algorithms.detection.mimo import Received, decide, gray_labels
from unrolling.algorithms.detection.soft_detection import linear_llrs, network_llrs, soft_bits
from unrolling.algorithms.graphs.decoding import ParityBeliefPropagation, decode_words
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.algorithms.messages.oamp import OAMP
from unrolling.systems.catalogue import find
from unrolling.tasks import Detection
from unrolling.tasks.communications.codes import parity_check

LEVELS, WITHIN = (8.0, 12.0, 16.0, 20.0, 24.0), 0.99  # dB; the bar
SIZES = (16, 64, 512)
CODE, CODED, RATE = "ldpc-512-256", (10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0), 1e-2
TRAINED = ("communications/detnet", "communications/oamp_net", "communications/ep_net", "communications/mmnet")


def told(make: Callable[[Received], Tensor], data: Received, bits: Tensor) -> tuple[float, float]:
    """Bits in a bit, and milliseconds a vector."""
    begin = time.perf_counter()
    with torch.no_grad():
        llrs = make(data)
    spent = (time.perf_counter() - begin) * 1e3 / len(data.y)
    return mutual_information(llrs, bits), spent


Source = Callable[[Received], Tensor]


def kept_of(sources: Mapping[str, Source], given: Namespace) -> dict[str, Source]:
    """Those that were not left out."""
    return {name: make for name, make in sources.items() if not any(word in name for word in given.without)}


def of_small(given: Namespace) -> Iterator[Row]:
    """Where the truth is known."""
    count = given.count
    task = Detection(streams=4, antennas=4, modulation="16qam", snr=16.0, held_out=10)
    levels = task.levels
    networks = {
        "EP, 10 layers": unroll(ExpectationPropagation(levels), 10),
        "OAMP, 10 layers": unroll(OAMP(levels), 10),
    }
    sources: dict[str, Source] = {"LMMSE": lambda data: linear_llrs(data, levels)}
    for name, network in networks.items():
        sources[name] = lambda data, network=network: network_llrs(network, data)
    sources |= {f"list of {size}": lambda data, size=size: list_llrs(data, levels, size) for size in SIZES}
    sources["soft_bits of EP"] = lambda data: soft_bits(networks["EP, 10 layers"], data).llrs
    sources = kept_of(sources | sionna_sources(levels), given)
    for snr in given.snr or LEVELS:
        data, x = task.at(snr, count, torch.Generator().manual_seed(1))
        bits = gray_labels(len(levels))[decide(x, levels)]
        exact, spent = told(lambda received: exact_llrs(received, levels), data, bits)
        yield {"snr": snr, "source": "exact", "information": exact, "milliseconds": spent}
        for name, make in sources.items():
            found, spent = told(make, data, bits)
            row = {"snr": snr, "source": name, "information": found, "milliseconds": spent}
            yield row | ({"ratio": found / exact, "bar": WITHIN, "better": "high"} if "soft" in name else {})


def of_blocks(given: Namespace) -> Iterator[Row]:
    """A code's errors."""
    count = given.count
    task = Detection(streams=4, antennas=4, modulation="16qam", snr=16.0, held_out=10)
    levels, matrix = task.levels, parity_check(CODE)
    decoder, network = ParityBeliefPropagation(matrix), unroll(ExpectationPropagation(levels), 10)
    sources: dict[str, Source] = {
        "list of 512": lambda data: list_llrs(data, levels, 512),
        "list of 64": lambda data: list_llrs(data, levels, 64),
        "EP, 10 layers": lambda data: network_llrs(network, data),
        "LMMSE": lambda data: linear_llrs(data, levels),
        "soft_bits of EP": lambda data: soft_bits(network, data).llrs,
    }
    sources = kept_of(sources | sionna_sources(levels), given)
    rates: dict[str, dict[float, float]] = {name: {} for name in sources}
    uses = matrix.shape[1] // (8 * gray_labels(len(levels)).shape[1])
    for snr in given.snr or CODED:
        data, x = task.at(snr, count * uses, torch.Generator().manual_seed(3))
        bits = gray_labels(len(levels))[decide(x, levels)]
        for name, make in sources.items():
            # Any bits are a word of the code plus a pattern that the receiver knows: the word of zeros is looked for.
            with torch.no_grad():
                zero = (make(data).float() * (1 - 2 * bits)).reshape(count, -1)
            wrong = (decode_words(decoder, zero) < 0).any(1)
            rates[name][snr] = float(wrong.double().mean())
    reached = {name: crossing(curve, RATE, 0.5 / count) for name, curve in rates.items()}
    best = min(reached.values())
    for name, curve in rates.items():
        row = {"source": name, "rates": curve, "reached": reached[name]}
        yield row | ({"value": reached[name] - best, "bar": 0.3, "better": "low"} if "soft" in name else {})


def crossing(curve: Mapping[float, float], rate: float, least: float) -> float:
    """The SNR at which a rate is reached, by straight lines through the logarithms, ``least`` standing for a rate of
    zero; infinite where it is not.
    """
    points = sorted(curve.items())
    for (low, above), (high, below) in pairwise(points):
        if above >= rate > below:
            a, b = (log(max(value, least)) for value in (above, below))
            return low + (high - low) * (a - log(rate)) / (a - b)
    return float("inf") if points[-1][1] >= rate else points[0][0]


def of_trained(given: Namespace) -> Iterator[Row]:
    """The weights that ship, at the SNR of their tests."""
    count = given.count
    for name in TRAINED:
        network, system = pretrained(name).eval(), find(name)
        task: Any = system.task(system.recipe(None)[0])
        data, x = task.at(task.snr, count, torch.Generator().manual_seed(2))
        bits = gray_labels(len(task.levels))[decide(x, task.levels)]
        found = soft_bits(network, data)
        own, spent = told(lambda received, network=network: network_llrs(network, received), data, bits)
        row = {"snr": task.snr, "source": name, "information": own, "milliseconds": spent}
        yield row | {"soft_bits": mutual_information(found.llrs, bits), "from": found.source, "factor": found.factor}
        for other, make in (("LMMSE", linear_llrs), *((f"list of {n}", sized(n)) for n in (64, 512))):
            value, spent = told(lambda received, make=make, task=task: make(received, task.levels), data, bits)
            yield {"snr": task.snr, "source": f"  {other}", "information": value, "milliseconds": spent}


def sized(size: int) -> Callable[[Received, Tensor], Tensor]:
    """Lists of a size."""
    return lambda data, levels: list_llrs(data, levels, size)


PARTS = {"information": of_small, "blocks": of_blocks, "trained": of_trained}


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    if "rates" in row:
        rates = ", ".join(f"{rate:.3f} at {snr:g} dB" for snr, rate in row["rates"].items())
        return f"{row['source']:20s} wrong blocks {rates}; {RATE:g} at {row['reached']:.2f} dB"
    more = f", soft_bits {row['soft_bits']:.4f} from the {row['from']}, x {row['factor']:.2f}" if "from" in row else ""
    return (
        f"{row['snr']:4g} dB  {row['source']:28s} {row['information']:.4f} bits in a bit, "
        f"{row['milliseconds']:7.3f} ms{more}"
    )


def main() -> None:
    parser = options(__doc__, seconds=1.0, threads=1)
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all of them")
    parser.add_argument("--count", type=int, default=400, help="vectors; 400 by default")
    parser.add_argument("--snr", type=float, nargs="+", help="in dB, of information and blocks, instead of their own")
    parser.add_argument("--without", nargs="+", default=[], help="words in the names of sources that are left out")
    given = parser.parse_args()
    start(given)
    rows = [row for part in given.part or PARTS for row in PARTS[part](given)]
    publish("soft_bits", given, rows, line)


if __name__ == "__main__":
    main()
