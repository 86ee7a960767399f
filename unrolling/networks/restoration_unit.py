"""A small restoration unit and a policy that looks at what is left to do."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input, check_range
from unrolling.core.refusals import explain_call

# what roughness is multiplied by, what is added to it under the logarithm, and the mean of the logarithm
ROUGH, FLAT, USUAL = 20.0, 0.02, -1.5


@explain_call
class RestorationUnit(nn.Module):
    """A correction of pictures: 2 x 2 pixels become four channels, a few convolutions of 3 x 3 with ReLU, and back;
    zero at the start.

    Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709, have about ten convolutions with reduction and enlargement inside;
    this one works at half the size throughout.

    Args:
        channels: of the convolutions.
        blocks: convolutions between the first and the last.
    """

    def __init__(self, channels: int = 32, blocks: int = 4) -> None:
        super().__init__()
        check_count(channels, "channels")
        check_count(blocks, "blocks", 0)
        sides = [4, *[channels] * (blocks + 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(sides))
        self.last = nn.Conv2d(channels, 4, 3, padding=1)
        for part in self.convolutions:
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(part.bias)  # pyright: ignore[reportArgumentType]
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """f(x)."""
        check_input(self, x, "x", None, None)
        height, width = x.shape[-2:]
        # Exactly even sides, whatever they are: one row and column more at the most.
        wide = nn.functional.pad(x.unsqueeze(1), (0, width % 2, 0, height % 2), mode="replicate")
        rows, columns = (side // 2 for side in wide.shape[-2:])
        # (torch's own pixel_unshuffle gives another shape for a batch of none.)
        z: Any = wide.reshape(-1, rows, 2, columns, 2).permute(0, 2, 4, 1, 3).reshape(-1, 4, rows, columns)
        for convolution in self.convolutions:
            z = nn.functional.relu(convolution(z))
        z = self.last(z).reshape(-1, 2, 2, rows, columns).permute(0, 3, 1, 4, 2)
        return z.reshape(-1, 2 * rows, 2 * columns)[:, :height, :width].to(x)

    @property
    def reach(self) -> int:
        """Pixels that a correction depends on, in each direction."""
        return 2 * (len(self.convolutions) + 1) + 1


@explain_call
class StoppingPolicy(nn.Module):
    """The value of going on, of a picture and of what was seen of it before: what is rough in it (less its mean over
    3 x 3 pixels), two convolutions of 3 x 3 with a stride of 2 and ReLU, the logarithms of their means over the
    picture, an LSTM cell and a linear layer of both; before training it always goes on.

    The policy of Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709, in small; roughness and its logarithm, which follow
    the noise and not the brightness, are ours.

    Args:
        channels: of the first convolution; the second has twice as many.
        hidden: numbers of the LSTM cell.
        scale: of the values: what the last layer gives is multiplied by it. A few dB for Q-learning, whose values are
            gains; 1 for soft halting, whose chances would soon be sure, and learn no more.
    """

    def __init__(self, channels: int = 8, hidden: int = 12, scale: float = 1.0) -> None:
        super().__init__()
        check_range(scale, "scale", 0.0, above=True)
        self.scale = scale
        check_count(channels, "channels")
        check_count(hidden, "hidden")
        self.first, self.second = nn.Conv2d(1, channels, 3, 2), nn.Conv2d(channels, 2 * channels, 3, 2)
        self.cell = nn.LSTMCell(2 * channels, hidden)
        self.last = nn.Linear(hidden + 2 * channels, 1)
        self.features = 2 * hidden
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, 0.1)

    def forward(
        self, x: Float[Tensor, "batch height width"], memory: Float[Tensor, "batch features"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch features"]]:
        """q, and the memory after it; a picture needs 9 x 9 pixels."""
        check_input(self, x, "x", None, None)
        wide = x.unsqueeze(1)
        rough = wide[..., 1:-1, 1:-1] - nn.functional.avg_pool2d(wide, 3, 1)
        z = nn.functional.relu(self.first(ROUGH * rough))
        seen = ((nn.functional.relu(self.second(z)).mean((2, 3)) + FLAT).log() - USUAL).to(memory)
        hidden, cell = self.cell(seen, tuple(memory.chunk(2, 1)))
        hidden, cell = hidden.to(memory), cell.to(memory)
        value = self.scale * self.last(torch.cat([hidden, seen], 1)).squeeze(1).to(memory)
        return value, torch.cat([hidden, cell], 1)
