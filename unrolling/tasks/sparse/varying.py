"""Sparse recovery where the dictionary changes from one draw to the next and is part of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import lipschitz
from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.sparse.varying import Sensed, VaryingISTA
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.measurements import Measurement, RowsOfData
from unrolling.tasks.sparse.baselines import FIRST_WEIGHT, RATE, WEIGHTS
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary
from unrolling.tasks.sparse.signals import SparseTask, measured
from unrolling.tasks.transformations import Permutations

HELD = 20  # dictionaries of each held-out set
MARGIN = 1.05  # of a step size that is safe for all variations: noise on A raises |A|^2 a little


class VaryingDictionary(SparseTask):
    """y = A' x + e, data (y, A'), A' a variation of A: its columns permuted, and noise added to it; recover x.

    Every training batch shares a variation of its own; held-out sets have 20, none of which is trained on. As in
    ``Recovery``, x is Bernoulli(p) times N(0, 1) and e white with standard deviation std(y_i) 10^(-SNR/20).

    Args:
        permute: 1 to permute the columns, 0 not to.
        dictionary_snr: |A|^2 / |noise|^2 in dB of the noise added to A, columns then normalised; infinity for none.
        held_out: number of validation and of test samples.
        signals: the arguments of ``SparseTask``; its dictionary is A.
    """

    name = "varying_dictionary"
    given = "few measurements of sparse vectors, with a matrix each"
    sought = "the sparse vectors"
    vectors = False
    options: Mapping[str, Any] = {
        "m": 250,
        "n": 500,
        "probability": 0.1,
        "snr": float("inf"),
        "permute": 1,
        "dictionary_snr": 25.0,
    }
    grains = 1  # the samples of a draw share a random dictionary

    def __init__(self, permute: int = 1, dictionary_snr: float = 25.0, held_out: int = 1000, **signals: Any) -> None:
        if permute not in (0, 1):
            raise ValueError(f"permute is 0 or 1; got {permute}")
        if dictionary_snr != dictionary_snr:
            raise ValueError(f"dictionary_snr must be a number of dB, or inf for no noise; got {dictionary_snr}")
        super().__init__(**signals)
        self.permute, self.dictionary_snr = bool(permute), dictionary_snr
        generator = torch.Generator().manual_seed(1_000_003 + self.seed)
        count = min(HELD, held_out)
        shares = [held_out // count + (k < held_out % count) for k in range(count)]
        self.validation = [self.draw(share, generator) for share in shares]
        self.test = [self.draw(share, generator) for share in shares]
        self.timing = self.draw(held_out, generator)
        varied = [
            *(["permuted"] if permute else []),
            *([f"noisy at {dictionary_snr:g} dB"] if dictionary_snr != float("inf") else []),
        ]
        m, n = self.dictionary.shape
        self.summary = (
            f"Recover {n} unknowns, {self.probability:.0%} of them non-zero, from {m} measurements with a "
            "dictionary that is part of the data"
        ) + (f": one dictionary, {' and '.join(varied)}, anew for every draw." if varied else ".")

    def vary(self, generator: torch.Generator) -> Tensor:
        """A variation of A, (m, n)."""
        varied = self.dictionary
        if self.permute:
            varied = varied[:, torch.randperm(varied.shape[1], generator=generator)]
        if self.dictionary_snr != float("inf"):
            noise = torch.randn(varied.shape, generator=generator)
            varied = varied + noise * (
                torch.linalg.vector_norm(varied) / torch.linalg.vector_norm(noise) * 10 ** (-self.dictionary_snr / 20)
            )
            varied = varied / torch.linalg.vector_norm(varied, dim=0)
        return varied

    def measurement(self) -> Measurement:
        return Measurement(RowsOfData(), self.noise_of(), transformations=Permutations())

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Signals measured with one new variation, which is the data's ``dictionary`` (1, m, n)."""
        dictionary = self.vary(generator)
        n = dictionary.shape[1]
        x = torch.randn(batch, n, generator=generator) * (torch.rand(batch, n, generator=generator) < self.probability)
        return Samples(Sensed(measured(x, dictionary, self.snr, generator), dictionary.unsqueeze(0)), x)

    @classmethod
    def small(cls) -> VaryingDictionary:
        return cls(m=10, n=20, held_out=24)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Sizes, density and noise of signals and dictionary."""
        return (
            f"{options['m']}x{options['n']}-p{options['probability']:g}-snr{options['snr']:g}"
            f"{'-permuted' if options['permute'] else ''}-dictionary{options['dictionary_snr']:g}"
        )

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The lasso of each dictionary: ISTA and FISTA know every dictionary that they are given, at no cost."""

        def ista(weight: float) -> VaryingISTA:
            return VaryingISTA(self.dictionary.shape[0], weight, MARGIN * lipschitz(self.dictionary))

        def continued(weight: float) -> FISTA:
            return FISTA(ista(weight), continuation=(max(FIRST_WEIGHT / weight, 1.0), RATE))

        return [
            Iterative("ISTA", ista, WEIGHTS, 3000, tuning=1000),
            Iterative("FISTA", lambda w: FISTA(ista(w)), WEIGHTS, 1000),
            Iterative("FISTA with continuation", continued, WEIGHTS, 1000),
        ]

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        return {"dictionary": gaussian_dictionary(identity["m"], identity["n"], identity["seed"])}

    def identity(self) -> dict[str, Any]:
        own = {"permute": int(self.permute), "dictionary_snr": str(self.dictionary_snr)}
        return {**super().identity(), **own}
