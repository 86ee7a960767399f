"""Sparse recovery from random measurements: the literature's synthetic benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.sparse.ista import Prox
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.core import Unrolled
from unrolling.operators import Matrix
from unrolling.prox import BlockSoftThreshold, nonnegative, soft_threshold
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.exhibits import Claim
from unrolling.tasks.measurements import Measurement
from unrolling.tasks.sparse import baselines, theory
from unrolling.tasks.sparse.dictionaries import drawn_dictionary
from unrolling.tasks.sparse.signals import SparseTask, measured
from unrolling.tasks.transformations import Permutations

QUIET = 40.0  # dB of SNR from which on the densest signals decide the mean error
FEW = 10_000  # entries of a dictionary under which a product is not worth a second thread
# For the lasso of other libraries, around the best one on validation data; an exact solver takes smaller ones besides,
# as without noise the best weight is the smallest.
LASSO_WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
NOTES = (
    "Coordinate descent changes one coordinate in a step, at O(n), where a step of ISTA costs O(m n) or O(n^2): "
    "compare times, not iterations.",
    "VAMP that is told nothing has a prior fitted to each signal and takes the noise from the residual, as networks "
    "unrolled from message passing do: it is the classical method to hold these against.",
)


class Recovery(SparseTask):
    """y = A x + e, x Bernoulli(p) times N(0, 1), e white with standard deviation std(y_i) 10^(-SNR/20); recover x.

    The dictionary is Gaussian, or has a given condition number, or blocks of coherent columns. Non-zeros may come in
    groups of neighbours, and be positive.

    Args:
        m: measurements.
        n: unknowns.
        probability: p, the probability of a non-zero.
        densest: where it is not 0, every signal has a p of its own, drawn evenly between ``probability`` and this.
        snr: signal-to-noise ratio in dB per sample; infinity for none.
        condition: condition number of the dictionary, at least 1 (``conditioned_dictionary``); 0 leaves the Gaussian
            one as it is.
        coherence: inner product of two columns of a block (``coherent_dictionary``); 0 for none.
        block: columns of a block; divides n.
        group: so many neighbours are zero or not together; divides n.
        nonnegative: 1 for |x| in the place of x.
        seed: of the dictionary and the held-out samples.
        held_out: number of validation and of test samples.
        data: a ``.npy`` file with your own dictionary (m, n), instead of a Gaussian one; its columns are normalised.
        fixed: tensors of a weights file; its ``dictionary`` is used.
    """

    name = "recovery"
    given = "few measurements of a sparse vector, and their matrix"
    sought = "the sparse vector"
    options: Mapping[str, Any] = {
        "m": 250,
        "n": 500,
        "probability": 0.1,
        "snr": float("inf"),
        "condition": 0.0,
        "coherence": 0.0,
        "block": 5,
        "group": 1,
        "nonnegative": 0,
        "densest": 0.0,
    }

    def __init__(
        self,
        m: int = 250,
        n: int = 500,
        probability: float = 0.1,
        snr: float = float("inf"),
        condition: float = 0.0,
        coherence: float = 0.0,
        block: int = 5,
        group: int = 1,
        nonnegative: int = 0,
        seed: int = 0,
        held_out: int = 1000,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        densest: float = 0.0,
    ) -> None:
        if densest and not probability < densest <= 1:
            raise ValueError(f"densest is {densest}; it is 0, or more than probability = {probability} and at most 1")
        _check_structure(m, n, condition, coherence, block, group, nonnegative, drawn=fixed is None and data is None)
        super().__init__(
            m,
            n,
            probability,
            snr,
            seed,
            data,
            fixed,
            lambda m, n, seed: drawn_dictionary(m, n, condition, coherence, block, seed),
        )
        m, n = self.dictionary.shape
        if n % group:
            raise ValueError(f"group is {group}, which does not divide the {n} unknowns")
        self.densest = densest
        self.condition, self.coherence, self.block = condition, coherence, block
        self.group, self.nonnegative = group, bool(nonnegative)
        generator = torch.Generator().manual_seed(1_000_003 + seed)
        self.validation = [self.draw(held_out, generator)]
        self.test = [self.draw(held_out, generator)]
        self.timing = self.test[0]
        noise = "without noise" if snr == float("inf") else f"at {snr:g} dB"
        kind = f" in groups of {group}" if group > 1 else ""
        sign = "non-negative " if nonnegative else ""
        through = (
            f", condition number {condition:g},"
            if condition
            else f", columns coherent by {coherence:g},"
            if coherence
            else ""
        )
        share = f"{probability:.0%} to {densest:.0%}" if densest else f"{probability:.0%}"
        self.summary = (
            f"Recover {n} {sign}unknowns, {share} of them non-zero{kind}, from {m} random "
            f"measurements{through} {noise}."
        )

    def measurement(self) -> Measurement:
        return Measurement(
            LeastSquares(Matrix(self.dictionary)),
            self.noise_of(),
            transformations=Permutations() if self.independent else None,
        )

    def draw(
        self,
        batch: int,
        generator: torch.Generator,
        *,
        snr: float | None = None,
        probability: float | None = None,
        denser: float = 1.0,
    ) -> Samples:
        """Signals of this task, or with another noise or density for a while (a curriculum); ``denser`` multiplies the
        density of every signal by a factor of its own, drawn evenly between 1 and this. Up to an SNR of 40 dB, where
        noise decides the error of all signals and not the number of non-zeros that of a few, it changes nothing.
        """
        snr, n = self.snr if snr is None else snr, self.dictionary.shape[1]
        x = torch.randn(batch, n, generator=generator)
        density: float | Tensor = self.probability if probability is None else probability
        if self.densest and probability is None:
            density = density + (self.densest - density) * torch.rand(batch, 1, generator=generator)
        if denser != 1 and snr > QUIET:
            density = density * (1 + (denser - 1) * torch.rand(batch, 1, generator=generator))
        present = torch.rand(batch, n // self.group, generator=generator) < density
        x = x * (present if self.group == 1 else present.repeat_interleave(self.group, dim=1))
        if self.nonnegative:
            x = x.abs()
        return Samples(measured(x, self.dictionary, snr, generator), x)

    @property
    def density(self) -> float:
        """The mean share of entries that are not zero."""
        return (self.probability + self.densest) / 2 if self.densest else self.probability

    @property
    def independent(self) -> bool:
        """Whether all entries are independent and of one Bernoulli-Gaussian distribution, which some methods are
        told.
        """
        return self.group == 1 and not self.nonnegative and not self.densest

    def many(self) -> Sequence[Samples]:
        """20,000 signals: the densest have half as many non-zeros again as the mean."""
        generator = torch.Generator().manual_seed(4_000_037 + self.seed)
        return [self.draw(1000, generator) for _ in range(20)]

    @property
    def failure(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """-40 dB, and no nearer than 10 dB to what the noise allows."""
        return max(-40.0, 10.0 - self.snr)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """F1 of the support, the harmonic mean of precision and recall over all entries of all samples: 1 when exactly
        the non-zeros are found.
        """
        found = right = there = 0
        for estimate, batch in zip(estimates, batches, strict=True):
            own, true = estimate != 0, batch.target[: len(estimate)] != 0
            found, right, there = found + int(own.sum()), right + int((own & true).sum()), there + int(true.sum())
        return {"support F1": 2 * right / max(1, found + there)}

    def shifts(self) -> Sequence[Shift]:
        """More noise, denser signals, a measurement that is not quite the dictionary's, another amplitude."""
        count = min(len(self.test[0].target), 500)

        def drawn(snr: float | None = None, probability: float | None = None) -> Samples:
            return self.draw(
                count, torch.Generator().manual_seed(2_000_003 + self.seed), snr=snr, probability=probability
            )

        def mismatched(error: float) -> Samples:
            y, x = drawn()
            generator = torch.Generator().manual_seed(3_000_017 + self.seed)
            other = torch.randn(self.dictionary.shape, generator=generator)
            other *= error * self.dictionary.norm() / other.norm()
            return Samples(y + x @ other.T, x)

        def scaled(factor: float) -> Samples:
            y, x = drawn()
            return Samples(factor * y, factor * x)

        p = self.density
        densities = tuple(min(1.0, p * factor) for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0))
        return (
            Shift(
                "noise, SNR in dB",
                (60.0, 40.0, 30.0, 20.0, 10.0),
                lambda v: drawn(snr=v),
                self.snr if self.snr < 60 else None,
                "More noise.",
            ),
            Shift(
                "density of the signals",
                densities,
                lambda v: drawn(probability=v),
                None if self.densest else p,
                "Signals with fewer or more non-zeros.",
            ),
            Shift(
                "error of the dictionary, relative",
                (0.0, 0.01, 0.03, 0.1, 0.3),
                mismatched,
                0.0,
                "Data measured with A + E, the methods knowing A alone.",
            ),
            Shift("amplitude", (0.1, 0.3, 1.0, 3.0, 10.0), scaled, 1.0, "Signals and measurements times a factor."),
        )

    @classmethod
    def small(cls) -> Recovery:
        return cls(m=8, n=16, probability=0.2, held_out=16)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Sizes, density and noise, and what is unlike the reference problem."""
        density = f"{options['probability']:g}" + (f"to{options['densest']:g}" if options["densest"] else "")
        parts = [f"{options['m']}x{options['n']}-p{density}-snr{options['snr']:g}"]
        parts += [f"{name}{options[name]:g}" for name in ("condition", "coherence") if options[name]]
        parts += [f"block{options['block']}"] if options["coherence"] and options["block"] != 5 else []
        parts += [f"group{options['group']}"] if options["group"] > 1 else []
        return "-".join(parts + (["nonnegative"] if options["nonnegative"] else []))

    @property
    def prox(self) -> Prox:
        """The shrinkage that goes with what is known of the signals: their sign, their groups."""
        if self.group > 1:
            return BlockSoftThreshold(self.group, self.nonnegative)
        return nonnegative if self.nonnegative else soft_threshold

    @property
    def threads(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1 if self.dictionary.numel() < FEW else None

    @property
    def notes(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        coherent = (
            f"Any two columns of a block of {self.block} have the inner product {self.coherence:g}. Pursuit takes "
            "one for the other, and so does the lasso unless there is no noise and its weight is small; a network may "
            "learn, from the data, how to tell them apart (Xin et al. 2016).",
        )
        return (*NOTES, *coherent) if self.coherence else NOTES

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The lasso, or its group or non-negative form, hard thresholding, message passing with a posterior mean, and
        what scikit-learn has.
        """
        n = self.dictionary.shape[1]
        expected = self.density * n
        told = (self.probability, self.snr) if self.independent else None
        return [
            *baselines.lasso(self.dictionary, prox=self.prox),
            baselines.hard_thresholding(self.dictionary, expected),
            *baselines.message_passing(self.dictionary, told),
            baselines.scikit_learn(
                self, self.dictionary, "lasso_cd", "lasso, coordinate descent", "alpha", LASSO_WEIGHTS, limit=50
            ),
            baselines.scikit_learn(
                self,
                self.dictionary,
                "omp",
                "orthogonal matching pursuit",
                "n_nonzero_coefs",
                baselines.pursuit_counts(expected, n),
                limit=50,
            ),
            *baselines.spams(
                self, self.dictionary, (1e-6, 1e-5, *LASSO_WEIGHTS), baselines.pursuit_counts(expected, n), limit=200
            ),
        ]

    def theory(self, network: Unrolled, quality: Sequence[float]) -> Sequence[Claim]:
        return theory.examine(network, self, quality)

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        names = ("m", "n", "condition", "coherence", "block", "seed")
        return {"dictionary": drawn_dictionary(**{name: identity[name] for name in names})}

    def identity(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("condition", "coherence", "block", "group")}
        densest = {"densest": self.densest} if self.densest else {}
        return {**super().identity(), **own, **densest, "nonnegative": int(self.nonnegative)}


def _check_structure(
    m: int, n: int, condition: float, coherence: float, block: int, group: int, nonnegative: int, *, drawn: bool
) -> None:
    """Refuses what cannot be; ``drawn`` tells whether the dictionary is made here."""
    if not (condition == 0 or 1 <= condition < math.inf):
        raise ValueError(
            f"condition is {condition}; a condition number is at least 1 (0 leaves the Gaussian dictionary as it is)"
        )
    if not 0 <= coherence < 1:
        raise ValueError(f"coherence must lie in [0, 1); got {coherence}")
    if condition and coherence:
        raise ValueError(
            f"a dictionary has a condition number or coherent blocks; got condition {condition} and "
            f"coherence {coherence}"
        )
    if coherence and drawn and (block < 2 or n % block or m <= block):
        raise ValueError(
            f"block is {block}; the columns of a block are at least 2, divide n = {n}, and are fewer than m = {m}"
        )
    if condition and drawn and m > n:
        raise ValueError(f"a dictionary with a condition number has no more rows than columns; got {m} x {n}")
    if group < 1:
        raise ValueError(f"group is {group}; a group has at least one unknown")
    if nonnegative not in (0, 1):
        raise ValueError(f"nonnegative is 0 or 1; got {nonnegative}")
