"""Photographs as cameras blur them: straight motion, trembling, a lens out of focus, or nothing at all, with noise of
any strength, rounded, and compressed now and then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.images.blind_deblurring import BlindDeblurring
from unrolling.algorithms.sparse.strided import NoisyImage
from unrolling.operators.convolution import convolve_valid
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.images.baselines import deblurrers, unet_on
from unrolling.tasks.images.blurs import disc, linear_motion, shake
from unrolling.tasks.images.deblocking import compress
from unrolling.tasks.images.deblurring import REACH, Deblurring
from unrolling.tasks.images.sources import Drawn, few_drawn

# Parts of training: a motion is what people want undone most, and is the hardest to find; a sharp picture teaches when
# to stop.
KINDS = {"straight": 0.36, "trembling": 0.3, "defocus": 0.2, "none": 0.14}
RADII = (1.0, 7.0)  # pixels, of lenses out of focus
EDGES = (0.7, 2.0)  # pixels over which their discs end
QUIET, FAINTEST = 0.2, 0.002  # part of the pictures without noise; the weakest noise of the others
ROUNDING = 1 / (255 * 12**0.5)  # the standard deviation of rounding to 8 bits
# The level is estimated where it is not known: in training it is off by a factor of so many standard deviations (of its
# logarithm), and behind JPEG, which takes noise away, by one down to that.
WRONG, BEHIND_JPEG = 0.15, 0.5
JPEG, QUALITIES = 0.3, (75, 95)  # part of the training pictures
# Held-out pictures come so: kind, standard deviation of the noise.
HELD_OUT = (("straight", 0.0), ("straight", 0.01), ("straight", 0.03), ("trembling", 0.01), ("defocus", 0.01))
SIDE = 256  # of their blurred pictures, at most


class Blur(NamedTuple):
    """How a picture was spoilt."""

    kind: str  # one of KINDS
    sigma: float  # of the noise
    quality: int | None = None  # of JPEG
    error: float = 1.0  # factor by which the level that is told is wrong


class CameraBlur(Deblurring):
    """y = the valid part of k * x + e, rounded to 8 bits, k unknown and of one of four kinds, the standard deviation of
    e given with each picture; known up to a shift, scored as ``Deblurring``.

    Data are ``NoisyImage(image, sigma)``. Training pictures: motion in a straight line over 5 to 31 pixels (36 %), a
    trembling hand (30 %), a disc with a radius of 1 to 7 pixels and a soft edge (20 %), no blur (14 %); noise of 0 in a
    fifth of them, else between 0.002 and ``most``, its logarithm uniform; 30 % compressed by JPEG at a quality of 75 to
    95. The level that comes with them has an error as estimates have. The answer to a picture that is not blurred is
    the picture as it is given, noise and all: taking noise away is another task.

    Held-out pictures, their middle 256 x 256 pixels, are blurred by straight motions with noise of 0, 0.01 and 0.03, by
    trembling and by a lens with 0.01, with the exact level.

    Args:
        most: the largest standard deviation of the noise in training, for images in [0, 1].
        seed: of kernels, noise and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the blurred training crops.
        each: held-out samples per photograph and setting.

    Raises:
        ValueError: a level below 0.002 or above 1, and what ``Pictures`` refuses.
    """

    name = "camera_blur"
    given = "a blurred photograph, from a moving or trembling camera or out of focus, and how strong its noise is"
    sought = "the sharp photograph, and the blur"
    options: Mapping[str, Any] = {"most": 0.05}
    notes = (
        *Deblurring.notes,
        "Pictures are rounded to 8 bits. The PSNR of each photograph under straight motion with noise of 0, 0.01 and "
        "0.03, trembling and defocus with 0.01 counts equally.",
    )

    def __init__(
        self,
        most: float = 0.05,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 168,
        each: int = 2,
    ) -> None:
        if not FAINTEST <= most <= 1:
            raise ValueError(f"most is {most}; the strongest noise is at least {FAINTEST} and at most 1 (white)")
        self.most = most
        super().__init__("both", seed=seed, data=data, crop=crop, each=each)
        self.summary = (
            f"Photographs blurred by motion, straight or trembling, or out of focus, noise of 0 to {most:g} that is "
            "told, 8 bits; PSNR at the best shift within 12 pixels."
        )

    @classmethod
    def small(cls) -> CameraBlur:
        return cls(crop=48, each=1, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Nothing: one file of weights is for all."""
        return ""

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Total variation, the blurred image, and a U-Net; none of them is told the level."""
        methods = deblurrers(False, self.size + REACH, make=_Plain, image=lambda data: data.image)
        return [*methods, unet_on(lambda data: data.image, size)]

    def kernel(self, kind: str, generator: torch.Generator, extent: float | None = None) -> Tensor:
        """A random kernel of a kind, (size, size); of straight motions and discs, ``extent`` is the length or the
        radius.

        Raises:
            ValueError: an unknown kind.
        """
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; it is one of {', '.join(KINDS)}")
        if kind == "trembling":
            return shake(self.size, generator)
        if kind == "none":
            return disc(0.0, self.size)
        first, second = torch.rand(2, generator=generator).tolist()
        if kind == "straight":
            extent = self.shortest + (self.longest - self.shortest) * first if extent is None else extent
            return linear_motion(extent, pi * second, self.size)
        extent = _between(RADII, first) if extent is None else extent
        return disc(extent, self.size, edge=_between(EDGES, second))

    def drawn_blur(self, generator: torch.Generator) -> Blur:
        """A random way of training pictures."""
        kind = list(KINDS)[int(torch.multinomial(torch.tensor(list(KINDS.values())), 1, generator=generator))]
        quiet, level, packed, quality, behind = torch.rand(5, generator=generator).tolist()
        sigma = 0.0 if quiet < QUIET else FAINTEST * (self.most / FAINTEST) ** level
        error = float((WRONG * torch.randn((), generator=generator)).exp())
        if packed >= JPEG:
            return Blur(kind, sigma, None, error)
        return Blur(kind, sigma, round(_between(QUALITIES, quality)), error * _between((BEHIND_JPEG, 1.0), behind))

    def blurred(self, clean: Tensor, kernel: Tensor, blur: Blur, generator: torch.Generator) -> Samples:
        """Pictures (batch, height, width) under one kernel (size, size), the same way spoilt."""
        valid = convolve_valid(clean, kernel.expand(clean.shape[0], -1, -1))
        noisy = valid + blur.sigma * torch.randn(valid.shape, generator=generator)
        y = (255 * noisy.clamp(0, 1)).round() / 255
        if blur.quality is not None:
            y = _compressed(y, blur.quality)
        level = blur.error * (blur.sigma**2 + ROUNDING**2) ** 0.5
        edge = self.size // 2
        target = y if blur.kind == "none" else clean[..., edge:-edge, edge:-edge].contiguous()
        return Samples(NoisyImage(y, torch.full((clean.shape[0],), level)), target)

    def _blur(
        self, clean: Tensor, generator: torch.Generator, length: float | None = None
    ) -> tuple[Any, Tensor, Tensor]:
        each, kernels = [], []
        for picture in clean:
            blur = self.drawn_blur(generator) if length is None else Blur("straight", self.noise)
            kernels.append(self.kernel(blur.kind, generator, length))
            each.append(self.blurred(picture.unsqueeze(0), kernels[-1], blur, generator))
        fields = [torch.cat(parts) for parts in zip(*(samples.data for samples in each), strict=True)]
        return NoisyImage(*fields), torch.stack(kernels), torch.cat([samples.target for samples in each])

    def weighed(self, relative: Tensor) -> Tensor:
        """log(1 + e): where a point is found in the place of a wide disc, e is as large as its number of pixels, and
        would drown all other pictures.
        """
        return relative.log1p()

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        return [
            self.blurred(picture, kernel, Blur(kind, sigma), generator)
            for picture, kernel, generator, (kind, sigma) in self._settings(part, seed)
        ]

    def kernels_of(self, part: str) -> list[Tensor]:
        return [kernel.unsqueeze(0) for _, kernel, _, _ in self._settings(part, self.seed_of(part))]

    def _settings(self, part: str, seed: int) -> list[tuple[Tensor, Tensor, torch.Generator, tuple[str, float]]]:
        found = []
        for number, whole in enumerate(self.photographs[part].values()):
            most = SIDE + self.size - 1
            top, left = (max(0, (side - most) // 2) for side in whole.shape)
            picture = whole[top : top + most, left : left + most].contiguous().unsqueeze(0)
            for again in range(self.each if part == "test" else max(1, self.each // 2)):
                for place, setting in enumerate(HELD_OUT):
                    key = seed + 7919 * self.seed + 101 * number + len(HELD_OUT) * again + place
                    generator = torch.Generator().manual_seed(key)
                    found.append((picture, self.kernel(setting[0], generator), generator, setting))
        return found

    def shifts(self) -> Sequence[Shift]:
        """Weaker and stronger noise, under straight motions."""
        clean = torch.stack([p[..., : self.crop, : self.crop] for p in list(self.photographs["test"].values())[:2]])

        def noisy(sigma: float) -> Samples:
            generator = torch.Generator().manual_seed(4_000_003 + self.seed)
            return self.blurred(clean, self.kernel("straight", generator), Blur("straight", sigma), generator)

        words = f"Straight motion; the network is told the level, and was trained up to {self.most:g}."
        return [Shift("noise, standard deviation", (0.0, 0.01, 0.02, 0.03, 0.05, 0.08), noisy, None, words)]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "most": self.most}


class _Plain(BlindDeblurring):
    """Of the image alone."""

    algorithm = "BlindDeblurring"

    def prepare(self, data: NoisyImage) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().prepare(data.image)

    def check(self, data: NoisyImage) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().check(data.image)


def _between(ends: tuple[float, float], part: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * part


def _compressed(pictures: Tensor, quality: int) -> Tensor:
    """Pictures of any size as JPEG and back."""
    height, width = pictures.shape[-2:]
    wide = torch.nn.functional.pad(pictures.unsqueeze(1), (0, -width % 8, 0, -height % 8), mode="replicate").squeeze(1)
    return compress(wide, quality).image[..., :height, :width].contiguous()
