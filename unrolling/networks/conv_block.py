"""A few convolutions in a row: what an unrolled step of imaging puts into the place of a prox."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call


class PReLU(nn.Module):
    """max(u, 0) + a min(u, 0): He, Zhang, Ren and Sun 2015, doi:10.1109/ICCV.2015.123.

    What ``nn.PReLU`` does, in three steps whose gradients take a third of the time on processors.

    Parameters: ``slope`` a.

    Args:
        channels: as many slopes; 1 for one that all channels share.
        slope: at the start.
    """

    def __init__(self, channels: int = 1, slope: float = 0.25) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((channels, 1, 1), slope))

    def forward(self, u: Tensor) -> Tensor:
        positive = torch.relu(u)
        return torch.addcmul(positive, self.slope.to(u.dtype), u - positive)


@explain_call
class ConvBlock(nn.Module):
    """Convolutions of 3 x 3 with PReLU between them, zeros beyond the border: (batch, inputs, height, width) -> (batch,
    outputs, height, width).

    Three of them with 32 channels are the networks of Learned Primal-Dual (Adler and Oktem 2018,
    doi:10.1109/TMI.2018.2799231). Weights start as uniform numbers of variance 2 / (9 (channels before + after))
    (Glorot and Bengio 2010), biases as 0.

    Parameters: ``convolutions`` (weight and bias each) and ``activations`` (slopes).

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        width: channels in between.
        layers: of convolution, at least 1.
        slopes: one for each ``channel``, or one for each ``layer``.
        linear: (outputs, inputs); the block then starts as the linear map x_o = sum_i L_oi u_i of each pixel, which two
            hidden channels carry for each output: max(u, 0) + a min(u, 0) less the same of -u is (1 + a) u. The other
            channels are random, but have no say at the start.
        seed: of the random numbers.

    Raises:
        ValueError: fewer than two channels in between for each output of a linear start.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 32,
        layers: int = 3,
        *,
        slopes: Literal["channel", "layer"] = "channel",
        linear: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"inputs": inputs, "outputs": outputs, "width": width, "layers": layers}.items():
            check_count(value, name)
        if slopes not in ("channel", "layer"):
            raise ValueError(f"slopes is {slopes!r}; it is 'channel' or 'layer'")
        self.inputs, self.outputs, self.width = inputs, outputs, width
        channels = [inputs, *[width] * (layers - 1), outputs]
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(channels)]
        )
        self.activations = nn.ModuleList([PReLU(width if slopes == "channel" else 1) for _ in range(layers - 1)])
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for convolution in self.convolutions:
                nn.init.xavier_uniform_(convolution.weight, generator=generator)  # pyright: ignore[reportArgumentType]
                nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]
            if linear is not None:
                self._start_linear(linear)

    def _start_linear(self, linear: Tensor) -> None:
        last = len(self.convolutions) - 1
        if linear.shape != (self.outputs, self.inputs):
            raise ValueError(
                f"linear is (outputs, inputs) of this block, ({self.outputs}, {self.inputs}); got {tuple(linear.shape)}"
            )
        used = linear.abs().sum(1).nonzero().flatten().tolist()
        if last and 2 * len(used) > self.width:
            raise ValueError(
                f"width is {self.width}; a linear start takes two channels for each of the "
                f"{len(used)} outputs that are not zero"
            )
        for number, convolution in enumerate(self.convolutions):
            weight: Tensor = convolution.weight  # pyright: ignore[reportAssignmentType]
            if number == last:
                weight.zero_()
            for place, output in enumerate(used):
                pair = slice(2 * place, 2 * place + 2)
                signs = torch.tensor([[1.0], [-1.0]])
                if number == 0:
                    rows = signs * linear[output] if last else linear[output].unsqueeze(0)
                else:
                    activation: PReLU = self.activations[number - 1]  # pyright: ignore[reportAssignmentType]
                    gain = 1 + float(activation.slope.flatten()[0])
                    rows = (signs if number < last else torch.ones(1, 1)) * torch.tensor([[1.0, -1.0]]) / gain
                into = pair if number < last else slice(output, output + 1)
                weight[into] = 0
                weight[into, slice(None) if number == 0 else pair, 1, 1] = rows.to(weight.dtype)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs height width"]:
        """What the last convolution gives."""
        check_input(self, x, "x", self.inputs, None, None)
        x = x.contiguous(memory_format=torch.channels_last)  # in which convolutions take half the time
        for convolution, activation in zip(self.convolutions, self.activations, strict=False):
            x = activation(convolution(x))
        last: Any = self.convolutions[-1]
        return last(x)
