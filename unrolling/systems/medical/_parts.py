"""Parts of an image or a movie that are worked on by themselves, half over each other, and joined again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def starts(size: int, part: int) -> Iterator[int]:
    """Where parts begin: every half of their size, the last one at the border."""
    if size <= part:
        yield 0
        return
    yield from range(0, size - part, max(1, part // 2))
    yield size - part


def taper(count: int) -> Tensor:
    """A Tukey window of so many pixels, half of it flat; nowhere 0."""
    ramp = (torch.arange(count) + 0.5) / max(1, count // 4)
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp(max=1)
    return 0.5 - 0.5 * torch.cos(torch.pi * ramp)
