"""Artefacts in an electrocardiogram: which samples of a real signal are spikes that do not belong to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms import FISTA, Decoded
from unrolling.files.decoding import Arrays
from unrolling.prox import hard_threshold
from unrolling.tasks.base import NMSE, Samples, Shift, Task
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.sparse.baselines import components

WINDOW = 64
# of the signal, in time; each holds one heart beat
PARTS = {"train": (0.0, 0.4), "validation": (0.4, 0.66), "test": (0.66, 1.0)}
LEVEL = 0.3  # a spike that is found is at least so large, in standard deviations of the signal


def cosines(count: int = WINDOW) -> Tensor:
    """The orthonormal DCT-II of a window as columns, (count, count)."""
    n = torch.arange(count, dtype=torch.float64)
    basis = torch.cos(torch.pi / count * (n.unsqueeze(1) + 0.5) * n) * (2 / count) ** 0.5
    basis[:, 0] /= 2**0.5
    return basis.float()


def morphologies() -> Tensor:
    """[C, I], (64, 128): smooth atoms and single samples."""
    return torch.cat([cosines(), torch.eye(WINDOW)], dim=1)


class Spikes(Task):
    """y = s + x + e: windows of 64 samples of a real signal s with artificial spikes x (electrode pops) and a little
    noise; find x.

    The dictionary [C, I] holds smooth atoms (the DCT) and single samples; morphological component analysis (Starck,
    Elad and Donoho 2005, doi:10.1109/TIP.2005.852206) takes the spikes for what needs single samples. Windows of
    training, validation and test come from disjoint stretches of time.

    Args:
        density: probability of a spike at a sample.
        seed: of windows and spikes.
        held_out: number of validation and of test windows.
        data: a ``.npy`` file with a signal of your own, (samples,), instead of the electrocardiogram in PyWavelets.
        fixed: tensors of a weights file; its ``dictionary`` is used.

    Raises:
        ImportError: PyWavelets is missing.
        ValueError: a density outside (0, 1); a signal that is too short, not finite or constant.
    """

    name = "spikes"
    given = "a signal with spikes on it"
    sought = "the spikes"
    metric = NMSE
    options: Mapping[str, Any] = {"density": 0.04}

    def __init__(
        self,
        density: float = 0.04,
        seed: int = 0,
        held_out: int = 1000,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not 0 < density < 1:
            raise ValueError(f"density must lie in (0, 1); got {density}")
        self.density, self.seed = density, seed
        self.signal = read_signal(data)
        self.dictionary = morphologies() if fixed is None else fixed["dictionary"]
        self.validation = [self._drawn("validation", held_out, torch.Generator().manual_seed(1_000_003 + seed))]
        self.test = [self._drawn("test", held_out, torch.Generator().manual_seed(2_000_003 + seed))]
        self.timing = self.test[0]
        name = "an electrocardiogram" if data is None else "your signal"
        self.summary = (
            f"Find artificial spikes, {density:.0%} of the samples, in windows of {WINDOW} samples of "
            f"{name} from a stretch that was not trained on."
        )

    def _drawn(
        self, part: str, batch: int, generator: torch.Generator, noise: float = 0.02, density: float | None = None
    ) -> Samples:
        first, last = (round(share * len(self.signal)) for share in PARTS[part])
        start = torch.randint(first, last - WINDOW + 1, (batch, 1), generator=generator)
        clean = self.signal[start + torch.arange(WINDOW)]
        size = 0.5 + 2.5 * torch.rand(batch, WINDOW, generator=generator)
        sign = torch.randint(2, (batch, WINDOW), generator=generator) * 2 - 1
        present = torch.rand(batch, WINDOW, generator=generator) < (self.density if density is None else density)
        spikes = size * sign * present
        return Samples(clean + spikes + noise * torch.randn(batch, WINDOW, generator=generator), spikes)

    def draw(
        self, batch: int, generator: torch.Generator, *, noise: float = 0.02, density: float | None = None
    ) -> Samples:
        return self._drawn("train", batch, generator, noise, density)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """F1 of the samples that are called spikes."""
        found = torch.cat([e.abs() > LEVEL for e in estimates])
        true = torch.cat([b.target != 0 for b in batches])
        both = float((found & true).sum())
        return {"F1": 2 * both / max(1.0, float(found.sum() + true.sum()))}

    def shifts(self) -> Sequence[Shift]:
        """More noise, more spikes."""

        def drawn(**values: float) -> Samples:
            return self._drawn("test", 500, torch.Generator().manual_seed(3_000_003 + self.seed), **values)

        densities = tuple(min(0.9, self.density * factor) for factor in (0.5, 1.0, 2.0, 4.0))
        return (
            Shift(
                "noise, standard deviations of the signal",
                (0.0, 0.02, 0.05, 0.1, 0.2),
                lambda v: drawn(noise=v),
                0.02,
                "More noise than trained with.",
            ),
            Shift(
                "density of the spikes",
                densities,
                lambda v: drawn(density=v),
                self.density,
                "Fewer or more spikes than trained with.",
            ),
        )

    @classmethod
    def small(cls) -> Spikes:
        return cls(held_out=20)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Another density than usual."""
        return "" if options["density"] == 0.04 else f"density{options['density']:g}"

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Morphological component analysis with both weights chosen, and a running median."""
        weights = tuple((a, b) for a in (0.03, 0.1, 0.3) for b in (0.03, 0.1, 0.2, 0.4))

        def accelerated(setting: tuple[float, float]) -> Decoded:
            parent = components(self.dictionary, setting)
            return Decoded(FISTA(parent.inner), parent.decoder)  # pyright: ignore[reportArgumentType]

        return [
            Iterative("ISTA", lambda w: components(self.dictionary, w), weights, 1000, setting="weights"),
            Iterative("FISTA", accelerated, weights, 400, setting="weights"),
            Method(
                "running median",
                lambda level: lambda data: hard_threshold(running_median(data), level),
                tuple(round(0.1 * k, 1) for k in range(1, 20)),
                "differences below {setting:g} are set to zero",
            ),
        ]

    def fixed_tensors(self) -> dict[str, Tensor]:
        return {"dictionary": self.dictionary}

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        return {"dictionary": morphologies()}

    def identity(self) -> dict[str, Any]:
        content = hashlib.sha256(self.signal.numpy().tobytes()).hexdigest()[:16]
        return {
            "name": self.name,
            "density": self.density,
            "seed": self.seed,
            "samples": len(self.signal),
            "fingerprint": content,
        }


def read_signal(data: str | Path | None) -> Tensor:
    """A signal (samples,) of mean zero and standard deviation one.

    Raises:
        ImportError: PyWavelets is missing.
        ValueError: a file that holds none; too short for windows in every part; constant.
    """
    if data is None:
        with extra("the electrocardiogram"):
            import pywt.data
        values = np.asarray(pywt.data.ecg(), dtype=np.float64)
    else:
        try:
            values = np.asarray(Arrays(Path(data)).only)
            if values.ndim != 1 or np.iscomplexobj(values):
                raise TypeError(f"shape {values.shape}, {values.dtype}")
            values = values.astype(np.float64)
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise ValueError(f"{data} is not a .npy file with a real signal (samples,): {error}") from error
    shortest = min(last - first for first, last in PARTS.values())
    if len(values) * shortest < WINDOW + 1:
        raise ValueError(
            f"a signal of {len(values)} samples is too short: its smallest part must hold a window of {WINDOW}"
        )
    if not np.all(np.isfinite(values)):
        raise ValueError("the signal holds values that are NaN or infinite")
    deviation = values.std()
    if deviation == 0:
        raise ValueError("the signal is constant")
    return torch.from_numpy((values - values.mean()) / deviation).float()


def running_median(data: Tensor, width: int = 7) -> Tensor:
    """What a signal differs from its running median by, (batch, samples): the textbook way to find spikes."""
    half = width // 2
    padded = torch.nn.functional.pad(data.unsqueeze(1), (half, half), mode="reflect").squeeze(1)
    return data - padded.unfold(1, width, 1).median(-1).values
