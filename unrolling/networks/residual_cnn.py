"""A residual convolutional network of complex images: the learned part of unrolled reconstructions."""

from __future__ import annotations

from jaxtyping import Shaped
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call
from unrolling.networks.channels import from_channels, to_channels


@explain_call
class ResidualCNN(nn.Module):
    """R(z) = z + C(z), C convolutions of 3 x 3 with ReLU between them on real and imaginary part as two channels.

    The last convolution is zero at the start, so that R then is the identity. Real images have an imaginary part of
    zero, and R gives real ones back.

    Args:
        layers: of convolution, at least 2.
        channels: between them.
        images: of one size, side by side, that C sees: (batch, height, width) for 1, else (batch, images, height,
            width), whose first one is z.
    """

    def __init__(self, layers: int = 5, channels: int = 24, images: int = 1) -> None:
        super().__init__()
        check_count(layers, "layers", 2)
        check_count(channels, "channels")
        check_count(images, "images")
        self.images = images
        parts: list[nn.Module] = [nn.Conv2d(2 * images, channels, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(layers - 2):
            parts += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
        last = nn.Conv2d(channels, 2, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.body = nn.Sequential(*parts, last)

    def forward(self, z: Shaped[Tensor, "batch ... height width"]) -> Shaped[Tensor, "batch height width"]:
        """z and what the network adds to it."""
        check_input(self, z, "z", *(() if self.images == 1 else (self.images,)), None, None, real=False)
        if self.images == 1:
            first, channels = z, to_channels(z.unsqueeze(1))
        else:
            first, channels = z[:, 0], to_channels(z)
        found = from_channels(self.body(channels), z.is_complex()).squeeze(1)
        return first + found.to(first.dtype)
