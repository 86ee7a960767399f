"""A convolutional network of three layers that sharpens bands: the generic rival of unrolled pan-sharpening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call
from unrolling.networks.mlp import LARGEST

SIZES = (9, 5, 5)  # of the filters


@explain_call
class PNN(nn.Module):
    """x = u + N(u, p), u enlarged bands and N three convolutions of 9 x 9, 5 x 5 and 5 x 5 pixels with ReLU between
    them, which see bands and panchromatic image p side by side: (batch, bands + 1, height, width), p last, -> (batch,
    bands, height, width).

    Masi, Cozzolino, Verdoliva and Scarpa 2016, doi:10.3390/rs8070594: 64 and 32 channels. u is added as in its target-
    adaptive form (Scarpa, Vitale and Cozzolino 2018, doi:10.1109/TGRS.2018.2817393). Bands and panchromatic image go in
    with mean 0 and deviation 1, and what comes out is multiplied by the deviation of the band; borders are repeated.
    The last convolution is zero at the start.

    Args:
        bands: how many; no other number will do.
        channels: after the first and the second convolution.
    """

    def __init__(self, bands: int = 4, channels: Sequence[int] = (64, 32)) -> None:
        super().__init__()
        check_count(bands, "bands")
        first, second = channels
        for count in (first, second):
            check_count(count, "channels")
        self.bands = bands
        options: dict[str, Any] = {"padding": "same", "padding_mode": "replicate"}
        last = nn.Conv2d(second, bands, SIZES[2], **options)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.body = nn.Sequential(
            nn.Conv2d(bands + 1, first, SIZES[0], **options),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, SIZES[1], **options),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch bands height width"]:
        """The sharpened bands."""
        check_input(self, x, "x", self.bands + 1, None, None)
        centre, deviation = _moments(x)
        found = self.body(((x - centre) / deviation).contiguous(memory_format=torch.channels_last))
        return x[:, :-1] + deviation[:, :-1] * found


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over pixels; 1 for an image that is constant."""
    centre = x.mean((-2, -1), keepdim=True)
    variance = (x - centre).square().mean((-2, -1), keepdim=True)
    return centre, torch.where(variance > 0, variance, 1).sqrt()


def pnn_width(parameters: int, bands: int) -> int:
    """The even number of channels after the first convolution, twice those after the second, that brings a ``PNN``
    closest to a number of parameters, at least 2.
    """
    check_count(parameters, "parameters")
    check_count(bands, "bands")
    if parameters > LARGEST:
        raise ValueError(f"parameters is {parameters}; no network here has more than {LARGEST}")

    def count(width: int) -> int:
        half = width // 2
        return (81 * (bands + 1) + 1) * width + (25 * width + 1) * half + (25 * half + 1) * bands

    width = 2
    while count(width + 2) <= parameters:
        width += 2
    return width if parameters - count(width) <= count(width + 2) - parameters else width + 2
