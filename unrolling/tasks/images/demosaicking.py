"""Photographs in colour from a sensor that sees one colour at each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.operators import FiniteDifferences
from unrolling.operators.bayer import BayerInterpolation, BayerMosaic, bayer_mask
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.opponent import OpponentProx
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Gaussian, Measurement, image_measurement

CHROMA = 4.0  # how much smoother differences of colours are taken to be than brightness


class Demosaicking(Pictures):
    """y[p] = x[c(p), p] + e: the colours of a photograph through Bayer's mosaic of filters; data are the mosaic,
    (batch, height, width), estimates (batch, 3, height, width). The PSNR is over all three colours.

    Args:
        pattern: the colours of the first two pixels of the first two rows: RGGB, BGGR, GRBG or GBRG.
        noise: standard deviation of e, white, for images in [0, 1].
        seed: of noise and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops.

    Raises:
        ValueError: an unknown pattern, negative noise, and what ``Pictures`` refuses.
    """

    name = "demosaicking"
    given = "what a camera's sensor saw through its mosaic of colour filters"
    sought = "the photograph in colour"
    options: Mapping[str, Any] = {"pattern": "RGGB", "noise": 0.0}
    notes = ("The PSNR of each photograph counts equally, over red, green and blue; estimates are clipped to [0, 1].",)
    shown = False
    units: Mapping[str, str] = {
        "data": "1, the intensity of the colour that a pixel sees, from 0 to 1",
        "estimate": "1, red, green and blue from 0 (black) to 1 (white)",
    }

    def __init__(
        self,
        pattern: str = "RGGB",
        noise: float = 0.0,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        bayer_mask(2, 2, pattern)
        if not 0 <= noise < float("inf"):
            raise ValueError(f"noise is {noise}; a standard deviation is at least 0")
        self.pattern, self.noise = pattern, noise
        self.operator, self.bilinear = BayerMosaic(pattern), BayerInterpolation(pattern)
        self.summary = (
            f"Photographs in colour of which each pixel is seen through one filter of the mosaic {pattern}"
            + (f", noise {noise:g}" if noise else "")
            + "; none of the test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    def convert(self, picture: Any) -> Tensor:
        """Three colours."""
        return images.colours(picture)

    @classmethod
    def small(cls) -> Demosaicking:
        return cls(crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """What is unlike the usual."""
        parts = [] if options["pattern"] == cls.options["pattern"] else [options["pattern"].lower()]
        return "-".join(parts + ([f"noise{options['noise']:g}"] if options["noise"] else []))

    def term(self) -> LeastSquares:
        """0.5 |A x - y|^2, from the bilinear interpolation."""
        return LeastSquares(self.operator, initial=self.bilinear)

    def measurement(self) -> Measurement:
        return image_measurement(self.term(), Gaussian(self.noise) if self.noise else None)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Total variation of brightness and of differences of colours, bilinear interpolation, and a U-Net on it."""
        prox = OpponentProx(AnalysisProx(FiniteDifferences(), 8.0, iterations=10), chroma=CHROMA)
        return [
            Iterative(
                "total variation, proximal gradient",
                lambda w: ProximalGradient(self.term(), prox, w),
                (0.001, 0.003, 0.01),
                100,
                tuning=40,
            ),
            Method("bilinear interpolation", lambda _: self.bilinear),
            unet_on(self.bilinear, size, channels=3),
        ]

    def spoil(self, clean: Tensor, generator: torch.Generator, noise: float | None = None) -> Samples:
        mosaic = self.operator(clean)
        level = self.noise if noise is None else noise
        return Samples(mosaic + level * torch.randn(mosaic.shape, generator=generator), clean)

    def shifts(self) -> Sequence[Shift]:
        """Noise."""

        def noisy(noise: float) -> Samples:
            return self.spoil(self.timing.target[:2], torch.Generator().manual_seed(4_000_003 + self.seed), noise)

        words = "The method is not told the noise."
        return [Shift("noise, standard deviation", (0.0, 0.01, 0.02, 0.04), noisy, self.noise, words)]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "pattern": self.pattern, "noise": self.noise}
