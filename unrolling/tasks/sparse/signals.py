"""What the tasks on sparse signals and a dictionary have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.tasks.base import NMSE, Task
from unrolling.tasks.measurements import Gaussian
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary, read_dictionary


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


class SparseTask(Task):
    """y = A x + e, x Bernoulli(p) times N(0, 1), e white with standard deviation std(y_i) 10^(-SNR/20); recover x.

    Args:
        m: measurements.
        n: unknowns.
        probability: p, the probability of a non-zero.
        snr: signal-to-noise ratio in dB per sample; infinity for none.
        seed: of the dictionary and of the held-out samples.
        data: a ``.npy`` file with your own dictionary (m, n).
        fixed: tensors of a weights file; its ``dictionary`` is used.
        draw: (m, n, seed) -> the dictionary, where neither gives one.

    Raises:
        ValueError: sizes, a density or noise that no signals have; a file without a dictionary.
    """

    metric = NMSE
    units: Mapping[str, str] = {"data": "1", "estimate": "1"}

    def __init__(
        self,
        m: int = 250,
        n: int = 500,
        probability: float = 0.1,
        snr: float = float("inf"),
        seed: int = 0,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        draw: Callable[[int, int, int], Tensor] = gaussian_dictionary,
    ) -> None:
        check_law(m, n, probability, snr)
        given = fixed["dictionary"] if fixed is not None else None if data is None else read_dictionary(data)
        self.dictionary = draw(m, n, seed) if given is None else given
        self.probability, self.snr, self.seed = probability, snr, seed

    def noise_of(self) -> Callable[[Any], Gaussian] | None:
        """The noise of some data, as far as their own spread tells it: std(y) / sqrt(1 + 10^(SNR / 10)); None without
        noise.
        """
        if self.snr == float("inf"):
            return None

        def level(data: Any) -> Gaussian:
            y = data if isinstance(data, Tensor) else data[0]
            return Gaussian(y.std(dim=1) / (1 + 10 ** (self.snr / 10)) ** 0.5)

        return level

    def fixed_tensors(self) -> dict[str, Tensor]:
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
