"""Detection of symbol sequences sent over a channel with a finite memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolling.algorithms.detection.mimo import pam
from unrolling.algorithms.detection.trellis import Observed, check_trellis
from unrolling.files.decoding import Arrays
from unrolling.tasks.base import SER, Samples, Shift, Task
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.communications.baselines import sequence_detectors
from unrolling.tasks.communications.detection import check_snr

SWEEP = (-2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0)  # dB


class SequenceDetection(Task):
    """y_t = sum_j h_j a_(t - j) + n_t, h_j = exp(-g j), j = 0 to L - 1, n_t ~ N(0, sigma^2): find a, its entries drawn
    from an alphabet.

    The signal-to-noise ratio is 1 / sigma^2 for symbols of mean square one: the gain of the taps does not count, which
    is how ViterbiNet's authors state it (Shlezinger, Farsad, Eldar and Goldsmith 2020, arXiv:1905.10750). Training has
    ``symbols`` symbols, drawn once, and takes windows of them; in each block of ``block`` symbols the taps are h_j (1 +
    e_j), e_j ~ N(0, csi_error), so that with ``csi_error`` above zero it sees several channels and never the true one.
    Held-out sequences went through the true channel; what a receiver with an imperfect estimate believes is drawn for
    each of their blocks with ``receiver_error`` in the place of ``csi_error``. Targets are states of the trellis, which
    hold the last L symbols; the metric asks for the newest one.

    Args:
        memory: L, taps.
        decay: g >= 0.
        order: M, levels of the alphabet.
        snr: in dB, of training, validation and test.
        csi_error: variance of the relative error of the taps in training.
        receiver_error: the same for what a receiver with an imperfect estimate takes for the taps.
        symbols: number of training symbols.
        window: symbols in a training sequence.
        block: symbols in a block, and in a held-out sequence.
        seed: of all of them.
        held_out: number of validation and of test symbols.
        data: a ``.npy`` file with taps of your own (L,), instead of exponential ones.
        fixed: tensors of a weights file; its ``taps`` are used.

    Raises:
        ValueError: a trellis too large or too small, a decay or variance below zero, a SNR that is not finite, a window
            that is longer than a block, a file that holds no taps.
    """

    name = "sequence"
    given = "a sequence that was received over a channel with memory"
    sought = "the symbols that were sent"
    metric = SER
    threads = 1
    vectors = False
    options: Mapping[str, Any] = {
        "memory": 4,
        "decay": 0.5,
        "order": 2,
        "snr": 8.0,
        "csi_error": 0.0,
        "receiver_error": 0.1,
        "symbols": 5000,
    }
    notes = (
        "The network is told neither the channel nor the noise, and learns from a few thousand symbols of one channel "
        "at one SNR; Viterbi and BCJR are told both.",
        "SNR is 1 / sigma^2: the energy of the taps does not count.",
    )

    def __init__(
        self,
        memory: int = 4,
        decay: float = 0.5,
        order: int = 2,
        snr: float = 8.0,
        csi_error: float = 0.0,
        receiver_error: float = 0.1,
        symbols: int = 5000,
        window: int = 50,
        block: int = 500,
        seed: int = 0,
        held_out: int = 50_000,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not (0 <= decay < float("inf")):
            raise ValueError(f"decay must be finite and at least 0; got {decay}")
        for name, value in (("csi_error", csi_error), ("receiver_error", receiver_error)):
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} is a variance, finite and at least 0; got {value}")
        if not 1 <= window <= block:
            raise ValueError(f"a window has at least 1 symbol and at most those of a block, {block}; got {window}")
        if symbols < block or held_out < block:
            raise ValueError(
                f"symbols and held_out are at least one block, {block} symbols; got {symbols} and {held_out}"
            )
        taps = (fixed or {}).get("taps")
        if taps is None:
            taps = (
                torch.exp(-decay * torch.arange(memory, dtype=torch.float64)).float().unsqueeze(0)
                if data is None
                else read_taps(data)
            )
        memory = taps.shape[1]
        self.trellis = check_trellis(order, memory)
        self.levels, self.taps = pam(order).float(), taps
        self.decay, self.snr, self.csi_error, self.receiver_error = (
            decay,
            check_snr("snr", snr),
            csi_error,
            receiver_error,
        )
        self.symbols, self.window, self.block, self.seed = symbols, window, block, seed
        generator = torch.Generator().manual_seed(5_000_011 + seed)
        self._training = self._blocks(symbols // block, generator, csi_error, snr)
        self.validation = [self._blocks(held_out // block, generator, 0.0, snr)]
        self.test = [self._blocks(held_out // block, generator, 0.0, snr)]
        self.timing = self.test[0]
        learned = f"{symbols:,} training symbols" + (
            f" over channels whose taps are off by {csi_error:g} (variance)" if csi_error else ""
        )
        self.summary = f"Detect {order} levels sent over a channel of {memory} taps at {snr:g} dB, from {learned}."

    @classmethod
    def small(cls) -> SequenceDetection:
        return cls(memory=2, symbols=200, window=20, block=50, held_out=100)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Taps, noise, and how well training knew the channel."""
        return f"{options['memory']}taps-decay{options['decay']:g}-{options['snr']:g}dB" + (
            f"-csi{options['csi_error']:g}" if options["csi_error"] else ""
        )

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Viterbi and BCJR."""
        return sequence_detectors(self.levels, self.trellis.memory)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Windows of the training symbols."""
        (y, *known), states = self._training.data, self._training.target
        block = torch.randint(y.shape[0], (batch,), generator=generator)
        first = torch.randint(self.block - self.window + 1, (batch, 1), generator=generator)
        place = first + torch.arange(self.window)
        return Samples(
            Observed(y[block].gather(1, place), *(t if t.shape[0] == 1 else t[block] for t in known)),
            states[block].gather(1, place),
        )

    def at(self, snr: float, symbols: int, generator: torch.Generator) -> Samples:
        """Test sequences at a SNR, in dB."""
        return self._blocks(max(1, symbols // self.block), generator, 0.0, snr)

    def _blocks(self, count: int, generator: torch.Generator, csi_error: float, snr: float) -> Samples:
        """Sequences of one block each."""
        memory = self.trellis.memory
        index = torch.randint(self.trellis.levels, (count, self.block + memory - 1), generator=generator)
        true = self.taps if csi_error == 0 else self._misjudged(count, generator, csi_error)
        believed = self._misjudged(count, generator, self.receiver_error)
        variance = torch.full((1, 1), 10 ** (-snr / 10))
        states = self.trellis.of(index)
        sent = self.levels[self.trellis.symbols()][states]  # (count, block, L)
        y = (sent * true.unsqueeze(1)).sum(2) + variance.sqrt() * torch.randn(count, self.block, generator=generator)
        return Samples(Observed(y, true, believed, variance), states)

    def _misjudged(self, count: int, generator: torch.Generator, variance: float) -> Tensor:
        return self.taps * (1 + variance**0.5 * torch.randn(count, self.taps.shape[1], generator=generator))

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of the states, estimates (batch, T, states) being their logarithmic scores."""
        return cross_entropy(estimate.flatten(0, 1), target.flatten())

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        """(batch, 2): wrong newest symbols of each sequence, and how many there are. The state with the highest score
        decides.

        Estimates are scores (batch, T, states), or states that have been decided (batch, T).
        """
        found = estimate.argmax(2) if estimate.ndim == 3 else estimate
        wrong = self.trellis.newest(found) != self.trellis.newest(samples.target)
        errors = wrong.sum(1).float()
        errors = errors.masked_fill(estimate.isnan().flatten(1).any(1), float("nan"))
        return torch.stack([errors, torch.full_like(errors, wrong.shape[1])], dim=1)

    def shifts(self) -> Sequence[Shift]:
        """More and less noise than in training."""

        def drawn(snr: float) -> Samples:
            return self.at(snr, 20_000, torch.Generator().manual_seed(6_000_011 + self.seed + SWEEP.index(snr)))

        return (
            Shift(
                "SNR in dB", SWEEP, drawn, self.snr, "Test sequences at each SNR; what was learned was learned at one."
            ),
        )

    def rows(self, data: Observed) -> Tensor:
        """The sequences."""
        return data.y

    def fixed_tensors(self) -> dict[str, Tensor]:
        return {"taps": self.taps}

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "memory": self.trellis.memory,
            "decay": self.decay,
            "order": self.trellis.levels,
            "snr": self.snr,
            "csi_error": self.csi_error,
            "receiver_error": self.receiver_error,
            "symbols": self.symbols,
            "window": self.window,
            "block": self.block,
            "seed": self.seed,
        }


def read_taps(path: str | Path) -> Tensor:
    """Taps (1, L) from a ``.npy`` file of real numbers, newest symbol first.

    Raises:
        ValueError: not a readable array of finite real numbers, not a vector, or all zero.
    """
    try:
        content = Arrays(Path(path)).only
        if np.iscomplexobj(content):
            raise TypeError("it is complex")
        taps = torch.from_numpy(np.asarray(content, dtype=np.float32))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a .npy file of real numbers: {error}") from error
    if taps.ndim != 1 or taps.numel() == 0:
        raise ValueError(f"{path} has the shape {tuple(taps.shape)}; taps are a vector (L,)")
    if not bool(torch.isfinite(taps).all()) or not bool((taps != 0).any()):
        raise ValueError(f"{path} holds no usable taps: they must be finite, and not all zero; got {taps.tolist()}")
    return taps.unsqueeze(0)
