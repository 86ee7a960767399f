"""Photographs with white Gaussian noise of a strength that nobody says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms.images.diffusion import PeronaMalik
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.operators import Identity
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images._library import non_local_means, variation
from unrolling.tasks.images.baselines import dncnn_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn

LEVELS = (15.0, 25.0, 35.0, 50.0)  # of 255, at which is scored
HELD_OUT = 180  # pixels along a side of the packages' photographs that are held out


class BlindDenoising(Pictures):
    """y = x + e, e white with a standard deviation that is not told; noise is neither clipped nor quantised, estimates
    are clipped to [0, 1] for scores.

    Levels of training are uniform between ``least`` and ``most``; every held-out photograph comes at 15, 25, 35 and 50.

    Args:
        least: the smallest level of training, of 255.
        most: the largest.
        seed: of noise and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops.

    Raises:
        ValueError: levels that are not positive or not in order, and what ``Pictures`` refuses.
    """

    name = "blind_denoising"
    given = "a noisy photograph"
    sought = "the photograph without noise, whatever its strength"
    options: Mapping[str, Any] = {"least": 15.0, "most": 50.0}
    notes = (
        "The PSNR of each photograph at 15, 25, 35 and 50 of 255 counts equally; no method is told the level. Noise is "
        "neither clipped nor rounded, estimates are clipped to [0, 1].",
        "Test pictures are the middle 180 x 180 pixels of two photographs.",
    )

    def __init__(
        self,
        least: float = 15.0,
        most: float = 50.0,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        if not 0 < least <= most < float("inf"):
            raise ValueError(f"least and most are {least} and {most}; levels are above 0, of 255, the smaller first")
        self.levels, self._given = (least, most), data is not None
        self.summary = (
            f"Photographs with white Gaussian noise of {least:g} to {most:g} of 255, which nobody says; scored at 15, "
            "25, 35 and 50; none of the test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    @classmethod
    def small(cls) -> BlindDenoising:
        return cls(crop=24, data=few_drawn())

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Diffusion, total variation and non-local means at the level that wavelets estimate, and a DnCNN."""
        settings = tuple((contrast, weight) for contrast in (0.05, 0.08, 0.12) for weight in (0.03, 0.06, 0.12))
        return [
            Iterative(
                "Perona-Malik with reaction",
                lambda s: PeronaMalik(LeastSquares(Identity()), s[0], weight=s[1]),
                settings,
                200,
                tuning=60,
                setting="contrast",
            ),
            Method(
                "total variation",
                lambda factor: _each(lambda image, sigma: variation(image, factor * sigma)),
                (0.5, 0.6, 0.7, 0.8),
                "scikit-image; weight {setting:g} times the estimated sigma",
                kind="library",
            ),
            Method(
                "non-local means",
                lambda factor: _each(lambda image, sigma: non_local_means(image, sigma, factor)),
                (0.5, 0.6, 0.7),
                "scikit-image; h {setting:g} times the estimated sigma",
                kind="library",
            ),
            dncnn_on(lambda data: data, size),
        ]

    def spoil(self, clean: Tensor, generator: torch.Generator, sigma: float | Tensor | None = None) -> Samples:
        """Noise of one level of 255, or of one for each picture; by default levels of training."""
        if sigma is None:
            least, most = self.levels
            sigma = least + (most - least) * torch.rand(clean.shape[0], generator=generator)
        level = torch.as_tensor(sigma, dtype=clean.dtype).reshape(-1, 1, 1) / 255
        return Samples(clean + level * torch.randn(clean.shape, generator=generator), clean)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        batches = []
        for number, whole in enumerate(self.photographs[part].values()):
            top, left = (0 if self._given else max(0, (side - HELD_OUT) // 2) for side in whole.shape)
            picture = whole if self._given else whole[top : top + HELD_OUT, left : left + HELD_OUT].contiguous()
            for place, sigma in enumerate(LEVELS):
                generator = torch.Generator().manual_seed(seed + 7919 * self.seed + 101 * number + place)
                batches.append(self.spoil(picture.unsqueeze(0), generator, sigma))
        return batches

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        clean = super().timing.target
        return self.spoil(clean, torch.Generator().manual_seed(3_000_003 + self.seed), 25.0)

    def shifts(self) -> Sequence[Shift]:
        """Weaker and stronger noise."""

        def noisy(sigma: float) -> Samples:
            return self.spoil(self.timing.target[:2], torch.Generator().manual_seed(4_000_003 + self.seed), sigma)

        least, most = self.levels
        words = f"The network is not told the level; it was trained between {least:g} and {most:g}."
        return [Shift("noise, standard deviation of 255", (5.0, 15.0, 25.0, 50.0, 65.0, 80.0), noisy, None, words)]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "levels": list(self.levels)}


def _each(run: Any) -> Any:
    """A denoiser of one picture, told the level that is estimated for it, on a batch."""

    def estimates(data: Tensor) -> Tensor:
        with extra("an estimate of the noise"):
            from skimage.restoration import estimate_sigma

        found = [run(image, float(estimate_sigma(image))) for image in data.numpy()]
        return torch.from_numpy(np.stack(found).astype(np.float32))

    return estimates
