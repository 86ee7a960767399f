"""A small restoration unit and a policy that looks at what is left to do."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count
from unrolling.core.refusals import explain


@explain
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


@explain
class StoppingPolicy(nn.Module):
    """The value of going on, of a picture and of what was seen of it before: two convolutions of 3 x 3 with a stride of
    2 and ReLU, their means over the picture, an LSTM cell and a linear layer; before training it always goes on.

    The policy of Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709, in small.

    Args:
        channels: of the first convolution; the second has twice as many.
        hidden: numbers of the LSTM cell.
    """

    def __init__(self, channels: int = 8, hidden: int = 12) -> None:
        super().__init__()
        check_count(channels, "channels")
        check_count(hidden, "hidden")
        self.first, self.second = nn.Conv2d(1, channels, 3, 2), nn.Conv2d(channels, 2 * channels, 3, 2)
        self.cell = nn.LSTMCell(2 * channels, hidden)
        self.last = nn.Linear(hidden, 1)
        self.features = 2 * hidden
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, 0.5)

    def forward(
        self, x: Float[Tensor, "batch height width"], memory: Float[Tensor, "batch features"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch features"]]:
        """q, and the memory after it; a picture needs 7 x 7 pixels."""
        z = nn.functional.relu(self.first(x.unsqueeze(1)))
        seen = nn.functional.relu(self.second(z)).mean((2, 3))
        hidden, cell = self.cell(10 * seen.to(memory), tuple(memory.chunk(2, 1)))
        hidden, cell = hidden.to(memory), cell.to(memory)
        return self.last(hidden).squeeze(1).to(memory), torch.cat([hidden, cell], 1)
