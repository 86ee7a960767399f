"""A residual convolutional network: the generic rival of unrolled networks in denoising."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call
from unrolling.networks.mlp import LARGEST


@explain_call
class DnCNN(nn.Module):
    """x = y - R(y), R convolutions of 3 x 3 with ReLU between them: (batch, height, width) or (batch, colours, height,
    width) to the same.

    Zhang, Zuo, Chen, Meng and Zhang 2017, doi:10.1109/TIP.2017.2662206: 17 layers of 64 channels, with batch
    normalisation in the inner ones.

    Args:
        layers: of convolution, at least 2.
        channels: between them.
        colours: 1 for grey images without a dimension for them.
        normalise: batch normalisation in the inner layers, whose convolutions then have no bias.
    """

    def __init__(self, layers: int = 17, channels: int = 64, colours: int = 1, *, normalise: bool = True) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"layers is {layers}; a DnCNN has at least 2")
        check_count(channels, "channels")
        check_count(colours, "colours")
        self.colours = colours
        parts: list[nn.Module] = [nn.Conv2d(colours, channels, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(layers - 2):
            parts.append(nn.Conv2d(channels, channels, 3, padding=1, bias=not normalise))
            parts += [nn.BatchNorm2d(channels)] if normalise else []
            parts.append(nn.ReLU(inplace=True))
        self.residual = nn.Sequential(*parts, nn.Conv2d(channels, colours, 3, padding=1))

    def forward(self, y: Float[Tensor, "batch ... height width"]) -> Float[Tensor, "batch ... height width"]:
        """The image less the residual."""
        check_input(self, y, "y", *(() if self.colours == 1 else (self.colours,)), None, None)
        image = y.unsqueeze(1) if self.colours == 1 else y
        found = image - self.residual(image)
        return found.squeeze(1) if self.colours == 1 else found


def dncnn_channels(parameters: int, layers: int) -> int:
    """The number of channels that brings a grey ``DnCNN`` without normalisation closest to a number of parameters, at
    least 1.
    """

    check_count(parameters, "parameters")
    check_count(layers, "layers", 2)
    if parameters > LARGEST:
        raise ValueError(f"parameters is {parameters}; no network here has more than {LARGEST}")

    def count(channels: int) -> int:
        return 10 * channels + (layers - 2) * (9 * channels**2 + channels) + 9 * channels + 1

    channels = 1
    while count(channels + 1) <= parameters:
        channels += 1
    return channels if parameters - count(channels) <= count(channels + 1) - parameters else channels + 1
