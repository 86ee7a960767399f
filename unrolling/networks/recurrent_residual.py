"""A recurrent residual network for photographs in the rain: the generic rival of unrolled networks there."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call
from unrolling.networks.mlp import LARGEST


@explain_call
class PReNet(nn.Module):
    """x <- out(blocks(h)), (h, c) <- LSTM(relu(in([O, x])), h, c), x = O at the start: (batch, colours, height, width)
    to the same.

    Ren, Zuo, Hu, Zhu and Meng 2019, doi:10.1109/CVPR.2019.00406: 6 stages of 32 channels, a convolutional LSTM and 5
    residual blocks, the same in all stages; 168,963 numbers. Here the last convolution gives what is taken from O and
    starts at zero, so that the network begins with the photograph as it is.

    Args:
        stages: how often it runs.
        channels: between the convolutions.
        blocks: residual ones.
        colours: of the pictures.
    """

    def __init__(self, stages: int = 6, channels: int = 32, blocks: int = 5, colours: int = 3) -> None:
        super().__init__()
        counts = {"stages": stages, "channels": channels, "blocks": blocks, "colours": colours}
        for name, value in counts.items():
            check_count(value, name)
        self.stages, self.channels, self.colours = stages, channels, colours
        self.first = nn.Conv2d(2 * colours, channels, 3, padding=1)
        self.gates = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, 3, padding=1),
                    nn.ReLU(),
                )
                for _ in range(blocks)
            ]
        )
        self.last = nn.Conv2d(channels, colours, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # pyright: ignore[reportArgumentType]

    def forward(
        self, photo: Float[Tensor, "batch colours height width"]
    ) -> Float[Tensor, "batch colours height width"]:
        """The photograph without what the last stage finds."""
        check_input(self, photo, "photo", self.colours, None, None)
        photo = photo.contiguous(memory_format=torch.channels_last)
        batch, _, height, width = photo.shape
        hidden = cell = photo.new_zeros(batch, self.channels, height, width)
        x = photo
        for _ in range(self.stages):
            gates = self.gates(torch.cat([torch.relu(self.first(torch.cat([photo, x], 1))), hidden], 1))
            enter, forget, new, leave = gates.chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            hidden = torch.sigmoid(leave) * torch.tanh(cell)
            inner = hidden
            for block in self.blocks:
                inner = torch.relu(inner + block(inner))
            x = photo - self.last(inner)
        return x


def prenet_channels(parameters: int, blocks: int = 5, colours: int = 3) -> int:
    """The number of channels that brings a ``PReNet`` closest to a number of parameters, at least 1."""
    check_count(parameters, "parameters")
    check_count(blocks, "blocks")
    if parameters > LARGEST:
        raise ValueError(f"parameters is {parameters}; no network here has more than {LARGEST}")

    def count(channels: int) -> int:
        inner = 72 * channels**2 + 4 * channels + blocks * 2 * (9 * channels**2 + channels)
        return inner + 18 * colours * channels + channels + 9 * colours * channels + colours

    channels = 1
    while count(channels + 1) <= parameters:
        channels += 1
    return channels if parameters - count(channels) <= count(channels + 1) - parameters else channels + 1
