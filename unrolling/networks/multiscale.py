"""A residual network on two scales that is told how strongly a picture is disturbed: the learned proximal operator of
restoration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input, check_range
from unrolling.core.refusals import explain_call
from unrolling.operators.strided import from_cells, to_cells

FIRST = 0.1  # of what He et al. draw: what a block adds at the start


class _Block(nn.Module):
    """x + V r(U x), r(t) = max(t, s t)."""

    def __init__(self, channels: int, slope: float, generator: torch.Generator) -> None:
        super().__init__()
        self.slope = slope
        self.inner, self.outer = (_convolution(channels, channels, generator, scale) for scale in (1.0, FIRST))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner(x)
        return x + self.outer(nn.functional.leaky_relu(inner, self.slope) if self.slope else inner.relu())


@explain_call
class MultiscaleResidual(nn.Module):
    """R(x, y, l): what is to be added to an estimate x of a picture of which y, disturbed at a level l, is known.

    Cells of s x s pixels of x and y become channels, beside them l everywhere; residual blocks (He, Zhang, Ren and Sun
    2016, doi:10.1109/CVPR.2016.90) at that scale, at half of it, and at that scale again, added to what they were
    before (Ronneberger, Fischer and Brox 2015, doi:10.1007/978-3-319-24574-4_28); and cells again. There are no biases
    (Mohan, Kadkhodaie, Simoncelli and Fernandez-Granda 2020, arXiv:1906.05478), so that R(c x, c y, c l) = c R(x, y, l)
    for c > 0; R = 0 at the start. Sides are continued to multiples of 2 s by copies of the border.

    Args:
        channels: at the cells' scale, and at half of it.
        blocks: residual blocks on the way down and on the way up, and at the lower scale.
        sides: s; for each of several the network has a first and a last convolution of its own.
        images: channels of x and y; with 1 pictures are (batch, height, width).
        period: cells after which something in y repeats itself, such as the 4 of two pixels in a block of JPEG: the
            first convolution is told where in the period it is. 0 for nothing of the kind.
        slope: of the rectifiers for negative numbers, from 0 to below 1. Above 0 no channel of them can die, that is
            give 0 for every picture and stay so: without biases all of a block may.
        seed: of the random numbers.

    Raises:
        ValueError: a count that is not positive, no side, an odd period, a slope that is none.
    """

    def __init__(
        self,
        channels: tuple[int, int] = (24, 32),
        blocks: tuple[int, int] = (1, 1),
        *,
        sides: Sequence[int] = (2,),
        images: int = 1,
        period: int = 0,
        slope: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for value, name in ((channels[0], "channels"), (channels[1], "channels"), (images, "images")):
            check_count(value, name)
        for value in blocks:
            check_count(value, "blocks", 0)
        if not sides:
            raise ValueError("sides are empty; cells have one side at least")
        for side in sides:
            check_count(side, "sides")
        check_count(period, "period", 0)
        check_range(slope, "slope", 0.0, 1.0, below=True)
        if period % 2:
            raise ValueError(f"period is {period}; the lower scale takes cells in pairs, so that it is even")
        self.sides, self.images, self.period = tuple(sides), images, period
        generator = torch.Generator().manual_seed(seed)
        wide, deep = channels

        def some(count: int, width: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(width, slope, generator) for _ in range(count)))

        cells = [images * side * side for side in sides]
        self.first = nn.ModuleList(_convolution(2 * size + 1, wide, generator) for size in cells)
        self.down = some(blocks[0], wide)
        self.reduce = nn.Conv2d(wide, deep, 2, 2, bias=False)
        self.middle = some(blocks[1], deep)
        self.enlarge = nn.ConvTranspose2d(deep, wide, 2, 2, bias=False)
        self.up = some(blocks[0], wide)
        self.last = nn.ModuleList(_convolution(wide, size, generator, 0.0) for size in cells)
        with torch.no_grad():
            for part in (self.reduce, self.enlarge):
                nn.init.kaiming_normal_(part.weight, generator=generator)
        self.place = nn.Parameter(torch.zeros(wide, period, period)) if period else None

    @property
    def reach(self) -> int:
        """Cells that a result depends on, in each direction."""
        return 2 + 2 * (len(self.down) + len(self.up)) + 4 * len(self.middle) + 2

    def forward(
        self, x: Float[Tensor, "batch ... height width"], y: Float[Tensor, "batch ... height width"], level: Tensor
    ) -> Float[Tensor, "batch ... height width"]:
        """R(x, y, l).

        Args:
            x, y: (batch, images, height, width), or (batch, height, width) of one.
            level: (batch,) or (1,), in the units of x.
        """
        return self.at(x, y, level, self.sides[0])

    def at(self, x: Tensor, y: Tensor, level: Tensor, side: int, axes: tuple[int, ...] = ()) -> Tensor:
        """R(x, y, l) with cells of a side that it has, seen mirrored along some axes.

        Images are mirrored after they were continued, so that cells are the same pixels in every view, and those of a
        piece of a picture the picture's own.

        Raises:
            ValueError: it has none of that side; images or levels of other shapes.
        """
        if side not in self.sides:
            raise ValueError(f"cells have sides of {', '.join(map(str, self.sides))}; got {side}")
        plain = self.images == 1 and x.ndim != 4
        check_input(self, x, "x", *(() if plain else (self.images,)), None, None)
        if x.shape != y.shape:
            raise ValueError(f"x and y have one shape; got {tuple(x.shape)} and {tuple(y.shape)}")
        both = torch.stack([x, y], 1) if plain else torch.cat([x, y], 1)
        height, width = both.shape[-2:]
        if level.shape not in (x.shape[:1], (1,)):
            raise ValueError(
                f"level is a number for each, (batch,) or (1,); got {tuple(x.shape)}, {tuple(level.shape)}"
            )
        right, below = -width % (2 * side), -height % (2 * side)
        whole = nn.functional.pad(both, (0, right, 0, below), mode="replicate")
        cells = to_cells(whole.flip(axes) if axes else whole, side)
        told = level.to(cells).reshape(-1, 1, 1, 1).expand(cells.shape[0], 1, *cells.shape[-2:])
        # in this order of memory convolutions are a tenth faster
        given = torch.cat([cells, told], 1).contiguous(memory_format=torch.channels_last)
        number = self.sides.index(side)
        z: Any = self.first[number](given)
        if self.place is not None:
            z = z + told * self._places(*cells.shape[-2:])
        z = self.down(z)
        z = self.up(z + self.enlarge(self.middle(self.reduce(z))))
        seen = from_cells(self.last[number](z), side)
        added = (seen.flip(axes) if axes else seen)[..., :height, :width]
        return added.squeeze(1) if plain else added

    def _places(self, rows: int, columns: int) -> Tensor:
        assert self.place is not None
        times = (-(-rows // self.period), -(-columns // self.period))
        return self.place.repeat(1, *times)[:, :rows, :columns]


def _convolution(inputs: int, outputs: int, generator: torch.Generator, scale: float = 1.0) -> nn.Conv2d:
    """Of 3 x 3 without bias, zeros beyond the border, a part of what He et al. 2015 draw (arXiv:1502.01852)."""
    made = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.kaiming_normal_(made.weight, generator=generator)
        made.weight.mul_(scale)
    return made
