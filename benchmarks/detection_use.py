"""Detectors where they were not trained: the safeguard, ViterbiNet from pilots, MMNet trained on the spot.

Parts: ``safeguard`` (bit error rates of networks with and without it, beside LMMSE's told the true noise variance, over
channels of many kinds and noise that is told wrong), ``pilots`` (symbol error rates over random taps with 500 pilots,
beside the Viterbi algorithm with taps by least squares from the same pilots and with the true ones), ``adapt`` (MMNet
trained for random channels in seconds, beside LMMSE, expectation propagation and maximum likelihood), ``fit`` (which
sequences pass as coming from the weights' taps, and what they would have cost).

Bars: no network with the safeguard above LMMSE by more than three standard errors; sequences that pass have at most
twice the symbol error rate of the Viterbi algorithm with the true taps and 0.02 more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolling import unroll
from unrolling.algorithms.detection.linear_detection import lmmse
from unrolling.algorithms.detection.mimo import Received, apply, decide, pam
from unrolling.algorithms.detection.safeguarded import SafeguardedDetector
from unrolling.algorithms.detection.sphere import sphere_decode
from unrolling.algorithms.detection.taps import ChannelEstimate, fit_to_taps, viterbi_data
from unrolling.algorithms.detection.trellis import GaussianLikelihood, Observed, Trellis
from unrolling.algorithms.detection.viterbi import viterbi_path
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.systems.catalogue import find
from unrolling.systems.communications._pilots import learn
from unrolling.systems.communications.mmnet import adapt as train_mmnet
from unrolling.systems.communications.viterbinet import LearnedLikelihood
from unrolling.tasks.communications.channels import (
    as_real,
    iid_channels,
    kronecker_channels,
    noise_variance,
    toeplitz_channel,
)
from unrolling.tasks.communications.detection import GIVEN, Detection

PARTS = ("safeguard", "pilots", "adapt", "fit")
LEVELS = pam(2).float()
OWN = torch.exp(-0.5 * torch.arange(4)).unsqueeze(0)  # the taps of ViterbiNet's weights
TRELLIS = Trellis(2, 4)


def spread(count: int, antennas: int, streams: int, decades: float, draw: torch.Generator) -> Tensor:
    """Channels whose singular values fall over some decades."""
    drawn = torch.randn(count, antennas, streams, generator=draw, dtype=torch.float64)
    left, _, right = torch.linalg.svd(drawn, full_matrices=False)
    return left * torch.logspace(0, -decades, streams, dtype=torch.float64) @ right


def kinds(count: int, draw: torch.Generator) -> dict[str, Callable[[], Tensor]]:
    """Channels by kind, (count or 1, N, K)."""
    double = torch.float64
    found: dict[str, Callable[[], Tensor]] = {
        f"independent, {n} x {k}": lambda n=n, k=k: iid_channels(count, n, k, draw, double)
        for k, n in ((20, 30), (20, 20), (4, 8), (40, 60), (7, 11))
    }
    for correlation in (0.3, 0.5, 0.7, 0.9):
        found[f"Toeplitz {correlation:g}, 30 x 20"] = lambda r=correlation: toeplitz_channel(30, 20, r, draw, double)
        found[f"Kronecker {correlation:g}, 30 x 20"] = lambda r=correlation: kronecker_channels(
            count, 30, 20, r, draw, double
        )
    for decades in (1, 2, 3):
        found[f"condition number 1e{decades}, 30 x 20"] = lambda d=decades: spread(count, 30, 20, d, draw)
    return found


@torch.no_grad()
def safeguard(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a network, channel, SNR and factor of the noise variance that is told."""
    count = options.vectors
    draw = torch.Generator().manual_seed(79_000_001)
    networks = {name: find(f"communications/{name}").pretrained("detection") for name in options.networks}
    rows = []
    for kind, make in kinds(count, draw).items():
        channel = make().float()
        for snr in options.snr:
            x = LEVELS[torch.randint(2, (count, channel.shape[2]), generator=draw)]
            variance = noise_variance(channel, torch.full((1, 1), 10 ** (snr / 10)))
            y = apply(channel, x) + variance.sqrt() * torch.randn(count, channel.shape[1], generator=draw)
            linear = _wrong(lmmse(Received(y, channel, variance), unbiased=True), x)
            for name, network in networks.items():
                for factor in (1.0,) if name == "detnet" else (0.1, 1.0, 10.0):
                    data = Received(y, channel, factor * variance)
                    found = SafeguardedDetector(network, LEVELS).detect(data)
                    more = _wrong(found.x, x) - linear
                    error = float(more.std()) / count**0.5
                    rows.append(
                        {
                            "channel": kind,
                            "snr": snr,
                            "network": name,
                            "told": factor,
                            "plain": float(_wrong(network(data).nan_to_num(), x).mean()),
                            "safeguarded": float(_wrong(found.x, x).mean()),
                            "lmmse": float(linear.mean()),
                            "errors_above": float(more.mean()) / max(error, 1e-12),
                            "by_lmmse": found.rate,
                        }
                    )
    return rows


def _wrong(x: Tensor, symbols: Tensor) -> Tensor:
    return (decide(x, LEVELS) != decide(symbols, LEVELS)).double().mean(1)


def over(taps: Tensor, snr: float, blocks: int, length: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences through taps, and states."""
    states = TRELLIS.of(torch.randint(2, (blocks, length + 3), generator=draw))
    sent = LEVELS[TRELLIS.symbols()][states]
    noise = 10 ** (-snr / 20) * torch.randn(blocks, length, generator=draw)
    return (sent * taps.unsqueeze(1)).sum(2) + noise, states


def ser(scores: Tensor, states: Tensor) -> float:
    """Symbol error rate of the best path."""
    found = TRELLIS.newest(viterbi_path(scores, TRELLIS))
    return float((found != TRELLIS.newest(states)).double().mean())


@torch.no_grad()
def pilots(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a draw of four taps of norm 1.2 at 8 dB."""
    draw = torch.Generator().manual_seed(79_000_002)
    gaussian = GaussianLikelihood(LEVELS, 4)
    rows = []
    for _ in range(options.taps):
        taps = torch.randn(1, 4, generator=draw)
        taps = 1.2 * taps / taps.norm()
        known, states = over(taps, 8.0, 1, 503, draw)
        y, sent = over(taps, 8.0, 100, 500, draw)
        likelihood = LearnedLikelihood(16)
        begin = time.perf_counter()
        with torch.enable_grad():
            learned = learn(likelihood, known, LEVELS[TRELLIS.newest(states)], LEVELS, 4)
        seconds = time.perf_counter() - begin
        true = ChannelEstimate(taps, torch.full((1, 1), 10**-0.8))
        rows.append(
            {
                "taps": [round(tap, 2) for tap in taps[0].tolist()],
                "network": ser(likelihood(Observed(y)), sent),
                "least squares": ser(gaussian(viterbi_data(y, learned.channel)), sent),
                "true": ser(gaussian(viterbi_data(y, true)), sent),
                "network chosen": learned.network_is_better,
                "seconds": seconds,
            }
        )
        rows[-1]["chosen"] = rows[-1]["network" if learned.network_is_better else "least squares"]
    return rows


@torch.no_grad()
def adapt(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a channel, QPSK, 10 dB: bit error rates and the seconds that MMNet took to train."""
    draw = torch.Generator().manual_seed(79_000_003)
    double = torch.complex128
    channels = {
        "independent, 16 x 8": iid_channels(1, 16, 8, draw, double),
        "independent, 12 x 10": iid_channels(1, 12, 10, draw, double),
        "Kronecker 0.4, 16 x 8": kronecker_channels(1, 16, 8, 0.4, draw, double),
        "Kronecker 0.7, 16 x 8": kronecker_channels(1, 16, 8, 0.7, draw, double),
        "Toeplitz 0.7, 16 x 8": toeplitz_channel(16, 8, 0.7, draw, double),
        "Kronecker 0.7, 24 x 16": kronecker_channels(1, 24, 16, 0.7, draw, double),
    }
    rows = []
    for name, channel in channels.items():
        real = as_real(channel).float()
        task = Detection(
            modulation="qpsk", channel=GIVEN, low=8.0, high=12.0, snr=10.0, held_out=1, fixed={"channel": real}
        )
        begin = time.perf_counter()
        with torch.enable_grad():
            network = train_mmnet(task, 0)
        seconds = time.perf_counter() - begin
        data, x = task.at(10.0, options.vectors * 4, torch.Generator().manual_seed(79_000_004))
        found = {
            "MMNet": network(data),
            "MMNet, safeguarded": SafeguardedDetector(network, LEVELS)(data),
            "LMMSE": lmmse(data, unbiased=True),
            "EP": unroll(ExpectationPropagation(LEVELS, damping=0.7), 10)(data),
            "ML": sphere_decode(data, LEVELS).x,
        }
        rows.append(
            {"channel": name, "seconds": seconds}
            | {key: float(_wrong(value, x).mean()) for key, value in found.items()}
        )
    return rows


@torch.no_grad()
def fit(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a draw of taps at 8 dB, near to those of the weights and far from them."""
    draw = torch.Generator().manual_seed(79_000_005)
    network = find("communications/viterbinet").pretrained()
    gaussian = GaussianLikelihood(LEVELS, 4)
    rows = []
    for deviation in (0.0, 0.05, 0.1, 0.2, 0.4, None):
        for _ in range(options.taps):
            drawn = torch.randn(1, 4, generator=draw)
            taps = drawn if deviation is None else OWN + deviation * drawn
            y, states = over(taps, 8.0, 20, 500, draw)
            found = fit_to_taps(y, OWN, LEVELS)
            decided = TRELLIS.newest(network(Observed(y)).argmax(2))
            true = ChannelEstimate(taps, torch.full((1, 1), 10**-0.8))
            rows.append(
                {
                    "deviation": "random" if deviation is None else deviation,
                    "passes": found.good and found.snr >= 6,
                    "network": float((decided != TRELLIS.newest(states)).double().mean()),
                    "true": ser(gaussian(viterbi_data(y, true)), states),
                }
            )
    return rows


def show(part: str, rows: list[dict[str, Any]]) -> None:
    """As text."""
    print(f"\n== {part}")
    if part == "safeguard":
        for row in rows:
            print(
                f"{row['channel']:28s} {row['snr']:4.0f} dB  {row['network']:9s} told {row['told']:4g}  plain "
                f"{row['plain']:.2e}  safeguarded {row['safeguarded']:.2e}  LMMSE {row['lmmse']:.2e}  "
                f"({row['errors_above']:+.1f} standard errors)  by LMMSE {row['by_lmmse']:.2f}"
            )
        worse = sum(row["plain"] > row["lmmse"] for row in rows)
        print(f"above LMMSE: plain {worse} of {len(rows)}, safeguarded, by more than three standard errors, ", end="")
        print(f"{sum(row['errors_above'] > 3 for row in rows)}; most {max(r['errors_above'] for r in rows):.1f}")
    elif part == "pilots":
        for row in rows:
            print(
                "  ".join(
                    f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in row.items()
                )
            )
        for key in ("network", "least squares", "chosen", "true"):
            values = [row[key] for row in rows]
            print(
                f"{key}: mean {statistics.mean(values):.2e}, median {statistics.median(values):.2e}, {max(values):.2e}"
            )
    elif part == "adapt":
        for row in rows:
            print(
                "  ".join(
                    f"{key} {value:.3g}" if isinstance(value, float) else str(value) for key, value in row.items()
                )
            )
    else:
        for deviation in dict.fromkeys(row["deviation"] for row in rows):
            own = [row for row in rows if row["deviation"] == deviation]
            passed = [row for row in own if row["passes"]]
            refused = [row for row in own if not row["passes"]]
            line = f"taps off by {deviation}: {len(passed)} of {len(own)} pass"
            for name, some in (("passed", passed), ("refused", refused)):
                if some:
                    line += f"; {name}: network up to {max(r['network'] for r in some):.3g}, true taps up to "
                    line += f"{max(r['true'] for r in some):.3g}"
            print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--vectors", type=int, default=4000, help="per point")
    parser.add_argument("--snr", type=float, nargs="*", default=[0.0, 6.0, 10.0, 14.0])
    parser.add_argument("--networks", nargs="*", default=["detnet", "oamp_net", "oamp_net2", "ep_net"])
    parser.add_argument("--taps", type=int, default=20, help="draws of taps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    makers = {"safeguard": safeguard, "pilots": pilots, "adapt": adapt, "fit": fit}
    found = {}
    for part in options.part:
        found[part] = makers[part](options)
        if not options.json:
            show(part, found[part])
    if options.json:
        print(json.dumps({"benchmark": "detection_use", "torch": torch.__version__, "parts": found}, indent=1))


if __name__ == "__main__":
    main()
