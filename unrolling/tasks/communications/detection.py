"""Detection of symbols sent over a MIMO channel that the receiver knows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolling.algorithms.detection.linear_detection import lmmse
from unrolling.algorithms.detection.mimo import (
    Received,
    apply,
    decide,
    find_modulation,
    wrong_bits,
)
from unrolling.tasks.base import BER, SER, Samples, Shift, Task
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.communications.baselines import NOTES, detectors
from unrolling.tasks.communications.channels import (
    as_real,
    fixed_channel,
    iid_channels,
    kronecker_channels,
    noise_variance,
    read_channels,
)
from unrolling.tasks.measurements import Gaussian, Measurement, RowsOfData
from unrolling.tasks.transformations import Permutations

CHANNELS = ("iid", "toeplitz", "kronecker", "kronecker-fixed")
FIXED = ("toeplitz", "kronecker-fixed")  # of these, those that are one channel for all samples
GIVEN = "given"  # what a task on channels of one's own calls them
SWEEP = (4.0, 6.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0)  # dB


class Detection(Task):
    """y = H x + n: find x, its entries drawn from an alphabet, given y and H.

    The signal-to-noise ratio is that of a stream at the receiver, sigma^2 = |H|_F^2 / (K SNR) for each sample's own
    channel, sigma^2 being the variance of a real noise entry, K the real streams, and symbols of mean square one: what
    DetNet's authors use (Samuel, Diskin and Wiesel 2019, arXiv:1805.07631), and for complex channels the same number as
    |H|_F^2 / K over the variance of a complex entry for complex symbols of energy one. Training channels have a SNR
    that is uniform between ``low`` and ``high`` on a linear scale. Complex channels become real ones, [[Re, -Im], [Im,
    Re]], when they are drawn.

    Channels: ``iid``, independent N(0, 1 / N) or complex N(0, 1 / N) entries, new in each sample; ``toeplitz``, one
    channel with (H^H H)_ij = r^|i - j|, its left factor random, for all samples; ``kronecker``, R_N^(1/2) H R_K^(1/2)
    with (R)_ij = r^|i - j| on both sides and H as in ``iid``, new in each sample (Kermoal, Schumacher, Pedersen,
    Mogensen and Frederiksen 2002, doi:10.1109/JSAC.2002.801223); ``kronecker-fixed``, one such channel for all samples.

    Args:
        streams: K, transmit antennas.
        antennas: N >= K, receive antennas.
        modulation: ``bpsk`` (real channels), ``qpsk``, ``16qam`` or ``64qam`` (complex channels).
        channel: one of the above.
        correlation: r in [0, 1), of ``toeplitz`` and ``kronecker``.
        snr: of validation and test samples, in dB.
        low: the least SNR of training samples, in dB.
        high: the greatest.
        seed: of fixed channels and of the held-out samples.
        held_out: number of validation and of test samples.
        data: a ``.npy`` file of your own channels, (N, K) or (count, N, K), instead of random ones; of ten and more,
            the last tenth is kept for the test and the one before it for validation, of fewer all serve for everything.
        fixed: tensors of a weights file; its ``channel``, if any, is used.

    Raises:
        ValueError: more streams than antennas, an unknown modulation or channel, a correlation or SNR out of range, a
            file that holds no channels.
    """

    name = "detection"
    given = "what several antennas received, and the channel"
    sought = "the symbols that were sent"
    metric = BER
    threads = 1
    affine = False
    options: Mapping[str, Any] = {
        "streams": 20,
        "antennas": 30,
        "modulation": "bpsk",
        "channel": "iid",
        "correlation": 0.55,
        "snr": 10.0,
        "low": 7.0,
        "high": 14.0,
    }
    notes: Sequence[str] = NOTES

    def __init__(
        self,
        streams: int = 20,
        antennas: int = 30,
        modulation: str = "bpsk",
        channel: str = "iid",
        correlation: float = 0.55,
        snr: float = 10.0,
        low: float = 7.0,
        high: float = 14.0,
        seed: int = 0,
        held_out: int = 10_000,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.modulation = find_modulation(modulation)
        self.levels = self.modulation.levels().float()
        self.snr, self.low, self.high = check_snr("snr", snr), check_snr("low", low), check_snr("high", high)
        if low > high:
            raise ValueError(f"low is {low:g} dB and high is {high:g} dB; training SNRs go from low to high")
        if channel == GIVEN and data is None and "channel" not in (fixed or {}):
            raise ValueError(
                f"channel {GIVEN!r} is channels of your own: name their file (data), or choose one of "
                f"{', '.join(CHANNELS)}"
            )
        if channel not in (*CHANNELS, GIVEN):
            raise ValueError(f"no channel {channel!r}; there are {', '.join(CHANNELS)}, or your own with data")
        if not 0 <= correlation < 1:
            raise ValueError(f"correlation must lie in [0, 1), 0 for none; got {correlation}")
        self.channel, self.correlation, self.seed = channel, correlation, seed
        self.known = self._known(streams, antennas, data, fixed or {})
        if self.known is not None:
            self.channel = channel if data is None else GIVEN
            antennas, streams = self.known["training"].shape[1:]
            if self.modulation.complex:
                antennas, streams = antennas // 2, streams // 2
        if streams < 1 or antennas < streams:
            raise ValueError(
                "detection needs at least one stream, and at least as many antennas as streams; got "
                f"{streams} streams and {antennas} antennas"
            )
        self.streams, self.antennas = streams, antennas
        generator = torch.Generator().manual_seed(2_000_003 + seed)
        self.validation = [self._draw("validation", held_out, generator, snr, snr)]
        self.test = [self._draw("test", held_out, generator, snr, snr)]
        self.timing = Samples(
            Received(*(t if t.shape[0] == 1 else t[:1000] for t in self.test[0].data)), self.test[0].target[:1000]
        )
        names = {GIVEN: "given channels", "iid": "channels with independent entries"}
        kind = names.get(self.channel, f"{self.channel} channels of correlation {correlation:g}")
        field = "complex" if self.modulation.complex else "real"
        self.summary = (
            f"Detect {streams} {self.modulation.name.upper()} symbols from {antennas} {field} receive "
            f"antennas at {snr:g} dB, {kind}."
        )

    def _known(
        self, streams: int, antennas: int, data: str | Path | None, fixed: Mapping[str, Tensor]
    ) -> dict[str, Tensor] | None:
        """Fixed channels by what they are for, real, (count, N, K); None where each sample has its own."""
        if "channel" in fixed:
            return dict.fromkeys(("training", "validation", "test"), fixed["channel"])
        if data is not None:
            channels = read_channels(data)
            if channels.is_complex() and not self.modulation.complex:
                raise ValueError(
                    f"{data} holds complex channels, and {self.modulation.name} is real: use qpsk, 16qam or 64qam"
                )
            if self.modulation.complex:
                channels = as_real(channels.to(channels.dtype.to_complex()))
            tenth = len(channels) // 10
            if tenth == 0:
                return dict.fromkeys(("training", "validation", "test"), channels)
            parts = channels.split([len(channels) - 2 * tenth, tenth, tenth])
            return dict(zip(("training", "validation", "test"), parts, strict=True))
        if self.channel not in FIXED or streams < 1 or antennas < streams:  # too few are refused below
            return None
        drawn = fixed_channel(self.channel, antennas, streams, self.correlation, self.modulation, self.seed)
        return dict.fromkeys(("training", "validation", "test"), drawn)

    @classmethod
    def small(cls) -> Detection:
        return cls(streams=4, antennas=8, held_out=60)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Sizes, alphabet and channel; the SNR is the test's, and the same weights serve for all."""
        channel = options["channel"] + ("" if options["channel"] == "iid" else f"{options['correlation']:g}")
        return f"{options['streams']}x{options['antennas']}-{options['modulation']}-{channel}"

    def linear(self, data: Received) -> Tensor:
        """LMMSE, told the channel and the noise variance of every sample."""
        return lmmse(data, unbiased=True)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Detectors that go step by step and that do not; the exact one where it can be afforded."""
        return detectors(self.levels, self.streams * (2 if self.modulation.complex else 1), self.modulation.bits)

    def draw(
        self, batch: int, generator: torch.Generator, *, low: float | None = None, high: float | None = None
    ) -> Samples:
        """Samples of this task, or with other ends of the SNR, in dB, for a while (a curriculum)."""
        return self._draw(
            "training", batch, generator, self.low if low is None else low, self.high if high is None else high
        )

    def at(self, snr: float, count: int, generator: torch.Generator) -> Samples:
        """Test samples at a SNR, in dB."""
        return self._draw("test", count, generator, snr, snr)

    def shifts(self) -> Sequence[Shift]:
        """More and less noise; a receiver whose knowledge of the channel is wrong; a receiver that misjudges the
        noise.
        """
        count = min(len(self.test[0].target), 4000)

        def drawn(snr: float, salt: int) -> Samples:
            return self.at(snr, count, torch.Generator().manual_seed(3_000_017 + 1009 * salt + self.seed))

        def misjudged(error: float) -> Samples:
            (y, channel, noise), x = drawn(self.snr, 100)
            other = torch.randn(channel.shape, generator=torch.Generator().manual_seed(4_000_037 + self.seed))
            scale = (
                error * (channel.square().mean((1, 2), keepdim=True) / other.square().mean((1, 2), keepdim=True)).sqrt()
            )
            return Samples(Received(y, channel + scale * other, noise), x)

        def mistaken(factor: float) -> Samples:
            (y, channel, noise), x = drawn(self.snr, 200)
            assert noise is not None
            return Samples(Received(y, channel, factor * noise), x)

        return (
            Shift(
                "SNR in dB",
                SWEEP,
                lambda v: drawn(v, SWEEP.index(v)),
                None,
                f"Test samples at each SNR; training had {self.low:g} to {self.high:g} dB.",
            ),
            Shift(
                "error of the known channel, relative",
                (0.0, 0.05, 0.1, 0.2),
                misjudged,
                0.0,
                "The receiver knows H + E, and H was the channel.",
            ),
            Shift(
                "known over true noise variance",
                (0.25, 0.5, 1.0, 2.0, 4.0),
                mistaken,
                1.0,
                "A detector that needs the noise is told a wrong variance.",
            ),
        )

    def measurement(self) -> Measurement:
        return Measurement(
            RowsOfData(),
            lambda data: Gaussian(data.noise_variance.sqrt().reshape(-1)),
            transformations=Permutations(),
        )

    def _draw(self, part: str, batch: int, generator: torch.Generator, low: float, high: float) -> Samples:
        channel = self._channels(part, batch, generator)
        streams, antennas = channel.shape[2], channel.shape[1]
        x = self.levels[torch.randint(len(self.levels), (batch, streams), generator=generator)]
        ends = 10 ** (low / 10), 10 ** (high / 10)
        ratio = ends[0] + (ends[1] - ends[0]) * torch.rand(batch, 1, generator=generator)
        variance = noise_variance(channel, ratio)
        y = apply(channel, x) + variance.sqrt() * torch.randn(batch, antennas, generator=generator)
        return Samples(Received(y, channel, variance), x)

    def _channels(self, part: str, batch: int, generator: torch.Generator) -> Tensor:
        if self.known is not None:
            known = self.known[part]
            return known if len(known) == 1 else known[torch.randint(len(known), (batch,), generator=generator)]
        dtype = torch.complex64 if self.modulation.complex else torch.float32
        if self.channel == "kronecker":
            drawn = kronecker_channels(batch, self.antennas, self.streams, self.correlation, generator, dtype)
        else:
            drawn = iid_channels(batch, self.antennas, self.streams, generator, dtype)
        return as_real(drawn) if self.modulation.complex else drawn

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """-log p(s | x') of the level s that was sent, p(s | x') = softmax_s(-4 (x' - s)^2 / d^2), d between
        neighbours: what decisions care for.
        """
        levels = self.levels.to(estimate)
        score = (-4 / (levels[1] - levels[0]).square()) * (estimate.unsqueeze(-1) - levels).square()
        return cross_entropy(score.flatten(0, 1), decide(target.to(estimate), levels).flatten())

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        """(batch, 2): wrong bits, labelled by Gray's code, and how many there are. The nearest level decides."""
        levels = self.levels.to(estimate)
        found, sent = decide(estimate, levels), decide(samples.target.to(estimate), levels)
        errors = wrong_bits(self.modulation.order).to(found.device)[found, sent].sum(1).float()
        errors = errors.masked_fill(estimate.isnan().any(1), float("nan"))
        return torch.stack([errors, torch.full_like(errors, self.modulation.bits * found.shape[1])], dim=1)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """The symbol error rate, where a symbol has more than one bit: a complex symbol is wrong if either of its parts
        is.
        """
        if self.modulation.name == "bpsk":
            return {}
        wrong = []
        for estimate, batch in zip(estimates, batches, strict=True):
            levels = self.levels.to(estimate)
            parts = decide(estimate, levels) != decide(batch.target[: len(estimate)].to(estimate), levels)
            wrong.append(parts.unflatten(1, (2, self.streams)).any(1).float())
        return {f"{SER.name}, {SER.unit}": float(torch.cat(wrong).mean())}

    def rows(self, data: Received) -> Tensor:
        """y and H side by side, for methods that know vectors only; y alone where the channel is always the same."""
        if self.fixed_tensors():
            return data.y
        return torch.cat([data.y, data.channel.flatten(1).expand(data.y.shape[0], -1)], dim=1)

    def fixed_tensors(self) -> dict[str, Tensor]:
        return (
            {"channel": self.known["training"]} if self.known is not None and len(self.known["training"]) == 1 else {}
        )

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        if identity["channel"] not in FIXED:
            return {}
        antennas, streams, correlation = (identity[name] for name in ("antennas", "streams", "correlation"))
        modulation = find_modulation(identity["modulation"])
        drawn = fixed_channel(identity["channel"], antennas, streams, correlation, modulation, identity["seed"])
        return {"channel": drawn}

    def identity(self) -> dict[str, Any]:
        own = {
            "name": self.name,
            "streams": self.streams,
            "antennas": self.antennas,
            "modulation": self.modulation.name,
            "channel": self.channel,
            "correlation": self.correlation,
            "snr": self.snr,
            "low": self.low,
            "high": self.high,
            "seed": self.seed,
        }
        if self.known is not None:
            own["fingerprint"] = hashlib.sha256(self.known["training"].contiguous().numpy().tobytes()).hexdigest()[:16]
        return own


def check_snr(name: str, value: float) -> float:
    """A SNR that noise can be drawn at.

    Raises:
        ValueError: not finite: at minus infinity there is no signal, at infinity no noise.
    """
    if not isfinite(value):
        raise ValueError(f"{name} must be a finite number of dB; got {value}")
    return value
