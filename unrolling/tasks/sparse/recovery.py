"""Sparse recovery from random measurements: the literature's synthetic benchmark."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_dictionary
from unrolling.tasks.base import NMSE, Samples, Shift, Task


def gaussian_dictionary(m: int, n: int, seed: int) -> Tensor:
    """A (m, n) with independent N(0, 1/m) entries, columns then normalised."""
    matrix = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / m**0.5
    return (matrix / torch.linalg.vector_norm(matrix, dim=0)).float()


def conditioned_dictionary(m: int, n: int, condition: float, seed: int) -> Tensor:
    """The Gaussian dictionary with its singular values replaced by geometric ones, the first over the last being the
    condition number; columns then normalised.

    Normalising changes the singular values a little. Its singular vectors are those of independent entries: such a
    matrix is rotationally invariant from the right but for the normalisation, as VAMP assumes it to be.

    Args:
        m: rows, at most n.
        n: columns.
        condition: at least 1; 1 gives orthogonal rows before the columns are normalised.
        seed: as for ``gaussian_dictionary``.
    """
    left, _, right = torch.linalg.svd(gaussian_dictionary(m, n, seed).double(), full_matrices=False)
    values = torch.logspace(0, -math.log10(condition), min(m, n), dtype=torch.float64)
    matrix = left * values @ right
    return (matrix / torch.linalg.vector_norm(matrix, dim=0)).float()


def coherent_dictionary(m: int, n: int, block: int, coherence: float, seed: int) -> Tensor:
    """Blocks of columns that are alike: a_i = sqrt(c) u + sqrt(1 - c) v_i, u common to a block and orthogonal to its
    v_i, which are orthogonal to each other.

    The inner product of two unit columns is c within a block, exactly, and of order 1/sqrt(m) between blocks. Xin,
    Wang, Gao, Wipf and Wang 2016 (arXiv:1605.01636) study such clusters, on which thresholding and pursuit err.

    Args:
        m: rows, more than ``block``.
        n: columns, a multiple of ``block``.
        block: columns of a block.
        coherence: c, in [0, 1).
        seed: of the directions.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(n // block, m, block + 1, generator=generator, dtype=torch.float64))[0]
    columns = coherence**0.5 * directions[:, :, :1] + (1 - coherence) ** 0.5 * directions[:, :, 1:]
    return columns.transpose(0, 1).reshape(m, n).float()


def drawn_dictionary(m: int, n: int, condition: float, coherence: float, block: int, seed: int) -> Tensor:
    """A (m, n) with a condition number or coherent blocks of columns where these are not 0, Gaussian otherwise."""
    if condition:
        return conditioned_dictionary(m, n, condition, seed)
    if coherence:
        return coherent_dictionary(m, n, block, coherence, seed)
    return gaussian_dictionary(m, n, seed)


def read_dictionary(path: str | Path) -> Tensor:
    """A (m, n) from a ``.npy`` file, columns normalised.

    Raises:
        ValueError: not a readable array, not a matrix of finite real numbers, or a zero column.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if np.iscomplexobj(content):
            raise TypeError("it is complex")
        matrix = torch.from_numpy(np.asarray(content, dtype=np.float32))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a .npy file of real numbers: {error}") from error
    check_dictionary(matrix)
    return matrix / torch.linalg.vector_norm(matrix, dim=0)


def check_law(m: int, n: int, probability: float, snr: float) -> None:
    """Refuses sizes, densities and noise that no signals have.

    Raises:
        ValueError: naming what is wrong.
    """
    if m < 1 or n < 1:
        name, value = ("m", m) if m < 1 else ("n", n)
        raise ValueError(f"{name} must be at least 1; got {value}")
    if snr != snr:
        raise ValueError(f"snr must be a number of dB, or inf for no noise; got {snr}")
    if not 0 < probability <= 1:
        raise ValueError(f"probability must lie in (0, 1]; got {probability}")


def measured(x: Tensor, dictionary: Tensor, snr: float, generator: torch.Generator) -> Tensor:
    """y = A x + e, (batch, m): e white, its standard deviation std(y_i) 10^(-SNR/20) for each sample; none at
    infinity.
    """
    y = x @ dictionary.T
    if snr != float("inf"):
        y = y + torch.randn(y.shape, generator=generator) * y.std(dim=1, keepdim=True) * 10 ** (-snr / 20)
    return y


class Recovery(Task):
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
    metric = NMSE
    units: Mapping[str, str] = {"data": "1", "estimate": "1"}

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
        check_law(m, n, probability, snr)
        if densest and not probability < densest <= 1:
            raise ValueError(f"densest is {densest}; it is 0, or more than probability = {probability} and at most 1")
        _check_structure(m, n, condition, coherence, block, group, nonnegative, drawn=fixed is None and data is None)
        if fixed is not None:
            self.dictionary = fixed["dictionary"]
        elif data is not None:
            self.dictionary = read_dictionary(data)
        else:
            self.dictionary = drawn_dictionary(m, n, condition, coherence, block, seed)
        m, n = self.dictionary.shape
        if n % group:
            raise ValueError(f"group is {group}, which does not divide the {n} unknowns")
        self.probability, self.densest, self.snr, self.seed = probability, densest, snr, seed
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

    def draw(
        self, batch: int, generator: torch.Generator, *, snr: float | None = None, probability: float | None = None
    ) -> Samples:
        """Signals of this task, or with another noise or density for a while (a curriculum)."""
        snr, n = self.snr if snr is None else snr, self.dictionary.shape[1]
        x = torch.randn(batch, n, generator=generator)
        density: float | Tensor = self.probability if probability is None else probability
        if self.densest and probability is None:
            density = density + (self.densest - density) * torch.rand(batch, 1, generator=generator)
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

    def fixed(self) -> dict[str, Tensor]:
        return {"dictionary": self.dictionary}

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        names = ("m", "n", "condition", "coherence", "block", "seed")
        return {"dictionary": drawn_dictionary(**{name: identity[name] for name in names})}

    def identity(self) -> dict[str, Any]:
        m, n = self.dictionary.shape
        return {
            "name": self.name,
            "m": m,
            "n": n,
            "probability": self.probability,
            **({"densest": self.densest} if self.densest else {}),
            "snr": str(self.snr),
            "condition": self.condition,
            "coherence": self.coherence,
            "block": self.block,
            "group": self.group,
            "nonnegative": int(self.nonnegative),
            "seed": self.seed,
            "fingerprint": hashlib.sha256(self.dictionary.contiguous().numpy().tobytes()).hexdigest()[:16],
        }


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
