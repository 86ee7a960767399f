"""Photographs with white Gaussian noise of any level that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.sparse.strided import NoisyImage
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Method
from unrolling.tasks.images import sources as images
from unrolling.tasks.images._library import block_matching, non_local_means, variation, wavelets
from unrolling.tasks.images.baselines import dncnn_on, unet_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Gaussian, Measurement, denoising_measurement

LEVELS = (15.0, 25.0, 50.0)  # of 255, at which is scored
# Mean squared errors of good denoisers over BSD68 go about with this power of the level: each level counts alike.
POWER, ERROR = 1.2, 1.2e-3  # the error at 25


class DenoisingLevels(Pictures):
    """y = x + e, e white with a standard deviation that is given with each picture; noise is neither clipped nor
    quantised, estimates are clipped to [0, 1] for scores.

    Data are ``NoisyImage(image, sigma)``, the picture (batch, height, width) and sigma (batch,), both on the scale
    where white is 1. Levels of training are uniform in [0, most]; scores are means over 15, 25 and 50 of 255.

    Args:
        most: the largest level of training, of 255.
        seed: of noise and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops.

    Raises:
        ValueError: a level that is not positive, or above 255, and what ``Pictures`` refuses.
    """

    name = "noise_levels"
    given = "a noisy photograph, and how strong the noise is"
    sought = "the photograph without noise"
    options: Mapping[str, Any] = {"most": 75.0}
    notes = (
        "The PSNR of each photograph at 15, 25 and 50 of 255 counts equally; noise is neither clipped nor rounded, "
        "estimates are clipped to [0, 1].",
    )
    words = "Photographs"
    sides = (800, 500)  # small ones have more texture to a pixel, as the usual test sets have

    def __init__(
        self,
        most: float = 75.0,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        if not 0 < most <= 255:
            raise ValueError(f"most is {most}; the strongest noise has a standard deviation above 0, up to 255")
        self.most = most
        self.summary = (
            f"{self.words} with white Gaussian noise of 0 to {most:g} of 255, told with each of them; scored at 15, 25 "
            "and 50; none of the test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    @classmethod
    def small(cls) -> DenoisingLevels:
        return cls(crop=24, data=few_drawn())

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Total variation, non-local means, wavelets, BM3D where the package is installed, and a DnCNN that is not told
        the level.
        """
        return [*level_denoisers(), dncnn_on(lambda data: data.image, size)]

    def measurement(self) -> Measurement:
        return denoising_measurement(lambda data: Gaussian(data.sigma))

    def spoil(self, clean: Tensor, generator: torch.Generator, sigma: float | Tensor | None = None) -> Samples:
        """Noise of one level, or of one for each picture; by default levels of training."""
        if sigma is None:
            sigma = self.most * torch.rand(clean.shape[0], generator=generator)
        level = torch.as_tensor(sigma, dtype=clean.dtype).expand(clean.shape[0]) / 255
        noise = level.reshape(-1, *(1,) * (clean.ndim - 1)) * torch.randn(clean.shape, generator=generator)
        return Samples(NoisyImage(clean + noise, level.contiguous()), clean)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        return self.spoil(self.crops(batch, generator), generator)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        return [
            self.spoil(p.unsqueeze(0), torch.Generator().manual_seed(seed + 7919 * self.seed + 101 * k + n), sigma)
            for k, p in enumerate(self.photographs[part].values())
            for n, sigma in enumerate(LEVELS)
        ]

    def loss(self, estimate: Tensor, target: Tensor, data: NoisyImage) -> Tensor:
        """The mean over pictures of mse / (0.0012 ((255 sigma + 1) / 25)^1.2), about 1 at each level for a good
        denoiser.
        """
        usual = ERROR * ((255 * data.sigma + 1) / 25) ** POWER
        return ((estimate - target).square().flatten(1).mean(1) / usual).mean()

    def shifts(self) -> Sequence[Shift]:
        """Weaker and stronger noise."""

        def noisy(sigma: float) -> Samples:
            return self.spoil(self.timing.target[:2], torch.Generator().manual_seed(4_000_003 + self.seed), sigma)

        values = (5.0, 15.0, 25.0, 50.0, 75.0, 100.0)
        words = f"The network is told the level; it was trained up to {self.most:g}."
        return [Shift("noise, standard deviation of 255", values, noisy, None, words)]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "most": self.most}


class ColourDenoisingLevels(DenoisingLevels):
    """``DenoisingLevels`` of photographs in colour: pictures are (batch, 3, height, width), the noise is independent in
    red, green and blue, and the PSNR is over all three.
    """

    name = "colour_noise_levels"
    given = "a noisy photograph in colour, and how strong the noise is"
    words = "Photographs in colour"
    shown = False
    units: Mapping[str, str] = {
        "data": "1, red, green and blue from 0 (black) to 1 (white)",
        "estimate": "1, red, green and blue from 0 (black) to 1 (white)",
    }

    def convert(self, picture: Any) -> Tensor:
        """Three colours."""
        return images.colours(picture)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """As of grey photographs, and a U-Net that is not told the level."""
        return [*level_denoisers(), unet_on(lambda data: data.image, size, channels=3)]


def level_denoisers() -> list[Baseline]:
    """Of other libraries, told the level of each picture; grey and colour."""
    methods: list[Baseline] = [
        Method(
            "total variation",
            lambda factor: _each(lambda image, sigma: variation(image, factor * sigma)),
            (0.5, 0.6, 0.7, 0.8),
            "scikit-image; Chambolle's method, weight {setting:g} sigma",
            kind="library",
        ),
        Method(
            "non-local means",
            lambda factor: _each(lambda image, sigma: non_local_means(image, sigma, factor)),
            (0.5, 0.6, 0.7),
            "scikit-image; patches of 5, distances up to 6, h {setting:g} sigma",
            kind="library",
        ),
        Method(
            "wavelets, BayesShrink",
            lambda mode: _each(lambda image, sigma: wavelets(image, sigma, mode)),
            ("soft", "hard"),
            "scikit-image; {setting} thresholds",
            kind="library",
        ),
    ]
    if find_spec("bm3d") is not None:
        methods.append(
            Method(
                "BM3D",
                lambda factor: _each(lambda image, sigma: block_matching(image, factor * sigma)),
                (1.0,),
                "package bm3d, for non-commercial use",
                limit=1,
                kind="library",
            )
        )
    return methods


def _each(run: Callable[[np.ndarray, float], np.ndarray]) -> Callable[[NoisyImage], Tensor]:
    """A denoiser of one picture, channels last, on a batch."""

    def estimates(data: NoisyImage) -> Tensor:
        colour = data.image.ndim == 4
        pictures = data.image.movedim(1, -1) if colour else data.image
        found = [
            np.asarray(run(image, sigma), dtype=np.float32)
            for image, sigma in zip(pictures.numpy(), data.sigma.tolist(), strict=True)
        ]
        stack = torch.from_numpy(np.stack(found))
        return stack.movedim(-1, 1) if colour else stack

    return estimates
