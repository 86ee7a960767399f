"""Three convolutions that enlarge: the first convolutional network for super-resolution."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call
from unrolling.networks.mlp import LARGEST
from unrolling.operators.borders import extend

SIZES = (9, 1, 5)


@explain_call
class SRCNN(nn.Module):
    """x = F_3 max(F_2 max(F_1 y + b_1, 0) + b_2, 0) + b_3: (batch, height, width), the bicubic enlargement, to the
    same.

    Dong, Loy, He and Tang 2016, doi:10.1109/TPAMI.2015.2439281. As they read it, it is sparse coding of patches: F_1
    takes features of patches, max(F_2 . + b_2, 0) is one step of ISTA for non-negative codes from zero, F_3 adds up the
    sharp patches that codes mean, where they lie. Borders are mirrored. Of their settings 9-1-5 with 64 and 32 channels
    has 8,032 weights, 9-5-5 has 57,184.

    Args:
        first: channels after the first convolution.
        second: after the second.
        sizes: pixels along a side of the filters, odd.
        seed: of the start: normal with the variance of He et al. 2015, but for a first channel that hands y through
            and last filters of zero, so that an untrained network gives an image without negative pixels as it is.

    Raises:
        ValueError: sizes that are not odd.
    """

    def __init__(
        self, first: int = 64, second: int = 32, sizes: tuple[int, int, int] = SIZES, *, seed: int = 0
    ) -> None:
        super().__init__()
        check_count(first, "first")
        check_count(second, "second")
        if len(sizes) != 3 or any(size < 1 or size % 2 == 0 for size in sizes):
            raise ValueError(f"sizes are those of three filters, each odd; got {sizes}")
        channels = (1, first, second, 1)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels[k], channels[k + 1], size) for k, size in enumerate(sizes))
        self.margin = sum(size // 2 for size in sizes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for number, layer in enumerate(self.convolutions):
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is not None
                deviation = math.sqrt(2 / layer.weight[0].numel()) if number < 2 else 0.0
                layer.weight.normal_(0, deviation, generator=generator)
                layer.bias.zero_()
                middle = sizes[number] // 2
                layer.weight[0] = 0
                layer.weight[0, 0, middle, middle] = 1

    def forward(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The sharper image."""
        check_input(self, y, "y", None, None)
        x = extend(y, (self.margin, self.margin, self.margin, self.margin), "symmetric").unsqueeze(1)
        for number, layer in enumerate(self.convolutions):
            x = layer(x) if number == 2 else torch.relu(layer(x))
        return x.squeeze(1)


def srcnn_channels(parameters: int) -> int:
    """The number of channels, the same after both layers, that brings a 9-1-5 ``SRCNN`` closest to a number of
    parameters, at least 1.
    """
    check_count(parameters, "parameters")
    if parameters > LARGEST:
        raise ValueError(f"parameters is {parameters}; no network here has more than {LARGEST}")

    def count(channels: int) -> int:
        return channels**2 + (81 + 25 + 2) * channels + 1

    channels = max(1, int((-108 + math.sqrt(108**2 + 4 * parameters)) / 2))
    return min((channels, channels + 1), key=lambda n: abs(count(n) - parameters))
