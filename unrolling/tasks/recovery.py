"""Sparse recovery from random measurements: the literature's synthetic benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.dictionary import check_dictionary
from unrolling.tasks.base import NMSE, Samples, Task


def gaussian_dictionary(m: int, n: int, seed: int) -> Tensor:
    """A (m, n) with independent N(0, 1/m) entries, columns then normalised."""
    matrix = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / m**0.5
    return (matrix / torch.linalg.vector_norm(matrix, dim=0)).float()


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


class Recovery(Task):
    """y = A x + e, x Bernoulli(p) times N(0, 1), e white with standard deviation std(y_i) 10^(-SNR/20); recover x.

    Args:
        m: measurements.
        n: unknowns.
        probability: p, the probability of a non-zero.
        snr: signal-to-noise ratio in dB per sample; infinity for none.
        seed: of the dictionary and the held-out samples.
        held_out: number of validation and of test samples.
        data: a ``.npy`` file with your own dictionary (m, n), instead of a Gaussian one; its columns are normalised.
        fixed: tensors of a weights file; its ``dictionary`` is used.
    """

    name = "recovery"
    metric = NMSE

    def __init__(
        self,
        m: int = 250,
        n: int = 500,
        probability: float = 0.1,
        snr: float = float("inf"),
        seed: int = 0,
        held_out: int = 1000,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if m < 1 or n < 1:
            name, value = ("m", m) if m < 1 else ("n", n)
            raise ValueError(f"{name} must be at least 1; got {value}")
        if snr != snr:
            raise ValueError(f"snr must be a number of dB, or inf for no noise; got {snr}")
        if not 0 < probability <= 1:
            raise ValueError(f"probability must lie in (0, 1]; got {probability}")
        if fixed is not None:
            self.dictionary = fixed["dictionary"]
        elif data is not None:
            self.dictionary = read_dictionary(data)
        else:
            self.dictionary = gaussian_dictionary(m, n, seed)
        m, n = self.dictionary.shape
        self.probability, self.snr, self.seed = probability, snr, seed
        generator = torch.Generator().manual_seed(1_000_003 + seed)
        self.validation = [self.draw(held_out, generator)]
        self.test = [self.draw(held_out, generator)]
        self.timing = self.test[0]
        noise = "without noise" if snr == float("inf") else f"at {snr:g} dB"
        self.summary = f"Recover {n} unknowns, {probability:.0%} of them non-zero, from {m} random measurements {noise}."

    def draw(self, batch: int, generator: torch.Generator, *, snr: float | None = None, probability: float | None = None) -> Samples:
        """Signals of this task, or with another noise or density for a while (a curriculum)."""
        snr, probability = self.snr if snr is None else snr, self.probability if probability is None else probability
        m, n = self.dictionary.shape
        x = torch.randn(batch, n, generator=generator) * (torch.rand(batch, n, generator=generator) < probability)
        y = x @ self.dictionary.T
        if snr != float("inf"):
            y = y + torch.randn(batch, m, generator=generator) * y.std(dim=1, keepdim=True) * 10 ** (-snr / 20)
        return Samples(y, x)

    def fixed(self) -> dict[str, Tensor]:
        return {"dictionary": self.dictionary}

    def identity(self) -> dict[str, Any]:
        m, n = self.dictionary.shape
        return {
            "name": self.name,
            "m": m,
            "n": n,
            "probability": self.probability,
            "snr": str(self.snr),
            "seed": self.seed,
            "fingerprint": hashlib.sha256(self.dictionary.contiguous().numpy().tobytes()).hexdigest()[:16],
        }
