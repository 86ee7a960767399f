"""Decoding of words of a binary linear code from the log-likelihood ratios of their bits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from unrolling.algorithms.graphs.binary_matrices import generator_matrix, syndrome
from unrolling.algorithms.graphs.decoding import MinSum, ParityBeliefPropagation, decode_words
from unrolling.algorithms.graphs.parity_checks import check_parity_check
from unrolling.algorithms.graphs.reprocessing import ordered_statistics
from unrolling.files.parity_check import read_parity_check
from unrolling.tasks.base import BER, Samples, Shift, Task
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.communications.codes import MATRICES, parity_check
from unrolling.tasks.communications.detection import GIVEN, check_snr
from unrolling.tasks.metrics import Ratio

FER = Ratio("FER", "errors per word", "lower", "word", logarithmic=True)
SWEEP = (2.0, 3.0, 4.0, 5.0, 6.0)  # dB
SEARCHED = 2000  # words that ordered statistics decoding is given in a comparison


class Decoding(Task):
    """y = s + n, s the signs 1 - 2 x of a word x of the code, n ~ N(0, sigma^2): find x from l = 2 y / sigma^2.

    The signal-to-noise ratio is E_b / N_0 = 1 / (2 R sigma^2), R = k / n the rate of the code. Words are random. A word
    with a wrong bit is a wrong word. Estimates are of any scale; a bit is 0 where they are positive. Targets are the
    signs.

    Args:
        code: ``bch-n-k``, the primitive BCH code, or ``ldpc-n-k``, a regular code with three checks for each bit made
            by progressive edge growth.
        matrix: ``standard``, for a BCH code the shifts of its check polynomial; ``reduced``, as many rows of least
            weight with few short cycles; ``overcomplete``, all shifts of one row of least weight.
        snr: of validation and test words, in dB.
        low: the least of training words.
        high: the greatest.
        seed: of the held-out words.
        held_out: number of validation and of test words.
        data: a parity-check matrix of your own, an ``.alist`` or ``.npy`` file.
        fixed: tensors of a weights file; its ``matrix``, if any, is used.

    Raises:
        ValueError: an unknown code or matrix, a SNR that is not finite, a file that holds no parity-check matrix, a
            code of a single word.
    """

    name = "decoding"
    given = "log-likelihood ratios of the bits of coded words, and the code"
    sought = "the words that were sent"
    metric = FER
    threads = 1
    options: Mapping[str, Any] = {
        "code": "bch-63-45",
        "matrix": "reduced",
        "snr": 5.0,
        "low": 4.0,
        "high": 6.0,
    }
    notes = (
        "SNR is E_b / N_0. All methods are told the noise variance, which the ratios hold.",
        "Ordered statistics decoding searches among a thousand words, and is nearly maximum likelihood for a code of "
        "this "
        "length: what all message passing is held against.",
    )
    references = ("hu2005regular",)

    def __init__(
        self,
        code: str = "bch-63-45",
        matrix: str = "reduced",
        snr: float = 5.0,
        low: float = 4.0,
        high: float = 6.0,
        seed: int = 0,
        held_out: int = 20_000,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.snr, self.low, self.high = check_snr("snr", snr), check_snr("low", low), check_snr("high", high)
        if low > high:
            raise ValueError(f"low is {low:g} dB and high is {high:g} dB; training SNRs go from low to high")
        own = (fixed or {}).get("matrix")
        if own is None and data is not None:
            own = read_parity_check(data)
        if own is None and code == GIVEN:
            raise ValueError(f"code {GIVEN!r} is one of your own: name the file of its matrix (data)")
        self.code, self.kind, self.seed = (code, matrix, seed) if own is None else (GIVEN, GIVEN, seed)
        self.matrix = parity_check(code, matrix) if own is None else check_parity_check(own)
        self.basis = generator_matrix(self.matrix)
        if len(self.basis) == 0:
            raise ValueError("the parity-check matrix leaves the word of zeros alone: nothing can be sent")
        self.rate = len(self.basis) / self.matrix.shape[1]
        generator = torch.Generator().manual_seed(7_000_003 + seed)
        self.validation = [self.at(snr, held_out, generator)]
        self.test = [self.at(snr, held_out, generator)]
        self.timing = Samples(self.test[0].data[:1000], self.test[0].target[:1000])
        k, n = self.basis.shape
        self.summary = f"Decode words of {n} bits, {k} of them free, at {snr:g} dB ({self.code})."

    @classmethod
    def small(cls) -> Decoding:
        return cls(code="bch-15-7", matrix="standard", held_out=60)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Code and matrix; the SNR is the test's, and the same weights serve for all."""
        return options["code"] + ("" if options["matrix"] == MATRICES[0] else f"-{options['matrix']}")

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Belief propagation and min-sum, to their ends and until a word of the code, and a search."""
        return [
            Iterative(
                "belief propagation",
                lambda damping: ParityBeliefPropagation(self.matrix, damping=damping),
                (0.0, 0.3, 0.6, 0.8),
                50,
                setting="damping",
            ),
            Method(
                "belief propagation, stops at a word",
                lambda damping: partial(decode_words, ParityBeliefPropagation(self.matrix, damping=damping)),
                (0.0, 0.3, 0.6, 0.8),
                "damping {setting}, at most 50 iterations",
            ),
            Method(
                "normalised min-sum, stops at a word",
                lambda scale: partial(decode_words, MinSum(self.matrix, scale=scale)),
                (0.3, 0.5, 0.75, 1.0),
                "scale {setting}, at most 50 iterations",
            ),
            Method("decisions bit by bit", lambda _: lambda llr: llr, note="the code is not used", linear=True),
            Method(
                "ordered statistics",
                lambda order: lambda llr: 1 - 2 * ordered_statistics(llr, self.matrix, order).float(),
                (1, 2),
                "order {setting}",
                limit=SEARCHED,
            ),
        ]

    def draw(
        self, batch: int, generator: torch.Generator, *, low: float | None = None, high: float | None = None
    ) -> Samples:
        """Words at signal-to-noise ratios that are uniform between two ends, in dB."""
        low, high = self.low if low is None else low, self.high if high is None else high
        return self._sent(batch, low + (high - low) * torch.rand(batch, 1, generator=generator), generator)

    def at(self, snr: float, count: int, generator: torch.Generator) -> Samples:
        """Words at a SNR, in dB."""
        return self._sent(count, torch.full((1, 1), float(snr)), generator)

    def _sent(self, count: int, snr: Tensor, generator: torch.Generator) -> Samples:
        free = torch.randint(2, (count, len(self.basis)), generator=generator).float()
        signs = 1 - 2 * (free @ self.basis.float()).remainder(2)
        variance = 1 / (2 * self.rate * 10 ** (snr / 10))
        received = signs + variance.sqrt() * torch.randn(signs.shape, generator=generator)
        return Samples(2 * received / variance, signs)

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of the bits: the mean of log(1 + exp(-s l))."""
        return softplus(-target * estimate).mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        """(batch, 2): whether a word is wrong, and one."""
        wrong = ((estimate < 0) != (samples.target < 0)).any(1).double()
        wrong = wrong.masked_fill(estimate.isnan().any(1), float("nan"))
        return torch.stack([wrong, torch.ones_like(wrong)], dim=1)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """The bit error rate, and how many words are none of the code: errors that a receiver sees."""
        wrong, seen = [], []
        for estimate, batch in zip(estimates, batches, strict=True):
            wrong.append(((estimate < 0) != (batch.target[: len(estimate)] < 0)).float().flatten())
            seen.append(syndrome(estimate < 0, self.matrix).any(1).float())
        return {
            f"{BER.name}, {BER.unit}": float(torch.cat(wrong).mean()),
            "words outside of the code, share": float(torch.cat(seen).mean()),
        }

    def shifts(self) -> Sequence[Shift]:
        """More and less noise, and ratios of a receiver that misjudges it."""
        count = min(len(self.test[0].target), 4000)

        def drawn(snr: float) -> Samples:
            return self.at(snr, count, torch.Generator().manual_seed(8_000_009 + self.seed + SWEEP.index(snr)))

        def mistaken(factor: float) -> Samples:
            llr, target = self.at(self.snr, count, torch.Generator().manual_seed(9_000_011 + self.seed))
            return Samples(llr / factor, target)

        return (
            Shift(
                "SNR in dB",
                SWEEP,
                drawn,
                None,
                f"Test words at each SNR; training had {self.low:g} to {self.high:g} dB.",
            ),
            Shift(
                "known over true noise variance",
                (0.25, 0.5, 1.0, 2.0, 4.0),
                mistaken,
                1.0,
                "The ratios are of a receiver that is told a wrong variance.",
            ),
        )

    def fixed_tensors(self) -> dict[str, Tensor]:
        return {"matrix": self.matrix} if self.code == GIVEN else {}

    def identity(self) -> dict[str, Any]:
        own = {
            "name": self.name,
            "code": self.code,
            "matrix": self.kind,
            "snr": self.snr,
            "low": self.low,
            "high": self.high,
            "seed": self.seed,
        }
        if self.code == GIVEN:
            own["fingerprint"] = hashlib.sha256(self.matrix.contiguous().numpy().tobytes()).hexdigest()[:16]
        return own
