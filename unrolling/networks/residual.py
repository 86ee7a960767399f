"""Convolutions with batch normalisation and a residual connection around them: the learned part of MoDL."""

from __future__ import annotations

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call

# Of the statistics: with one image at a time, in as many layers, a tenth would be the last image alone.
MOMENTUM = 0.005


@explain_call
class ComplexResidual(nn.Module):
    """D(x) = x + N(x) of complex images, real and imaginary part as two channels; N convolutions of 3 x 3 without
    biases, each with batch normalisation, all but the last with ReLU.

    Aggarwal, Mani and Jacob 2019, doi:10.1109/TMI.2018.2865356: 5 layers of 64 channels, 112,896 weights and 516
    numbers of the normalisation. The last normalisation starts at zero, so that D is the identity before training.

    Args:
        layers: of convolution, at least 2.
        channels: between them.
    """

    def __init__(self, layers: int = 5, channels: int = 64) -> None:
        super().__init__()
        check_count(layers, "layers", 2)
        check_count(channels, "channels")
        parts: list[nn.Module] = []
        for number in range(layers):
            outputs = 2 if number == layers - 1 else channels
            parts.append(nn.Conv2d(2 if number == 0 else channels, outputs, 3, padding=1, bias=False))
            parts.append(nn.BatchNorm2d(outputs, momentum=MOMENTUM))
            parts.append(nn.ReLU())
        self.correction = nn.Sequential(*parts[:-1])
        nn.init.zeros_(parts[-2].weight)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch height width"]:
        """The image and its correction."""
        check_input(self, x, "x", None, None, real=False)
        channels = torch.view_as_real(x).movedim(-1, 1)  # in memory the channels stay last, as convolutions like it
        found = self.correction(channels.to(next(self.parameters()).dtype)).to(channels.dtype)
        return x + torch.complex(found[:, 0], found[:, 1])
