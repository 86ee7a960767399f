"""A small fully convolutional network that scores every pixel."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call

DILATIONS = (1, 1, 2, 4, 1)
RARE = 0.01  # probability of every pixel at the start


@explain_call
class PixelDetector(nn.Module):
    """Scores of pixels, s = C_6 ReLU(C_5 ... ReLU(C_1 x)): five convolutions of 3 x 3, dilated by 1, 1, 2, 4 and 1 (Yu
    and Koltun 2016, arXiv:1511.07122), and one of 1 x 1. A score depends on 19 x 19 pixels, wherever these lie.

    Scores are logits: sigmoid(s) is the probability that something lies there, 0.01 everywhere at the start.

    Args:
        width: channels.
        seed: of the weights, which are normal numbers as He et al. 2015 (doi:10.1109/ICCV.2015.123) scale them.
    """

    def __init__(self, width: int = 16, *, seed: int = 0) -> None:
        super().__init__()
        check_count(width, "width")
        parts: list[nn.Module] = []
        inputs = 1
        for dilation in DILATIONS:
            parts += [nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            inputs = width
        self.body = nn.Sequential(*parts)
        self.last = nn.Conv2d(width, 1, 1)
        generator = torch.Generator().manual_seed(seed)
        for part in self.body:
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
                assert part.bias is not None
                nn.init.zeros_(part.bias)
        nn.init.normal_(self.last.weight, std=0.01, generator=generator)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, math.log(RARE / (1 - RARE)))

    def forward(self, image: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """Logits, (batch, height, width)."""
        check_input(self, image, "image", None, None)
        return self.last(self.body(image.unsqueeze(1))).squeeze(1)
