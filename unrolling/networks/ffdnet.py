"""A residual convolutional network that is told how strong the noise is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call


@explain_call
class FFDNet(nn.Module):
    """x = y - R(y, sigma): R convolutions of 3 x 3 with ReLU between them, on the four images that every second row and
    column make and on one that is sigma everywhere.

    Zhang, Zuo and Zhang 2018, doi:10.1109/TIP.2018.2839891, with 15 layers of 64 channels there; here with a residual,
    as DnCNN has it, and without biases (Mohan, Kadkhodaie, Simoncelli and Fernandez-Granda 2020, arXiv:1906.05478), so
    that D(c y, c sigma) = c D(y, sigma) for c > 0: one network for noise of every strength. At a quarter of the work of
    a DnCNN of so many layers it sees twice as far. Odd sides are continued by one pixel.

    Args:
        layers: of convolution, at least 2.
        channels: between them.
    """

    def __init__(self, layers: int = 8, channels: int = 32) -> None:
        super().__init__()
        check_count(layers, "layers", 2)
        check_count(channels, "channels")
        parts: list[nn.Module] = [nn.Conv2d(5, channels, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
        for _ in range(layers - 2):
            parts += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
        self.residual = nn.Sequential(*parts, nn.Conv2d(channels, 4, 3, padding=1, bias=False))

    def forward(
        self, y: Float[Tensor, "batch height width"], sigma: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch height width"]:
        """The image less the residual.

        Args:
            y: (batch, height, width).
            sigma: (batch,), the standard deviation of the noise, in the units of y.
        """
        check_input(self, y, "y", None, None)
        if sigma.shape != y.shape[:1]:
            raise ValueError(f"sigma (batch,) is a number for each; got {tuple(y.shape)} and {tuple(sigma.shape)}")
        height, width = y.shape[-2:]
        whole = nn.functional.pad(y.unsqueeze(1), (0, width % 2, 0, height % 2), mode="replicate").squeeze(1)
        # by hand: torch's pixel_unshuffle leaves an empty batch as it is
        halves = whole.unflatten(2, ((width + 1) // 2, 2)).unflatten(1, ((height + 1) // 2, 2))
        parts = halves.permute(0, 2, 4, 1, 3).flatten(1, 2)
        level = sigma.to(y).reshape(-1, 1, 1, 1).expand(-1, 1, *parts.shape[-2:])
        residual = self.residual(torch.cat([parts, level], 1)).unflatten(1, (2, 2))
        return y - residual.permute(0, 3, 1, 4, 2).flatten(3, 4).flatten(1, 2)[:, :height, :width]
