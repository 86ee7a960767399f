"""Variations of magnetic resonance images, so that few of them stand for many: turned, of other sizes, contrasts and
brightness.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

SIZES = (0.6, 1.2)  # of what is shown, relative to the image
EXPONENTS = (0.7, 1.4)  # of magnitudes
BRIGHTNESS = (0.5, 1.0)


def varied(
    image: Tensor, generator: torch.Generator, size: int | None = None, *, colours: bool = True
) -> Float[Tensor, "height width"]:
    """An image (height, width), real or complex, mirrored or turned by quarters; half of them at 0.6 to 1.2 times their
    size, the rest dark; half with their magnitudes to a power from 0.7 to 1.4; all at 0.5 to 1 times their brightness.

    Args:
        image: magnitudes from 0 to 1.
        generator: of everything.
        size: pixels along a side of a part, at random, that is taken of the result.
        colours: whether powers and brightness change.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    shape = image.shape
    turns = int(torch.randint(8, (), generator=generator))
    image = image.flip([d for d in (0, 1) if turns >> d & 1])
    if turns & 4 and shape[0] == shape[1]:
        image = image.T
    if uniform(0, 1) < 0.5:
        image = _resized(image, uniform(*SIZES))
    if colours and uniform(0, 1) < 0.5:
        image = image * image.abs().clamp_min(1e-6) ** (uniform(*EXPONENTS) - 1)
    if colours:
        image = image * uniform(*BRIGHTNESS)
    height, width = (min(side, size or side) for side in shape)
    top = int(torch.randint(shape[0] - height + 1, (), generator=generator))
    left = int(torch.randint(shape[1] - width + 1, (), generator=generator))
    return image[top : top + height, left : left + width].contiguous()


def _resized(image: Tensor, factor: float) -> Tensor:
    """Its content larger or smaller, the image as large as it was."""
    parts = torch.stack([image.real, image.imag]) if image.is_complex() else image.unsqueeze(0)
    sizes = [max(1, round(factor * side)) for side in image.shape]
    parts = nn.functional.interpolate(parts.unsqueeze(0), size=sizes, mode="bicubic", antialias=True)[0]
    for dim, side in ((1, image.shape[0]), (2, image.shape[1])):
        extra = side - parts.shape[dim]
        if extra >= 0:
            pad = (extra // 2, extra - extra // 2)
            parts = nn.functional.pad(parts, pad if dim == 2 else (0, 0, *pad))
        else:
            parts = parts.narrow(dim, -extra // 2, side)
    return torch.complex(parts[0], parts[1]) if image.is_complex() else parts[0].clamp(0, 1)
