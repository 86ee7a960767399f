"""The U-Net of the end-to-end variational network, on complex images that it brings to mean 0 and deviation 1."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call
from unrolling.core.scale import norm
from unrolling.networks.channels import from_channels, to_channels

Offset = Literal["mean", "zero", "image"]
SLOPE, LEAST = 0.2, 1e-5  # of the leaky ReLU; of a variance


@explain_call
class InstanceUNet(nn.Module):
    """A U-Net of convolutions of 3 x 3 without bias, each with instance normalisation and a leaky ReLU (0.2) after it.

    Two convolutions on each level; going down, means over 2 x 2 and twice the channels; going up, transposed
    convolutions of 2 x 2 and what the same level had on the way down; a convolution of 1 x 1 at the end. Zbontar et al.
    2018 (fastMRI), arXiv:1811.08839, section 6.2, with the changes of Sriram et al. 2020, arXiv:2004.06688.

    Args:
        width: channels of the first level.
        pools: how often the image is halved, at least 1. Height and width are multiples of 2^pools.
        inputs: channels of the image.
        outputs: channels of the result.
    """

    def __init__(self, width: int = 18, pools: int = 4, inputs: int = 2, outputs: int = 2) -> None:
        super().__init__()
        for name, value in (("width", width), ("pools", pools), ("inputs", inputs), ("outputs", outputs)):
            check_count(value, name)
        self.pools, self.inputs = pools, inputs
        widths = [width * 2**level for level in range(pools + 1)]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([inputs, *widths[:-1]], widths, strict=True))
        self.grow = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(2 * w, w, 2, stride=2, bias=False), _Normalisation())
            for w in reversed(widths[:-1])
        )
        self.up = nn.ModuleList(_double(2 * w, w) for w in reversed(widths[:-1]))
        self.last = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs height width"]:
        check_input(self, x, "x", self.inputs, None, None)
        if any(side % 2**self.pools for side in x.shape[-2:]):
            raise ValueError(
                f"x has {x.shape[-2]} x {x.shape[-1]} pixels; after {self.pools} halvings both are multiples of "
                f"{2**self.pools}"
            )
        kept: list[Tensor] = []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else nn.functional.avg_pool2d(x, 2))
            kept.append(x)
        for grow, block, side in zip(self.grow, self.up, reversed(kept[:-1]), strict=True):
            x = block(torch.cat([grow(x), side], 1))
        return self.last(x)


class _Normalisation(nn.Module):
    """Instance normalisation, without parameters, and a leaky ReLU; of one pixel too, which then is zero."""

    def forward(self, x: Tensor) -> Tensor:
        # torch.nn.functional.instance_norm refuses a single pixel
        normal = torch.instance_norm(x, None, None, None, None, True, 0.0, LEAST, False)
        return nn.functional.leaky_relu(normal, SLOPE, inplace=True)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        _Normalisation(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        _Normalisation(),
    )


@explain_call
class NormalisedUNet(nn.Module):
    """U(x) = s N((x - m) / s) + o, N an ``InstanceUNet``; m and s are mean and standard deviation over the pixels of an
    image, of real and imaginary part each.

    Sriram et al. 2020, arXiv:2004.06688. U(c x) = c U(x) for every number c > 0.

    Args:
        width: channels of the first level; 18 as published.
        pools: how often the image is halved; 4 as published.
        offset: o: ``mean`` is m, as published; ``zero`` nothing, and ``image`` x. With the last two N is zero at the
            start, so that U(x) then is 0, or x.

    Raises:
        ValueError: an unknown offset, a count below 1.
    """

    def __init__(self, width: int = 18, pools: int = 4, *, offset: Offset = "mean") -> None:
        super().__init__()
        if offset not in get_args(Offset):
            raise ValueError(f"offset is {offset!r}; it is one of {', '.join(get_args(Offset))}")
        self.offset: Offset = offset
        self.network = InstanceUNet(width, pools)
        if offset != "mean":
            nn.init.zeros_(self.network.last.weight)
            assert self.network.last.bias is not None
            nn.init.zeros_(self.network.last.bias)

    def forward(self, x: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch height width"]:
        """Images of any size: they are continued by zeros to multiples of 2^pools."""
        check_input(self, x, "x", None, None, real=False)
        channels = to_channels(x.unsqueeze(1))
        height, width = channels.shape[-2:]
        mean = channels.mean((-2, -1), keepdim=True)
        centred = channels - mean
        deviation = norm(centred, (-2, -1), keepdim=True) / (height * width) ** 0.5
        scale = torch.where(deviation > 0, deviation, 1)
        multiple = 2**self.network.pools
        below, right = -height % multiple, -width % multiple
        around = (right // 2, right - right // 2, below // 2, below - below // 2)
        found = self.network(nn.functional.pad(centred / scale, around))
        found = scale * found[..., below // 2 : below // 2 + height, right // 2 : right // 2 + width].to(scale.dtype)
        offset = {"mean": mean, "image": channels}.get(self.offset)
        return from_channels(found if offset is None else found + offset).squeeze(1)
