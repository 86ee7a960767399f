"""A small fully convolutional network that scores the classes of pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call

STRIDE = 8  # of the deepest features
DILATIONS = (1, 2, 4)


@explain_call
class FullyConvolutional(nn.Module):
    """Scores of classes at every eighth pixel, interpolated: (batch, inputs, height, width) -> (batch, classes, height,
    width).

    After Long, Shelhamer and Darrell 2015, doi:10.1109/CVPR.2015.7298965, small: convolutions of 5 x 5 and stride 2 to
    w channels; 3 x 3 and stride 2 to 2 w, 3 x 3; 3 x 3 and stride 2 to 4 w; three of 3 x 3, dilated by 1, 2 and 4, each
    with its input added; 1 x 1 to the classes; then bilinear interpolation. After each convolution but the last the
    normalisation of each channel of each picture, and ReLU. With w = 27 and 11 classes 411,140 numbers. Pictures of any
    size: they are continued to multiples of 8.

    Args:
        classes: of pixels.
        width: w.
        inputs: channels of pictures.
        seed: of the weights, normal numbers as He et al. 2015 (doi:10.1109/ICCV.2015.123) scale them.
    """

    def __init__(self, classes: int, width: int = 27, inputs: int = 3, *, seed: int = 0) -> None:
        super().__init__()
        for name, value in (("classes", classes), ("width", width), ("inputs", inputs)):
            check_count(value, name)
        self.inputs = inputs
        self.first = nn.Sequential(
            *_block(inputs, width, 5, 2), *_block(width, 2 * width, 3, 2), *_block(2 * width, 2 * width, 3, 1),
            *_block(2 * width, 4 * width, 3, 2),
        )  # fmt: skip
        self.deep = nn.ModuleList(nn.Sequential(*_block(4 * width, 4 * width, 3, 1, d)) for d in DILATIONS)
        self.last = nn.Conv2d(4 * width, classes, 1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for part in self.modules():
                if isinstance(part, nn.Conv2d):
                    nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
            self.last.weight.mul_(0.1)
            assert self.last.bias is not None
            self.last.bias.zero_()

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch classes height width"]:
        """Logits."""
        check_input(self, x, "x", self.inputs, None, None)
        height, width = x.shape[-2:]
        below, right = -height % STRIDE, -width % STRIDE
        wide = nn.functional.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
        found = self.first(2 * wide - 1)
        for block in self.deep:
            found = found + block(found)
        coarse = self.last(found)
        size = (wide.shape[-2], wide.shape[-1])
        return nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)[..., :height, :width]


@explain_call
class LocalHead(nn.Module):
    """What a few convolutions make of scores and picture, added to the scores: the generic rival of a random field.

    s + C_n ReLU(... C_1 (s, picture)), of 3 x 3, C_n zero at the start: (batch, classes, height, width) twice to the
    same.

    Args:
        classes: of the scores.
        width: channels in between.
        layers: of convolution, at least 2.
        inputs: channels of pictures.
    """

    def __init__(self, classes: int, width: int = 8, layers: int = 2, inputs: int = 3) -> None:
        super().__init__()
        for name, value, least in (("classes", classes, 1), ("width", width, 1), ("layers", layers, 2)):
            check_count(value, name, least)
        self.classes, self.inputs = classes, inputs
        parts: list[nn.Module] = [nn.Conv2d(classes + inputs, width, 3, padding=1), nn.ReLU()]
        for _ in range(layers - 2):
            parts += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        last = nn.Conv2d(width, classes, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.body = nn.Sequential(*parts, last)

    def forward(
        self, scores: Float[Tensor, "batch classes height width"], picture: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Better scores."""
        check_input(self, scores, "scores", self.classes, None, None)
        check_input(self, picture, "picture", self.inputs, *scores.shape[-2:])
        return scores + self.body(torch.cat([scores, picture], 1))


def _block(before: int, after: int, size: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(before, after, size, stride, padding, dilation, bias=False)
    return [convolution, nn.GroupNorm(after, after), nn.ReLU()]
