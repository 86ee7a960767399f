"""Photographs of which some pixels are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms.images.diffusion import PeronaMalik
from unrolling.algorithms.images.inpainting import KnownPixels, Masked, fill_missing
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.core.arguments import check_count
from unrolling.operators import FiniteDifferences
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images.baselines import dncnn_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Measurement, SampledMeasurement

HELD_OUT = 192  # pixels along a side of the packages' photographs that are held out
KINDS = ("pixels", "strokes")
DRAWN = (0.1, 0.9)  # part of the pixels that is missing in training, where single ones are
STROKES = (0.03, 0.2)  # the same of strokes
LENGTHS, WIDTHS = (12.0, 70.0), (1.0, 5.0)  # of strokes, in pixels


def pixel_mask(batch: int, height: int, width: int, missing: float | Tensor, generator: torch.Generator) -> Tensor:
    """Masks (batch, height, width) of single pixels, each missing with a probability, 0 where it is; at least one pixel
    is known.
    """
    chance = torch.as_tensor(missing).reshape(-1, 1, 1)
    mask = (torch.rand(batch, height, width, generator=generator) >= chance).float()
    mask[:, height // 2, width // 2] = 1
    return mask


def stroke_mask(batch: int, height: int, width: int, missing: float | Tensor, generator: torch.Generator) -> Tensor:
    """Masks (batch, height, width) of straight strokes, 12 to 70 pixels long and 2 to 10 wide, that cover about a part
    of the picture; 0 under a stroke.
    """
    wanted = torch.as_tensor(missing, dtype=torch.float32).expand(batch)
    rows, columns = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    masks = torch.ones(batch, height, width)
    for mask, part in zip(masks, wanted.tolist(), strict=True):
        for _ in range(1000):
            if float(1 - mask.mean()) >= part:
                break
            place, angle, length, breadth = torch.rand(5, generator=generator).split([2, 1, 1, 1])
            y, x = rows - place[0] * height, columns - place[1] * width
            along = x * torch.cos(torch.pi * angle) + y * torch.sin(torch.pi * angle)
            across = y * torch.cos(torch.pi * angle) - x * torch.sin(torch.pi * angle)
            half = 0.5 * (LENGTHS[0] + (LENGTHS[1] - LENGTHS[0]) * length)
            beyond = (along.abs() - half).clamp_min(0)
            stroke = along.new_tensor(WIDTHS[0]) + (WIDTHS[1] - WIDTHS[0]) * breadth
            covered = across.square() + beyond.square() <= stroke.square()
            if bool((mask * ~covered).any()):
                mask.mul_(~covered)
    return masks


class Inpainting(Pictures):
    """Some pixels of a photograph are known without noise, the others are to be filled; data are ``Masked``.

    Every held-out photograph comes twice: with single pixels missing, and under strokes. Training crops have one or the
    other, from 10 to 90 % of single pixels, or 3 to 20 % under strokes.

    Args:
        missing: part of the single pixels that is missing in held-out photographs.
        strokes: part that lies under strokes there.
        seed: of masks and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops.

    Raises:
        ValueError: a part outside (0, 1), and what ``Pictures`` refuses.
    """

    name = "inpainting"
    given = "a photograph of which pixels are missing, or to be removed"
    sought = "the photograph with them filled"
    options: Mapping[str, Any] = {"missing": 0.7, "strokes": 0.1}
    units: Mapping[str, str] = {
        "data.image": "1, luma from 0 (black) to 1 (white)",
        "data.mask": "1, 1 where a pixel is known, 0 where it is missing",
        "estimate": "1, luma from 0 (black) to 1 (white)",
    }
    notes = (
        "The PSNR of each photograph counts equally, all its pixels; what is known is given back as it was, so that "
        "errors are where pixels are missing. Estimates are clipped to [0, 1].",
        "Test pictures are the middle 192 x 192 pixels of two photographs, each with single pixels missing and under "
        "strokes.",
    )

    def __init__(
        self,
        missing: float = 0.7,
        strokes: float = 0.1,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 48,
    ) -> None:
        for value, what in ((missing, "missing"), (strokes, "strokes")):
            if not 0 < value < 1:
                raise ValueError(f"{what} is {value}; it is a part of the pixels, between 0 and 1")
        check_count(crop, "crop", 8)
        self.missing, self.strokes, self._given = missing, strokes, data is not None
        self.summary = (
            f"Photographs of which {missing:.0%} of the pixels are missing here and there, or {strokes:.0%} under "
            "strokes; none of the test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    @classmethod
    def small(cls) -> Inpainting:
        return cls(crop=24, data=few_drawn())

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Diffusion, total variation, biharmonic filling, the first filling, and a DnCNN on it."""
        return [
            Iterative(
                "Perona-Malik between the known pixels",
                lambda c: PeronaMalik(KnownPixels(), c),
                (0.02, 0.05, 0.1),
                300,
                tuning=100,
                setting="contrast",
            ),
            Iterative(
                "total variation, Chambolle-Pock",
                lambda w: ChambollePock(KnownPixels(), FiniteDifferences(), IsotropicShrink(), w, primal_step=0.35),
                (0.03, 0.1),
                400,
                tuning=150,
            ),
            Method("biharmonic", lambda _: _biharmonic, note="scikit-image", kind="library"),
            Method("the first filling", lambda _: lambda data: fill_missing(*data)),
            dncnn_on(lambda data: fill_missing(*data), size),
        ]

    def measurement(self) -> Measurement:
        return SampledMeasurement(KnownPixels(), fourier=False)

    def spoil(self, clean: Tensor, generator: torch.Generator, mask: Tensor | None = None) -> Samples:
        batch, height, width = clean.shape
        if mask is None:
            mask = pixel_mask(batch, height, width, self.missing, generator)
        return Samples(Masked(clean * mask, mask), clean)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Crops with single pixels missing, or under strokes, as many of the one as of the other."""
        clean = self.crops(batch, generator)
        parts = torch.rand(2, batch, generator=generator)
        single, under = (low + (high - low) * part for (low, high), part in zip((DRAWN, STROKES), parts, strict=True))
        which = (torch.rand(batch, 1, 1, generator=generator) < 0.5).float()
        shape = (clean.shape[0], clean.shape[1], clean.shape[2])
        masks = [make(*shape, part, generator) for make, part in ((pixel_mask, single), (stroke_mask, under))]
        return self.spoil(clean, generator, which * masks[0] + (1 - which) * masks[1])

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        batches = []
        for number, whole in enumerate(self.photographs[part].values()):
            picture = whole if self._given else _middle(whole, HELD_OUT)
            for kind, (make, missing) in enumerate(((pixel_mask, self.missing), (stroke_mask, self.strokes))):
                generator = torch.Generator().manual_seed(seed + 7919 * self.seed + 2 * number + kind)
                mask = make(1, picture.shape[0], picture.shape[1], missing, generator)
                batches.append(self.spoil(picture.unsqueeze(0), generator, mask))
        return batches

    def shifts(self) -> Sequence[Shift]:
        """Fewer and more pixels missing."""

        def made(missing: float) -> Samples:
            clean, generator = self.timing.target[:2], torch.Generator().manual_seed(4_000_003 + self.seed)
            batch, height, width = clean.shape
            return self.spoil(clean, generator, pixel_mask(batch, height, width, missing, generator))

        return [
            Shift(
                "part of the pixels that is missing",
                (0.3, 0.5, 0.7, 0.8, 0.9),
                made,
                self.missing,
                "In training 10 to 90 % of the pixels were missing.",
            )
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "missing": self.missing, "strokes": self.strokes}


def _middle(picture: Tensor, side: int) -> Tensor:
    height, width = picture.shape
    top, left = (max(0, (each - side) // 2) for each in (height, width))
    return picture[top : top + side, left : left + side].contiguous()


def _biharmonic(data: Masked) -> Tensor:
    """Missing pixels by the biharmonic equation (Damelin and Hoang 2018, doi:10.1155/2018/3950312)."""
    with extra("biharmonic inpainting"):
        from skimage.restoration import inpaint_biharmonic

    masks = data.mask.expand_as(data.image).numpy() == 0
    found = [inpaint_biharmonic(image, mask) for image, mask in zip(data.image.double().numpy(), masks, strict=True)]
    return torch.from_numpy(np.stack(found)).float()
