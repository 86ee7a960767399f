"""A small U-Net: the generic rival of unrolled networks in reconstruction."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call
from unrolling.networks.mlp import LARGEST


@explain_call
class UNet(nn.Module):
    """x = y + U(y), U a U-Net (Ronneberger, Fischer and Brox 2015, doi:10.1007/978-3-319-24574-4_28) with a residual
    connection around it.

    Each level has two convolutions of 3 x 3 with ReLU; going down, pooling of 2 x 2 and twice the channels; going up,
    bilinear interpolation and what the same level had on the way down. Images of any size: they are continued to
    multiples of 2^levels.

    Args:
        width: channels of the first level.
        levels: how often the image is halved, at least 1.
        inputs: channels of y; 1 for images (batch, height, width) without a dimension for them.
        outputs: channels of x, as many as y has, or 1.
    """

    def __init__(self, width: int = 16, levels: int = 2, inputs: int = 1, outputs: int | None = None) -> None:
        super().__init__()
        if levels < 1 or width < 1:
            raise ValueError(f"width and levels are at least 1; got {width} and {levels}")
        self.inputs, self.outputs, self.levels = inputs, inputs if outputs is None else outputs, levels
        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            [_double(before, after) for before, after in zip([inputs, *widths[:-1]], widths, strict=True)]
        )
        self.up = nn.ModuleList([_double(2 * w + w, w) for w in reversed(widths[:-1])])
        self.last = nn.Conv2d(width, self.outputs, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, y: Float[Tensor, "batch ... height width"]) -> Float[Tensor, "batch ... height width"]:
        """The image and what was found to be missing; of an untrained network the image itself."""
        check_input(self, y, "y", *(() if self.inputs == 1 else (self.inputs,)), None, None)
        image = y.unsqueeze(1) if self.inputs == 1 else y
        height, width = image.shape[-2:]
        multiple = 2**self.levels
        x = nn.functional.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        kept = []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        for block, side in zip(self.up, reversed(kept[:-1]), strict=True):
            x = block(
                torch.cat([nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False), side], 1)
            )
        found = self.last(x)[..., :height, :width] + image[:, : self.outputs]
        return found.squeeze(1) if self.inputs == 1 else found


def _double(inputs: int, outputs: int) -> nn.Sequential:
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))


def unet_width(parameters: int, levels: int = 2, inputs: int = 1) -> int:
    """The width that brings a ``UNet`` closest to a number of parameters, at least 1."""

    check_count(parameters, "parameters")
    check_count(levels, "levels")
    if parameters > LARGEST:
        raise ValueError(f"parameters is {parameters}; no network here has more than {LARGEST}")

    def count(width: int) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in UNet(width, levels, inputs).parameters())

    width = 1
    while count(width + 1) <= parameters:
        width += 1
    return width if parameters - count(width) <= count(width + 1) - parameters else width + 1
