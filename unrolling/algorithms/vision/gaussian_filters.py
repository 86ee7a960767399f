"""Gaussian filters on the pixels of pictures whose kernels depend on position and colour: three back ends of one
operator.

K_pq = exp(-|p - q|^2 / (2 a^2) - |I_p - I_q|^2 / (2 b^2)),  p and q two pixels, I_p in units of 1

``ExactFilter`` holds the matrix, ``WindowFilter`` its entries within a window, ``GridFilter`` works on a coarse grid in
space and colour. Each makes tensors of a picture once (``prepare``) and applies them to any number of fields
(``apply``), without the diagonal of K. Gradients are those of autograd, to fields, pictures and scores alike; that of a
field is the transposed filter, which is the filter itself, as all three are symmetric.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from unrolling.core.arguments import check_count, check_range
from unrolling.core.refusals import explain

MOST_PIXELS = 4096  # of a picture whose matrix is held: 134 MB in double precision
TILE = 8  # pixels along a side that share a product
NEVER = -50.0  # whose exponential, 2e-22, is as good as zero; of lower ones processors take ten times as long


class _Filter:
    """What the three have in common: the widths, and D^-1/2 K D^-1/2 with D = diag(K 1) where ``normalise`` asks for
    it, which stays symmetric, as (K q) / (K 1) would not.

    Args:
        position_width: a, in pixels.
        colour_width: b, in the units of the picture.
        normalise: whether rows are scaled to sums of about one.
    """

    def __init__(self, position_width: float, colour_width: float, *, normalise: bool = True) -> None:
        check_range(position_width, "position_width", 0.0, above=True, below=True)
        check_range(colour_width, "colour_width", 0.0, above=True, below=True)
        self.position_width, self.colour_width, self.normalise = float(position_width), float(colour_width), normalise

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        explain(cls)

    def _scale(self, rows: Tensor) -> Tensor:
        """D^-1/2 of the sums over rows, or ones."""
        return rows.clamp_min(torch.finfo(rows.dtype).tiny).rsqrt() if self.normalise else torch.ones_like(rows)


class ExactKernel(NamedTuple):
    """The whole matrix, scaled, with a diagonal of zeros."""

    matrix: Tensor  # (batch, pixels, pixels)


class ExactFilter(_Filter):
    """K as a matrix, P^2 numbers for P pixels; for small pictures and as the standard that the others are held to.

    Args:
        position_width: a, in pixels.
        colour_width: b, in the units of the picture.
        normalise: whether rows are scaled to sums of about one.

    Raises:
        ValueError: a picture of more than 4096 pixels.
    """

    def prepare(self, picture: Float[Tensor, "batch channels height width"]) -> ExactKernel:
        """The matrix of a picture."""
        height, width = picture.shape[-2:]
        if height * width > MOST_PIXELS:
            raise ValueError(
                f"the exact filter holds a matrix of pixels x pixels, and the picture has {height} x {width}, more "
                f"than {MOST_PIXELS}; take the window or the grid"
            )
        places = _places(height, width, picture) / self.position_width
        apart = (places.unsqueeze(1) - places).square().sum(-1)
        for channel in (picture / self.colour_width).flatten(2).unbind(1):
            apart = apart + (channel.unsqueeze(2) - channel.unsqueeze(1)).square()
        matrix = torch.exp(-0.5 * apart)
        scale = self._scale(matrix.sum(2))
        other = 1 - torch.eye(height * width, dtype=picture.dtype, device=picture.device)
        return ExactKernel(matrix * other * scale.unsqueeze(2) * scale.unsqueeze(1))

    def apply(self, kernel: ExactKernel, field: Float[Tensor, "batch labels height width"]) -> Tensor:
        """Sums over all other pixels, of the field's shape."""
        return (field.flatten(2) @ kernel.matrix).view(field.shape)


class WindowKernel(NamedTuple):
    """What each tile of 8 x 8 pixels sees around it, unscaled, zero outside the window and on the diagonal."""

    tiles: Tensor  # (batch, tiles, pixels of a tile, pixels of its surroundings)
    scale: Tensor  # (batch, 1, height, width)


class WindowFilter(_Filter):
    """K without what is further than ``radius`` pixels away along either axis; a window as large as the picture has
    all of it.

    Tiles of 8 x 8 pixels share one product of matrices, as large as (8 + 2 radius)^2 by 64: four times as fast as a sum
    over the places of the window.

    Args:
        position_width: a, in pixels.
        colour_width: b, in the units of the picture.
        normalise: whether rows are scaled to sums of about one.
        radius: of the window, (2 radius + 1)^2 pixels.
    """

    def __init__(self, position_width: float, colour_width: float, *, normalise: bool = True, radius: int = 5) -> None:
        super().__init__(position_width, colour_width, normalise=normalise)
        check_count(radius, "radius")
        self.radius = radius

    def prepare(self, picture: Float[Tensor, "batch channels height width"]) -> WindowKernel:
        """The tiles of a picture."""
        height, width = picture.shape[-2:]
        offsets, seen = window_offsets(self.radius)
        near = -0.5 * (offsets.to(picture) / self.position_width).square().sum(-1)
        near = torch.where(seen.to(near.device), near, NEVER)
        inside = self._around(torch.ones_like(picture[:1, :1]))
        own, around = (cut(picture / self.colour_width) for cut in (self._own, self._around))
        # |c - c'|^2 as products, with colours about the tile's mean lest digits cancel; outside the picture never.
        middle = own.mean(3, keepdim=True).detach()
        own, around = own - middle, (around - middle) * inside
        ones = torch.ones_like(own[:, :, :1])
        left = torch.cat([own, ones, -0.5 * own.square().sum(2, keepdim=True)], 2).flatten(0, 1)
        far = -0.5 * around.square().sum(2, keepdim=True)
        right = torch.cat([around, torch.where(inside > 0, far, NEVER), torch.ones_like(far)], 2).flatten(0, 1)
        exponent = torch.baddbmm(near.unsqueeze(0), left.transpose(1, 2), right)
        tiles = exponent.clamp_(min=NEVER).exp_()
        tiles = tiles.unflatten(0, own.shape[:2])
        sums = 1 + self._whole(tiles.sum(3).unsqueeze(2), height, width)
        return WindowKernel(tiles, self._scale(sums))

    def apply(self, kernel: WindowKernel, field: Float[Tensor, "batch labels height width"]) -> Tensor:
        """Sums over the window, of the field's shape."""
        height, width = field.shape[-2:]
        found = self._around(field * kernel.scale) @ kernel.tiles.transpose(2, 3)
        return self._whole(found, height, width) * kernel.scale

    def _whole(self, tiles: Tensor, height: int, width: int) -> Tensor:
        """(batch, tiles, labels, 64) -> (batch, labels, height, width)."""
        down, across = -(-height // TILE), -(-width // TILE)
        whole = tiles.unflatten(3, (TILE, TILE)).unflatten(1, (down, across)).permute(0, 3, 1, 4, 2, 5)
        return whole.flatten(4, 5).flatten(2, 3)[..., :height, :width]

    def _around(self, field: Tensor) -> Tensor:
        """(batch, labels, height, width) -> (batch, tiles, labels, surroundings), zeros beyond the border."""
        height, width = field.shape[-2:]
        radius, side = self.radius, TILE + 2 * self.radius
        wide = pad(field, (radius, radius - width % -TILE, radius, radius - height % -TILE))
        return _tiles(wide, side)

    def _own(self, field: Tensor) -> Tensor:
        """(batch, labels, height, width) -> (batch, tiles, labels, 64)."""
        height, width = field.shape[-2:]
        return _tiles(pad(field, (0, -width % TILE, 0, -height % TILE)), TILE)


class GridKernel(NamedTuple):
    """Where each pixel lies in the grid."""

    cells: Tensor  # (batch, corners, pixels) int64
    shares: Tensor  # (batch, corners, pixels), which sum to one over the corners
    own: Tensor  # (batch, 1, height, width): the diagonal
    scale: Tensor  # (batch, 1, height, width)


class GridFilter(_Filter):
    """K through a grid in position and colour: pixels are spread over the corners of their cell, the grid is blurred
    along each axis, and read at the pixels (bilateral grid: Chen, Paris and Durand 2007,
    doi:10.1145/1276377.1276506; Paris and Durand 2009, doi:10.1007/s11263-007-0110-8).

    Cells are a width large, over ``cells_per_width``. Spreading and reading, multilinear, blur by themselves, by 1/3 of
    a squared cell on average; what the grid adds makes it whole. Cost and memory do not grow with a, but with the
    number of cells, (1 / b)^3 for pictures with colours in [0, 1]; what lies beyond counts as 0 or 1.

    Args:
        position_width: a, in pixels.
        colour_width: b, in the units of the picture.
        normalise: whether rows are scaled to sums of about one.
        cells_per_width: 1 by default; 2 is closer and takes 32 times as many cells.

    Raises:
        ValueError: colours so narrow that the grid would have more than 2^24 cells.
    """

    def __init__(
        self, position_width: float, colour_width: float, *, normalise: bool = True, cells_per_width: float = 1.0
    ) -> None:
        super().__init__(position_width, colour_width, normalise=normalise)
        check_range(cells_per_width, "cells_per_width", 0.6, 8.0)
        self.cells_per_width = float(cells_per_width)

    def sizes(self, picture: Tensor) -> tuple[int, ...]:
        """Of the grid for a picture with colours in [0, 1]: along its height, its width and each channel."""
        per = self.cells_per_width
        extents = [(side - 1) / self.position_width for side in picture.shape[-2:]]
        extents += [1 / self.colour_width] * picture.shape[1]
        sizes = tuple(int(per * extent) + 2 for extent in extents)
        if (count := torch.Size(sizes).numel()) > 2**24:
            raise ValueError(
                f"a grid of {' x '.join(map(str, sizes))} = {count:.2g} cells is too large: colour_width is "
                f"{255 * self.colour_width:g} of 255 and position_width {self.position_width:g} pixels; take wider "
                "ones, or the window"
            )
        return sizes

    def prepare(self, picture: Float[Tensor, "batch channels height width"]) -> GridKernel:
        """The places of a picture's pixels."""
        batch, _, height, width = picture.shape
        sizes, per = self.sizes(picture), self.cells_per_width
        places = (_places(height, width, picture) / self.position_width).T.expand(batch, 2, -1)
        colours = picture.clamp(0, 1).flatten(2) / self.colour_width
        at = per * torch.cat([places, colours], 1)  # (batch, axes, pixels)
        low = torch.minimum(at.detach().floor(), torch.tensor(sizes).to(at).view(-1, 1) - 2).clamp_min(0)
        high = at - low
        cells = torch.zeros(batch, 1, height * width, dtype=torch.long, device=picture.device)
        shares = torch.ones_like(at[:, :1])
        own = torch.ones_like(at[:, 0])
        taps = self._taps(picture)
        middle, beside = taps[len(taps) // 2], taps[len(taps) // 2 + 1]
        for axis, size in enumerate(sizes):
            corner, part = low[:, axis : axis + 1].nan_to_num().long(), high[:, axis : axis + 1]
            cells = torch.cat([size * cells + corner, size * cells + corner + 1], 1)
            shares = torch.cat([shares * (1 - part), shares * part], 1)
            part = part.squeeze(1)
            own = own * (middle * (part.square() + (1 - part).square()) + 2 * beside * part * (1 - part))
        shape = (batch, 1, height, width)
        ones = torch.ones_like(picture[:, :1])
        bare = GridKernel(cells, shares, torch.zeros_like(ones), ones)
        sums = self._apply(bare, ones, sizes)
        return GridKernel(cells, shares, own.view(shape), self._scale(sums))

    def apply(self, kernel: GridKernel, field: Float[Tensor, "batch labels height width"]) -> Tensor:
        """Sums over all other pixels, of the field's shape."""
        channels = kernel.cells.shape[1].bit_length() - 3
        return self._apply(kernel, field, self.sizes(field[:, :1].expand(-1, channels, -1, -1)))

    def _apply(self, kernel: GridKernel, field: Tensor, sizes: tuple[int, ...]) -> Tensor:
        scaled = field * kernel.scale
        batch, labels = field.shape[:2]
        count = torch.Size(sizes).numel()
        starts = count * torch.arange(batch, device=field.device).view(-1, 1, 1)
        cells = (kernel.cells + starts).flatten()  # a grid for each sample, one after the other
        rows = scaled.flatten(2).transpose(1, 2).unsqueeze(1)  # (batch, 1, pixels, labels)
        spread = (kernel.shares.unsqueeze(3) * rows).flatten(0, 2)
        grid = torch.zeros(batch * count, labels, dtype=field.dtype, device=field.device).index_add(0, cells, spread)
        grid = self._blurred(grid.view(batch, *sizes, labels)).reshape(batch * count, labels)
        read = (grid[cells].view(batch, *kernel.cells.shape[1:], labels) * kernel.shares.unsqueeze(3)).sum(1)
        return (read.transpose(1, 2).view(field.shape) - kernel.own * scaled) * kernel.scale

    def _blurred(self, grid: Tensor) -> Tensor:
        """Along each axis by itself, zeros beyond the grid."""
        taps = self._taps(grid)
        for axis in range(1, grid.ndim - 1):
            size = grid.shape[axis]
            apart = torch.arange(size, device=grid.device)
            apart = apart.unsqueeze(1) - apart + len(taps) // 2
            inside = (apart >= 0) & (apart < len(taps))
            along = torch.where(inside, taps[apart.clamp(0, len(taps) - 1)], 0)
            grid = (along @ grid.movedim(axis, 0).flatten(1)).view(size, *_without(grid.shape, axis)).movedim(0, axis)
        return grid

    def _taps(self, like: Tensor) -> Tensor:
        """A Gaussian over cells, less what spreading and reading blur, so high that K_pp is about one."""
        variance = self.cells_per_width**2 - 1 / 3
        reach = int(4 * variance**0.5) + 1
        steps = torch.arange(-reach, reach + 1).to(like)
        return (self.cells_per_width**2 / variance) ** 0.5 * torch.exp(-0.5 * steps.square() / variance)


@lru_cache(8)
def window_offsets(radius: int) -> tuple[Tensor, Tensor]:
    """Of the pixels of a tile to those of its surroundings, (64, (8 + 2 radius)^2, 2) in pixels, float64, and whether
    they lie within the window, the pixel itself left out.
    """
    own = torch.arange(TILE)
    around = torch.arange(-radius, TILE + radius)
    rows = around.view(1, 1, -1, 1) - own.view(-1, 1, 1, 1)
    columns = around.view(1, 1, 1, -1) - own.view(1, -1, 1, 1)
    both = torch.stack(torch.broadcast_tensors(rows, columns), -1).flatten(2, 3).flatten(0, 1).double()
    seen = (both.abs().amax(-1) <= radius) & (both != 0).any(-1)
    return both, seen


class SpatialKernel(NamedTuple):
    """A Gaussian of position alone, along each axis."""

    rows: Tensor  # (1, height, height)
    columns: Tensor  # (1, width, width)
    scale: Tensor  # (1, 1, height, width)


class SpatialFilter(_Filter):
    """K_pq = exp(-|p - q|^2 / (2 g^2)), the same for all pictures of a size, by one product for each axis.

    Args:
        position_width: g, in pixels.
        normalise: whether rows are scaled to sums of about one.
        radius: of a window as ``WindowFilter`` has; None for the whole Gaussian.
    """

    def __init__(self, position_width: float, *, normalise: bool = True, radius: int | None = None) -> None:
        super().__init__(position_width, 1.0, normalise=normalise)
        if radius is not None:
            check_count(radius, "radius")
        self.radius = radius

    def prepare(self, picture: Float[Tensor, "batch channels height width"]) -> SpatialKernel:
        """For pictures of a size, precision and place."""
        rows, columns = (self._along(side, picture) for side in picture.shape[-2:])
        sums = rows.sum(1).unsqueeze(1) * columns.sum(1)
        return SpatialKernel(rows.unsqueeze(0), columns.unsqueeze(0), self._scale(sums).unsqueeze(0).unsqueeze(0))

    def apply(self, kernel: SpatialKernel, field: Float[Tensor, "batch labels height width"]) -> Tensor:
        """Sums over all other pixels, of the field's shape."""
        scaled = field * kernel.scale
        flat = scaled.flatten(0, 1)
        count = flat.shape[0]
        # As products in batches, whose rounding does not depend on what asks for a gradient.
        down = torch.bmm(kernel.rows.expand(count, -1, -1), flat)
        both = torch.bmm(down, kernel.columns.expand(count, -1, -1)).view(field.shape)
        return (both - scaled) * kernel.scale

    def _along(self, side: int, like: Tensor) -> Tensor:
        places = torch.arange(side, device=like.device, dtype=like.dtype)
        apart = places.unsqueeze(1) - places
        along = torch.exp(-0.5 * (apart / self.position_width).square())
        return along if self.radius is None else torch.where(apart.abs() <= self.radius, along, 0)


def _places(height: int, width: int, like: Tensor) -> Tensor:
    """Rows and columns of all pixels, (pixels, 2)."""
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)


def _tiles(field: Tensor, side: int) -> Tensor:
    """Squares of a side every 8 pixels: (batch, labels, height, width) -> (batch, tiles, labels, side^2)."""
    parts = field.unfold(2, side, TILE).unfold(3, side, TILE).permute(0, 2, 3, 1, 4, 5)
    return parts.flatten(4, 5).flatten(1, 2)


def _without(shape: torch.Size, axis: int) -> list[int]:
    return [size for number, size in enumerate(shape) if number != axis]
