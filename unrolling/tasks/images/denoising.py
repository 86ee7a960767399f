"""Photographs with white Gaussian noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.images.baselines import denoisers, dncnn_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Gaussian, Measurement, denoising_measurement


class Denoising(Pictures):
    """y = x + e, e white with standard deviation sigma / 255; noise is neither clipped nor quantised, estimates are
    clipped to [0, 1] for scores.

    Args:
        sigma: in levels of 8 bits.
        seed: of noise and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops.

    Raises:
        ValueError: a sigma that is not positive, and what ``Pictures`` refuses.
    """

    name = "denoising"
    given = "a noisy photograph"
    sought = "the photograph without noise"
    options: Mapping[str, Any] = {"sigma": 25.0}
    notes = (
        "The PSNR of each photograph counts equally; noise is neither clipped nor rounded, estimates are clipped to "
        "[0, 1].",
    )

    def __init__(
        self,
        sigma: float = 25.0,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        if not 0 < sigma < float("inf"):
            raise ValueError(f"sigma is {sigma}; the noise has a standard deviation above 0, in levels of 8 bits")
        self.sigma = sigma
        self.summary = (
            f"Photographs with white Gaussian noise of standard deviation {sigma:g} (of 255 grey levels); none of the "
            "test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    @classmethod
    def small(cls) -> Denoising:
        return cls(crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The strength of the noise."""
        return f"sigma{options['sigma']:g}"

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Classical denoisers, other libraries', and a DnCNN."""
        return [*denoisers(self.sigma), dncnn_on(lambda data: data, size)]

    def measurement(self) -> Measurement:
        return denoising_measurement(Gaussian(self.sigma / 255))

    def spoil(self, clean: Tensor, generator: torch.Generator, sigma: float | None = None) -> Samples:
        sigma = self.sigma if sigma is None else sigma
        return Samples(clean + (sigma / 255) * torch.randn(clean.shape, generator=generator), clean)

    def draw(self, batch: int, generator: torch.Generator, sigma: float | None = None) -> Samples:
        return self.spoil(self.crops(batch, generator), generator, sigma)

    def shifts(self) -> Sequence[Shift]:
        """Weaker and stronger noise."""

        def noisy(sigma: float) -> Samples:
            return self.spoil(self.timing.target[:2], torch.Generator().manual_seed(4_000_003 + self.seed), sigma)

        values = tuple(round(factor * self.sigma, 2) for factor in (0.4, 0.7, 1.0, 1.4, 2.0))
        return [
            Shift(
                "noise, standard deviation of 255",
                values,
                noisy,
                self.sigma,
                "The network was trained for one strength of the noise.",
            )
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "sigma": self.sigma}
