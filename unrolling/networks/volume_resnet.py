"""A residual network of complex three-dimensional convolutions: what movies are filtered by without an algorithm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call


@explain_call
class ComplexConvolution(nn.Module):
    """A complex convolution of volumes by two real ones R and I: (R x_re - I x_im) + i (R x_im + I x_re), zeros beyond
    the border.

    Parameters: ``real`` and ``imaginary`` (outputs, inputs, k, k, k), and with ``bias`` a number each for every output.

    Args:
        inputs: complex channels.
        outputs: complex channels.
        size: k, odd.
        bias: whether there are biases.
    """

    def __init__(self, inputs: int, outputs: int, size: int = 3, *, bias: bool = True) -> None:
        super().__init__()
        self.real = nn.Conv3d(inputs, outputs, size, padding=size // 2, bias=bias)
        self.imaginary = nn.Conv3d(inputs, outputs, size, padding=size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2 inputs, ...) to (batch, 2 outputs, ...), all real parts before all imaginary ones."""
        check_input(self, x, "x", 2 * self.real.in_channels, None, None, None)
        r, i = self.real.weight, self.imaginary.weight
        weight = torch.cat([torch.cat([r, -i], 1), torch.cat([i, r], 1)])
        bias = None
        if self.real.bias is not None and self.imaginary.bias is not None:
            bias = torch.cat([self.real.bias - self.imaginary.bias, self.real.bias + self.imaginary.bias])
        return conv3d(x, weight, bias, padding=r.shape[-1] // 2)


class _Block(nn.Module):
    """ReLU(x + B(C(ReLU(B(C(x)))))), C convolutions without bias, B batch normalisations that real and imaginary parts
    share.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([ComplexConvolution(channels, channels, bias=False) for _ in range(2)])
        self.norms = nn.ModuleList([nn.BatchNorm3d(channels) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            y = torch.cat([norm(part) for part in convolution(y).chunk(2, 1)], 1)
            y = torch.relu(y if number == 0 else x + y)
        return y


@explain_call
class ComplexVolumeResNet(nn.Module):
    """Complex movies (batch, height, width, frames) to the same: convolutions of 5^3 and 3^3, two residual blocks of
    3^3, a last convolution of 3^3, with batch normalisation and ReLU of real and imaginary parts between them.

    The residual network that CORONA is compared with in Solomon et al. 2020, doi:10.1109/TMI.2019.2941271, and of its
    size: 25,378 numbers. (The authors' program adds both products in the real part of the convolutions of the blocks;
    here they are those of complex numbers.) Each movie is divided by its root mean square first, and the estimate
    multiplied by it.

    Args:
        wide: complex channels after the first convolution.
        channels: of the rest.
    """

    def __init__(self, wide: int = 16, channels: int = 8) -> None:
        super().__init__()
        check_count(wide, "wide")
        check_count(channels, "channels")
        self.first = ComplexConvolution(1, wide, 5)
        self.first_norm = nn.BatchNorm3d(2 * wide)
        self.second = ComplexConvolution(wide, channels)
        self.second_norm = nn.BatchNorm3d(2 * channels)
        self.blocks = nn.Sequential(_Block(channels), _Block(channels))
        self.last = ComplexConvolution(channels, 1)

    def forward(self, data: Tensor) -> Tensor:
        """The estimate of the sparse part."""
        check_input(self, data, "data", None, None, None, real=False)
        level = data.abs().square().mean((1, 2, 3), keepdim=True).sqrt()
        movie = data / torch.where(level == 0, 1, level)
        x = torch.stack([movie.real, movie.imag], 1)
        x = torch.relu(self.first_norm(self.first(x)))
        x = torch.relu(self.second_norm(self.second(x)))
        x = self.last(self.blocks(x))
        return level * torch.complex(x[:, 0], x[:, 1])
