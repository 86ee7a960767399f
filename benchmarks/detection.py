"""MIMO detectors: bit error rates with 95 % intervals, time per vector, and the sizes where exact maximum likelihood is
out of reach.

Parts: ``iid`` (20 x 30, BPSK), ``toeplitz`` (the same, one channel of correlation 0.55), ``large`` (60 x 90),
``correlated`` (8 x 16, QPSK, fixed Kronecker channels of correlation 0.6, MMNet and OAMP-Net trained for each),
``speed`` (alternating, one dtype, threads stated), ``sphere`` (cost of the exact search), ``viterbi`` (ViterbiNet,
trained for each channel). Other networks are the shipped ones, those of 20 x 30 for 60 x 90 too.

Bars: the best network at most 1.5 times the error rate of maximum likelihood at 10 dB and 2 times at 12 dB; DetNet at
most 1.1, 1.15 and 1.3 times the relaxation's at 8, 10 and 12 dB, 1.05 times on the Toeplitz channel, 0.3 times LMMSE's
at 10 dB, and 30 times faster than the relaxation; OAMP-Net better than OAMP, MMNet better than OAMP-Net on correlated
channels, by 2 dB better than LMMSE at 1e-2 after at most 60 seconds of training; the best better than the relaxation at
60 x 90. ViterbiNet at 8 dB: at most 1.2 times the symbol error rate of Viterbi on the true channel, and, trained on
wrong channels, at most half of Viterbi's on an estimated one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import log10, sqrt
from typing import Any

import torch
from torch import Tensor

from benchmarks.detection_tables import show
from unrolling import unroll
from unrolling.algorithms.detection.linear_detection import lmmse, zero_forcing
from unrolling.algorithms.detection.mimo import Received, find_modulation, pam
from unrolling.algorithms.detection.semidefinite import semidefinite_relaxation
from unrolling.algorithms.detection.sphere import sphere_decode
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.algorithms.messages.oamp import OAMP
from unrolling.algorithms.sparse.lama import LAMA
from unrolling.core import Unrolled
from unrolling.systems.catalogue import find
from unrolling.tasks.base import evaluate, first
from unrolling.tasks.communications.detection import Detection
from unrolling.tasks.samples import Samples
from unrolling.training.fit import fit

PARTS = ("iid", "toeplitz", "large", "correlated", "speed", "sphere", "viterbi")
SNRS = (8.0, 9.0, 10.0, 11.0, 12.0, 13.0)
CHUNK = 1000  # vectors at a time
Detector = Callable[[Received], Tensor]


def network(system: str, **options: Any) -> Detector:
    """A shipped network."""
    return find(f"communications/{system}").pretrained("detection", **options)


def relaxation(data: Received) -> Tensor:
    """Semidefinite relaxation in the precision of the networks."""
    return semidefinite_relaxation(data).x


def classical(levels: Tensor) -> dict[str, Detector]:
    """Detectors with nothing to learn; iterations at settings that validation data choose."""
    return {
        "ZF": zero_forcing,
        "LMMSE": lambda data: lmmse(data, unbiased=True),
        "AMP": unroll(LAMA(levels, damping=0.2), 30),
        "OAMP": unroll(OAMP(levels), 10),
        "EP": unroll(ExpectationPropagation(levels, damping=0.7), 10),
    }


@torch.inference_mode()
def error_rates(
    task: Detection, detectors: dict[str, Detector], bits: dict[str, float], snrs: Sequence[float], seed: int = 0
) -> list[dict[str, Any]]:
    """One row per SNR and detector, all detectors on the same vectors, each until it has seen its number of bits.

    The interval is that of a mean over vectors, whose errors are counted together since those within a vector are not
    independent.
    """
    rows = []
    for snr in snrs:
        generator = torch.Generator().manual_seed(77_000_001 + 1000 * seed + round(10 * snr))
        counts: dict[str, list[Tensor]] = {name: [] for name in detectors}
        seen = dict.fromkeys(detectors, 0)
        while any(seen[name] < bits[name] for name in detectors):
            data, x = task.at(snr, CHUNK, generator)
            for name, run in detectors.items():
                if seen[name] < bits[name]:
                    pieces = task.pieces(run(data), Samples(None, x))
                    counts[name].append(pieces[:, 0])
                    seen[name] += int(pieces[:, 1].sum())
        for name, found in counts.items():
            errors = torch.cat(found).double()
            per_vector = seen[name] / len(errors)
            spread = 1.96 * float(errors.std()) / sqrt(len(errors)) / per_vector
            rate = float(errors.mean()) / per_vector
            rows.append(
                {
                    "snr": snr,
                    "detector": name,
                    "ber": rate,
                    "low": max(0.0, rate - spread),
                    "high": rate + spread,
                    "bits": seen[name],
                }
            )
            rows[-1]["errors"] = int(errors.sum())
    return rows


def square(
    channel: str, networks: dict[str, Detector], options: argparse.Namespace, size: tuple[int, int] = (20, 30)
) -> list[Any]:
    """BPSK with everything that can be afforded."""
    task = Detection(streams=size[0], antennas=size[1], channel=channel, held_out=CHUNK)
    levels, nodes = task.levels, options.nodes
    detectors = {**classical(levels), "SDR": relaxation, **networks}
    detectors["ML"] = lambda data: sphere_decode(data, levels, max_nodes=nodes).x
    slow = ("SDR",) if size[0] <= 20 else ("SDR", "ML")
    amount = {name: options.slow_bits if name in slow else options.bits for name in detectors}
    return error_rates(task, detectors, amount, options.snr)


def iid(options: argparse.Namespace) -> list[Any]:
    networks = {
        "DetNet": network("detnet"),
        "OAMP-Net": network("oamp_net"),
        "OAMP-Net2": network("oamp_net2"),
        "EPNet": network("ep_net"),
    }
    return square("iid", networks, options)


def toeplitz(options: argparse.Namespace) -> list[Any]:
    networks = {
        "DetNet": network("detnet", channel="toeplitz"),
        "DetNet, iid": network("detnet"),
        "EPNet": network("ep_net"),
    }
    return square("toeplitz", networks, options)


def large(options: argparse.Namespace) -> list[Any]:
    networks = {
        "DetNet": network("detnet"),
        "OAMP-Net": network("oamp_net"),
        "OAMP-Net2": network("oamp_net2"),
        "EPNet": network("ep_net"),
    }
    return square("iid", networks, options, (60, 90))


def correlated(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Fixed Kronecker channels; MMNet and OAMP-Net are trained here for each, and the SNR gain over LMMSE read off
    where its error rate is 1e-2.
    """
    rows = []
    mmnet, oamp_net = find("communications/mmnet"), find("communications/oamp_net")
    for seed in options.channels:
        task: Any = mmnet.task("detection", seed=seed, held_out=CHUNK)
        trained = {}
        seconds = {}
        for name, system in (("MMNet", mmnet), ("OAMP-Net", oamp_net)):
            own = system.recipes["detection"]
            net = system.network(own, task)
            begin = time.process_time()
            fit(net, task, own.schedule(len(net)), validations=0, quiet=True)
            seconds[name], trained[name] = time.process_time() - begin, net
        detectors: dict[str, Detector] = {
            **classical(task.levels),
            **trained,
            "ML": lambda data, levels=task.levels: sphere_decode(data, levels).x,
        }
        found = error_rates(
            task, detectors, dict.fromkeys(detectors, float(options.bits / 4)), (6.0, 8.0, 10.0, 12.0, 14.0, 16.0), seed
        )
        needed = {name: crossing([row for row in found if row["detector"] == name], 1e-2) for name in detectors}
        rows += [
            {**row, "channel": seed, "seconds": seconds.get(row["detector"]), "snr_at_1e-2": needed[row["detector"]]}
            for row in found
        ]
    return rows


def crossing(rows: Sequence[dict[str, Any]], rate: float) -> float | None:
    """The SNR at which an error rate is reached, its logarithm interpolated linearly."""
    for above, below in pairwise(rows):
        if above["ber"] >= rate > below["ber"] > 0:
            part = (log10(above["ber"]) - log10(rate)) / (log10(above["ber"]) - log10(below["ber"]))
            return above["snr"] + part * (below["snr"] - above["snr"])
    return None


@torch.inference_mode()
def speed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Microseconds per vector in single precision at 10 dB, all detectors in turn in every round; ``ratio`` is the
    relaxation's over it, round by round.
    """
    task = Detection(held_out=CHUNK)
    levels = task.levels
    detectors: dict[str, Detector] = {
        **classical(levels),
        "SDR": relaxation,
        "ML": lambda data: sphere_decode(data, levels).x,
    }
    detectors |= {"DetNet": network("detnet"), "OAMP-Net": network("oamp_net"), "EPNet": network("ep_net")}
    rows = []
    for batch in (1000, 250, 1):
        data = first(task.test[0], batch).data
        times: dict[str, list[float]] = {name: [] for name in detectors}
        for turn in range(options.rounds + 1):
            for name, run in detectors.items():
                repeats = 1 if name == "SDR" else 5
                begin = time.perf_counter()
                for _ in range(repeats):
                    run(data)
                if turn:
                    times[name].append((time.perf_counter() - begin) / repeats / batch * 1e6)
        for name, own in times.items():
            ratios = [a / b for a, b in zip(times["SDR"], own, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            rows.append(
                {
                    "detector": name,
                    "batch": batch,
                    "us": statistics.median(own),
                    "ratio": middle,
                    "low": low,
                    "high": high,
                }
            )
    return rows


def sphere(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Nodes and microseconds per vector of the exact search, streams and antennas as 2 to 3; a search ends after a
    million nodes.
    """
    rows = []
    cases = (
        [("bpsk", k) for k in (10, 20, 30, 40, 50, 60)]
        + [("16qam", k) for k in (4, 8, 12, 16)]
        + [("64qam", k) for k in (4, 6, 8)]
    )
    for modulation, streams in cases:
        task = Detection(streams=streams, antennas=3 * streams // 2, modulation=modulation, held_out=1)
        gain = 0.0 if modulation == "bpsk" else 10.0 if modulation == "16qam" else 16.0
        for snr in (4.0 + gain, 8.0 + gain, 12.0 + gain):
            data, x = task.at(snr, options.vectors, torch.Generator().manual_seed(round(snr)))
            levels = pam(find_modulation(modulation).order)
            sphere_decode(data, levels, max_nodes=200)
            begin = time.perf_counter()
            found = sphere_decode(data, levels, max_nodes=options.nodes)
            us = (time.perf_counter() - begin) / options.vectors * 1e6
            nodes = found.nodes.double()
            row = {
                "modulation": modulation,
                "streams": streams,
                "antennas": task.antennas,
                "snr": snr,
                "nodes": float(nodes.mean()),
            }
            pieces = task.pieces(found.x, Samples(None, x))
            row |= {
                "most": int(nodes.max()),
                "us": us,
                "unfinished": int((~found.exact).sum()),
                "ber": float(pieces[:, 0].sum() / pieces[:, 1].sum()),
            }
            rows.append(row)
    return rows


def viterbi(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Symbol error rates of sequences; ``csi`` is ViterbiNet trained on channels whose taps are off by a variance of
    0.1, as the estimated channel's are.
    """
    system = find("communications/viterbinet")
    recipe = system.recipes["sequence"]
    rows = []
    for decay in options.decay:
        for snr in options.sequence_snr:
            rates: dict[str, Any] = {"decay": decay, "snr": snr}
            for name, csi_error in (("ViterbiNet", 0.0), ("csi", 0.1)):
                task: Any = system.task("sequence", decay=decay, snr=snr, csi_error=csi_error, held_out=500)
                net = system.network(recipe, task)
                begin = time.process_time()
                fit(net, task, recipe.schedule(len(net)), validations=0, quiet=True)
                rates[f"{name} seconds"] = time.process_time() - begin
                batches = [
                    task.at(snr, 50_000, torch.Generator().manual_seed(78_000_001 + k))
                    for k in range(max(1, round(options.symbols / 50_000)))
                ]
                rates[name] = task.metric.value(evaluate(net, task, batches))
                if name == "ViterbiNet":
                    rates["memoryless"] = task.metric.value(evaluate(partial(memoryless, net), task, batches))
                    for method in task.baselines(0):
                        rates[method.name] = task.metric.value(
                            evaluate(unroll(method.make(None), len(net)), task, batches)
                        )
            rates["symbols"] = 50_000 * len(batches)
            rows.append(rates)
    return rows


def memoryless(network: Unrolled, data: Any) -> Tensor:
    """The estimate after one layer, from each observation alone."""
    return network(data, layers=slice(0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--bits", type=float, default=2e6, help="per point")
    parser.add_argument(
        "--slow-bits",
        type=float,
        default=2e5,
        help="per point, of the relaxation, and of maximum likelihood at 60 x 90",
    )
    parser.add_argument("--nodes", type=int, default=10**6, help="after which the exact search gives up a vector")
    parser.add_argument("--snr", type=float, nargs="*", default=list(SNRS))
    parser.add_argument(
        "--channels", type=int, nargs="*", default=[0, 1, 2], help="seeds of those of the part `correlated`"
    )
    parser.add_argument("--vectors", type=int, default=200, help="of the part `sphere`")
    parser.add_argument("--decay", type=float, nargs="*", default=[0.1, 0.5, 1.0], help="of the taps, part `viterbi`")
    parser.add_argument(
        "--sequence-snr", type=float, nargs="*", default=[0.0, 2.0, 4.0, 6.0, 8.0, 10.0], help="of the part `viterbi`"
    )
    parser.add_argument("--symbols", type=float, default=2e5, help="per point of the part `viterbi`")
    parser.add_argument("--rounds", type=int, default=15, help="of the part `speed`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    makers = {
        "iid": iid,
        "toeplitz": toeplitz,
        "large": large,
        "correlated": correlated,
        "speed": speed,
        "sphere": sphere,
        "viterbi": viterbi,
    }
    found = {}
    for part in options.part:
        found[part] = makers[part](options)
        if not options.json:
            show(part, found[part])
    if options.json:
        print(
            json.dumps(
                {"benchmark": "detection", "threads": options.threads, "torch": torch.__version__, "parts": found},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
