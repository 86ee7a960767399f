"""The U-Net of FBPConvNet: batch normalisation, transposed convolutions, five levels."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call

LARGEST_WIDTH, MOST_LEVELS = 1024, 8


@explain_call
class BatchNormUNet(nn.Module):
    """U(x), a U-Net with batch normalisation after every convolution but the last: (batch, height, width) or (batch,
    inputs, height, width) to the same, with ``outputs`` channels.

    Jin, McCann, Froustey and Unser 2017, doi:10.1109/TIP.2017.2713099. Width w at the top, 2^l w at level l: three
    convolutions of 3 x 3 at the top going down and two at each other level, each with its normalisation and ReLU;
    pooling of 2 x 2 between the levels; going up, a transposed convolution of 3 x 3 and stride 2 with its normalisation
    and ReLU, then what the same level had on the way down beside it, then two convolutions; a convolution of 1 x 1 at
    the end, which is zero at the start. With w = 64 and four halvings 34,562,945 parameters.

    Images of any size: they are continued to multiples of 2^levels. Evaluated on an image moved by 2^levels pixels, the
    output moves with it, except near the borders.

    The statistics of a normalisation are those of each image, in training and in evaluation alike: what batches of a
    single image have in training, as the authors trained. Running averages of them, which batch normalisation
    evaluates with, are those of no single image.
    So every image has its own output, whatever else is in the batch; ``running`` gives batch normalisation as it was
    published.

    Args:
        width: w.
        levels: how often the image is halved, at least 1.
        inputs: channels of x; 1 for images (batch, height, width) without a dimension for them.
        outputs: channels of U(x), as many as x has by default.
        running: whether normalisations follow the statistics of batches, and evaluation uses these.

    Raises:
        ValueError: a width, a number of levels or channels below 1.
    """

    def __init__(
        self, width: int = 16, levels: int = 4, inputs: int = 1, outputs: int | None = None, *, running: bool = False
    ) -> None:
        super().__init__()
        check_count(width, "width", 1, LARGEST_WIDTH)
        check_count(levels, "levels", 1, MOST_LEVELS)
        check_count(inputs, "inputs")
        self.inputs, self.outputs, self.levels = inputs, inputs if outputs is None else outputs, levels
        check_count(self.outputs, "outputs")
        widths = [width * 2**level for level in range(levels + 1)]

        def block(before: int, after: int, count: int) -> nn.Sequential:
            sizes = [before] + [after] * count
            return nn.Sequential(
                *(part for a, b in pairwise(sizes) for part in _normalised(nn.Conv2d(a, b, 3, padding=1), running))
            )

        self.down = nn.ModuleList(
            block(before, after, 3 if level == 0 else 2)
            for level, (before, after) in enumerate(zip([inputs, *widths[:-1]], widths, strict=True))
        )
        self.enlarge = nn.ModuleList(
            nn.Sequential(*_normalised(nn.ConvTranspose2d(2 * w, w, 3, stride=2, padding=1, output_padding=1), running))
            for w in reversed(widths[:-1])
        )
        self.up = nn.ModuleList(block(2 * w, w, 2) for w in reversed(widths[:-1]))
        self.last = nn.Conv2d(width, self.outputs, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "batch ... height width"]) -> Float[Tensor, "batch ... height width"]:
        """U(x); zero of an untrained network."""
        check_input(self, x, "x", *(() if self.inputs == 1 else (self.inputs,)), None, None)
        image = x.unsqueeze(1) if self.inputs == 1 else x
        height, width = image.shape[-2:]
        multiple = 2**self.levels
        if height % multiple or width % multiple:
            image = nn.functional.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        kept = []
        for level, block in enumerate(self.down):
            image = block(image if level == 0 else nn.functional.max_pool2d(image, 2))
            kept.append(image)
        for enlarge, block, side in zip(self.enlarge, self.up, reversed(kept[:-1]), strict=True):
            image = block(torch.cat([enlarge(image), side], 1))
        found = self.last(image)[..., :height, :width]
        return found.squeeze(1) if self.outputs == 1 and self.inputs == 1 else found


class _OfImages(nn.InstanceNorm2d):
    """Of no images, and of images of a single pixel, too, which torch's own refuses; the latter leave the bias alone.

    Groups of one channel are the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        return torch.group_norm(input, self.num_features, self.weight, self.bias, self.eps, False)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d, running: bool) -> list[nn.Module]:
    channels = convolution.out_channels
    norm = nn.BatchNorm2d(channels) if running else _OfImages(channels, affine=True)
    return [convolution, norm, nn.ReLU(inplace=True)]
