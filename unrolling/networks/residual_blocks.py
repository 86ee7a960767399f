"""Residual blocks of two convolutions that keep the number of channels: the learned proxes of RCDNet."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call


@explain_call
class ResidualBlocks(nn.Module):
    """x <- x + V relu(U x + a) + b in every block, U and V convolutions of 3 x 3, zeros beyond the border: (batch,
    channels, height, width) to the same.

    He, Zhang, Ren and Sun 2016, doi:10.1109/CVPR.2016.90, without normalisation. V and b are zero at the start, so that
    nothing changes; U is as He et al. 2015 draw it (arXiv:1502.01852).

    Args:
        channels: of the images.
        blocks: at least 1.
        seed: of the random numbers.
    """

    def __init__(self, channels: int, blocks: int = 2, *, seed: int = 0) -> None:
        super().__init__()
        check_count(channels, "channels")
        check_count(blocks, "blocks")
        self.channels = channels
        generator = torch.Generator().manual_seed(seed)
        self.inner = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks)])
        self.outer = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks)])
        with torch.no_grad():
            for convolution in self.inner:
                nn.init.kaiming_normal_(convolution.weight, generator=generator)  # pyright: ignore[reportArgumentType]
                nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]
            for convolution in self.outer:
                nn.init.zeros_(convolution.weight)  # pyright: ignore[reportArgumentType]
                nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The images with what the blocks add."""
        check_input(self, x, "x", self.channels, None, None)
        x = x.contiguous(memory_format=torch.channels_last)  # in which convolutions take half the time
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = x + outer(torch.relu(inner(x)))
        return x
