"""A convolutional network along time with a long but finite memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call


@explain_call
class ChannelNorm(nn.Module):
    """Zero mean and unit variance over the channels of each instant, then a gain and an offset per channel; no
    statistics reach along time.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_count(channels, "channels")
        self.gain = nn.Parameter(torch.ones(channels, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch channels time"]:
        check_input(self, x, "x", len(self.gain), None)
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, unbiased=False)
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.gain + self.offset


class _Block(nn.Module):
    """x + P relu(D norm(x)), D a dilated convolution, P one of width one."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.dilated = nn.Conv1d(width, width, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.point = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.point(torch.relu(self.dilated(self.norm(x))))


@explain_call
class TemporalConvolutions(nn.Module):
    """Residual blocks of convolutions with dilations 1, 2, 4, ..., repeated: (batch, inputs, time) -> (batch, outputs,
    time).

    The design of sequence models that are convolutions (Bai, Kolter and Koltun 2018, arXiv:1803.01271; for separation
    Luo and Mesgarani 2019, arXiv:1809.07454), seeing both past and future. Normalised instant by instant, so that an
    output depends on ``memory`` instants to either side and on nothing else: a long signal may be cut into overlapping
    blocks.

    Args:
        inputs: channels of the data.
        outputs: channels of the result.
        width: channels in between.
        blocks: dilations 1 to 2^(blocks - 1).
        repeats: times that the row of dilations is run through.
        kernel: odd.
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int = 96, blocks: int = 6, repeats: int = 1, kernel: int = 3
    ) -> None:
        if kernel % 2 == 0 or min(inputs, outputs, width, blocks, repeats, kernel) < 1:
            raise ValueError(
                f"sizes are at least 1 and the kernel is odd; got {inputs}, {outputs}, width {width}, {blocks} x "
                f"{repeats} blocks, kernel {kernel}"
            )
        super().__init__()
        self.memory = repeats * (kernel // 2) * (2**blocks - 1)
        self.first = nn.Conv1d(inputs, width, 1)
        self.blocks = nn.Sequential(*(_Block(width, kernel, 2**k) for _ in range(repeats) for k in range(blocks)))
        self.norm = ChannelNorm(width)
        self.last = nn.Conv1d(width, outputs, 1)

    def forward(self, input: Float[Tensor, "batch inputs time"]) -> Float[Tensor, "batch outputs time"]:
        check_input(self, input, "input", self.first.in_channels, None)
        return self.last(self.norm(self.blocks(self.first(input))))
