"""An encoder-decoder as Deep-STORM has it: the generic rival of unrolled networks in super-resolution microscopy."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call


@explain_call
class EncoderDecoder(nn.Module):
    """Three times convolution and pooling, then three times enlargement and convolution, all with batch normalisation
    and ReLU, and a last convolution: the shape of Deep-STORM (Nehme, Weiss, Michaeli and Shechtman 2018,
    doi:10.1364/OPTICA.5.000458). There are no connections past the narrowest place. A width of 32 is
    Deep-STORM's.

    Images of any size: they are continued to multiples of 8.

    Args:
        width: channels of the first level.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        check_count(width, "width")
        down = (1, width, 2 * width, 4 * width)
        self.down = nn.ModuleList([_block(a, b) for a, b in pairwise(down)])
        self.middle = _block(4 * width, 16 * width)
        up = (16 * width, 4 * width, 2 * width, width)
        self.up = nn.ModuleList([_block(a, b) for a, b in pairwise(up)])
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The image that it makes of another one."""
        check_input(self, y, "y", None, None)
        height, width = y.shape[-2:]
        x = nn.functional.pad(y.unsqueeze(1), (0, -width % 8, 0, -height % 8), mode="replicate")
        for block in self.down:
            x = nn.functional.max_pool2d(block(x), 2)
        x = self.middle(x)
        for block in self.up:
            x = block(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(x)[..., :height, :width].squeeze(1)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def normalised(image: Float[Tensor, "batch height width"]) -> tuple[Tensor, Tensor]:
    """Each image less its mean, over its standard deviation, and that, (batch, 1, 1); of a flat one 1."""
    spread = image.std((-2, -1), keepdim=True)
    spread = torch.where(spread > 0, spread, 1)
    return (image - image.mean((-2, -1), keepdim=True)) / spread, spread
