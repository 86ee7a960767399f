"""Photographs compressed by JPEG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms.images.diffusion import Compressed
from unrolling.operators.dct import cut_blocks, dct2, join_blocks
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.images.baselines import deblockers, dncnn_on
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn

OFFSET = 128 / 255


def coefficients_of(image: Tensor, steps: Tensor) -> Tensor:
    """The stored coefficients that decoded blocks come from: those of the image, rounded to multiples of the
    quantisation steps.

    Args:
        image: (batch, height, width) as decoded, in [0, 1], sides multiples of 8.
        steps: (batch or 1, 8, 8), the quantisation table on the same scale.
    """
    table = steps.reshape(steps.shape[0], 1, 1, 8, 8)
    return join_blocks((dct2(cut_blocks(image - OFFSET, 8)) / table).round() * table)


def compress(pictures: Tensor, quality: int) -> Compressed:
    """Pictures as JPEG (Pillow's encoder, tables of the Independent JPEG Group) and back.

    Args:
        pictures: (batch, height, width) in [0, 1], sides multiples of 8.
        quality: 1 to 95.
    """
    with extra("compressing pictures"):
        from PIL import Image

    decoded, table = [], np.zeros(64)
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray((picture.clamp(0, 1) * 255).round().to(torch.uint8).numpy()).save(
            buffer, "JPEG", quality=quality
        )
        with Image.open(buffer) as file:
            table = np.asarray(file.quantization[0], dtype=np.float32)  # pyright: ignore[reportAttributeAccessIssue]
            decoded.append(torch.from_numpy(np.asarray(file, dtype=np.float32) / 255))
    image = torch.stack(decoded)
    steps = torch.from_numpy(np.asarray(table, dtype=np.float32)).reshape(1, 8, 8) / 255
    return Compressed(image, coefficients_of(image, steps), steps, torch.ones(1, *image.shape[1:]))


class Deblocking(Pictures):
    """Photographs after JPEG compression; what the file says of every coefficient comes with the data.

    Args:
        quality: of the encoder, 1 to 95.
        seed: of the crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops, a multiple of 8.

    Raises:
        ValueError: a quality outside 1 to 95, a crop that is no multiple of 8, and what ``Pictures`` refuses.
    """

    name = "deblocking"
    given = "a JPEG file"
    sought = "the photograph without blocks and ringing"
    options: Mapping[str, Any] = {"quality": 10}
    notes = ("Images are of 8 bits before and after; the PSNR of each photograph counts equally.",)
    multiple = 8
    units: Mapping[str, str] = {
        "data.image": "1, luma from 0 to 1",
        "data.coefficients": "1, cosine coefficients of luma",
        "data.steps": "1, quantisation steps of these",
        "data.known": "1",
        "estimate": "1, luma from 0 to 1",
    }

    def __init__(
        self,
        quality: int = 10,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        if not 1 <= quality <= 95:
            raise ValueError(f"quality is {quality}; it lies between 1 and 95")
        if crop % 8:
            raise ValueError(f"crop is {crop}; training crops are whole blocks of 8 pixels")
        self.quality = quality
        self.summary = (
            f"Photographs compressed by JPEG at quality {quality}; none of the test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    @classmethod
    def small(cls) -> Deblocking:
        return cls(crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The quality of the encoder."""
        return f"q{options['quality']}"

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Classical deblockers, and a DnCNN on the decoded image."""
        return [*deblockers(), dncnn_on(lambda data: data.image, size)]

    def spoil(self, clean: Tensor, generator: torch.Generator, quality: int | None = None) -> Samples:
        # What was encoded has 8 bits; errors count from there.
        target = (clean.clamp(0, 1) * 255).round() / 255
        return Samples(compress(target, self.quality if quality is None else quality), target)

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return super().pieces((estimate.clamp(0, 1) * 255).round() / 255, samples)

    def shifts(self) -> Sequence[Shift]:
        """Stronger and weaker compression."""

        def made(quality: float) -> Samples:
            return self.spoil(self.timing.target[:2], torch.Generator(), int(quality))

        qualities = tuple(sorted({float(self.quality), 5.0, 10.0, 20.0, 30.0, 50.0}, reverse=True))
        return [
            Shift(
                "quality of the encoder",
                qualities,
                made,
                float(self.quality),
                "The network was trained for one quality.",
            )
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "quality": self.quality}
