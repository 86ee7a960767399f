"""Groups of similar patches: which pixels of an image look alike, and sums over them with the exact adjoint."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_numbers
from unrolling.core.execution import is_plain
from unrolling.core.refusals import explained
from unrolling.operators.borders import extend


class Groups(NamedTuple):
    """For each pixel of an image those that it is grouped with, itself first; made by ``match_patches`` or
    ``groups_of``.

    Pixels are numbered row by row. ``order`` and ``starts`` are the same lists the other way round, for the adjoint:
    the pixels that have pixel q as their match m stand in ``order`` from ``starts[q, m]`` on.
    """

    index: Tensor  # (batch, pixels, matches) int64
    order: Tensor  # (batch, pixels matches) int64, the pixels that look at each entry
    starts: Tensor  # (batch, pixels matches) int64

    @property
    def matches(self) -> int:
        """How many pixels a group has, M."""
        return self.index.shape[-1]

    def counts(self) -> Float[Tensor, "batch pixels"]:
        """How often each pixel is a member of a group."""
        batch, pixels, _ = self.index.shape
        counts = torch.zeros(batch, pixels, device=self.index.device)
        return counts.scatter_add_(1, self.index.flatten(1), torch.ones(()).expand_as(self.index).flatten(1))


@explained
def groups_of(index: Int[Tensor, "batch pixels matches"]) -> Groups:
    """Groups from the numbers of their pixels.

    Args:
        index: of every pixel its matches, from 0 to pixels - 1.

    Raises:
        ValueError: another shape, or a number that is no pixel's.
        TypeError: numbers that are not int64.
    """
    if index.ndim != 3:
        raise ValueError(f"index is (batch, pixels, matches); got shape {tuple(index.shape)}")
    if index.dtype != torch.int64:
        raise TypeError(f"index is {index.dtype}; the numbers of pixels are int64")
    batch, pixels, matches = index.shape
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < pixels:
        raise ValueError(
            f"index holds numbers from {int(index.min())} to {int(index.max())}; pixels go to {pixels - 1}"
        )
    return _both_ways(index, batch, pixels, matches)


def _both_ways(index: Tensor, batch: int, pixels: int, matches: int) -> Groups:
    entries = (index * matches + torch.arange(matches, device=index.device)).flatten(1)
    order = torch.sort(entries, dim=1, stable=True).indices // matches
    counts = torch.zeros_like(entries).scatter_add_(1, entries, torch.ones_like(entries))
    return Groups(index, order, counts.cumsum(1) - counts)


@torch.no_grad()
@explained
def match_patches(
    image: Float[Tensor, "batch height width"], matches: int, *, size: int = 7, radius: int = 8
) -> Groups:
    """Of each pixel the most similar ones within a search window: those whose patches differ least, in squares.

    Non-local cliques of Sun and Tappen 2011, CVPR, pages 2745-2752 ("range matching"). The pixel itself comes
    first, the others by rising distance; of equal ones the first in the window. Patches are mirrored at the border.

    Args:
        image: real.
        matches: M, the pixel itself included; at most as many as the window has pixels within the image everywhere.
        size: pixels along a side of the patches that are compared, odd.
        radius: of the window, (2 radius + 1)^2 pixels.

    Raises:
        ValueError: an even size; more matches than there are pixels in a corner's part of the window; an image smaller
            than half a patch.
    """
    check_numbers(image, "image", "match_patches", real=True)
    for value, name, least in ((matches, "matches", 1), (size, "size", 1), (radius, "radius", 0)):
        check_count(value, name, least)
    if image.ndim != 3:
        raise ValueError(f"images are (batch, height, width); got shape {tuple(image.shape)}")
    if size % 2 == 0:
        raise ValueError(f"size is {size}; patches have a pixel in their middle, so it is odd")
    batch, height, width = image.shape
    corner = min(radius + 1, height) * min(radius + 1, width)
    if matches > corner:
        raise ValueError(
            f"matches is {matches}, and the window of radius {radius} has {corner} pixels in a corner of an image of "
            f"{height} x {width}"
        )
    place = torch.arange(height * width, device=image.device)
    if matches == 1:
        return _both_ways(place.expand(batch, -1).unsqueeze(-1).contiguous(), batch, height * width, 1)
    nearest, offsets = _nearest(image, matches - 1, size, radius)
    others = place.reshape(1, height, width) + offsets[nearest]
    index = torch.cat([place.reshape(1, 1, height, width).expand(batch, -1, -1, -1), others], 1)
    return _both_ways(index.flatten(2).mT.contiguous(), batch, height * width, matches)


def _nearest(image: Tensor, count: int, size: int, radius: int) -> tuple[Tensor, Tensor]:
    """The displacements of the smallest distances, (batch, count, height, width), as numbers of entries of a list of
    offsets from pixel to pixel.
    """
    height, width = image.shape[-2:]
    half, across = size // 2, 2 * radius + 1
    inner = extend(image, (half, half, half, half), "symmetric")
    wide = nn.functional.pad(inner.unsqueeze(1), (radius,) * 4, mode="replicate").squeeze(1)
    columns = torch.arange(width, device=image.device)
    shifts = torch.arange(-radius, radius + 1, device=image.device)
    outside = ((columns + shifts.unsqueeze(1) < 0) | (columns + shifts.unsqueeze(1) >= width)).unsqueeze(1)
    best = image.new_full((image.shape[0], count, height, width), torch.inf)
    chosen = torch.zeros(best.shape, dtype=torch.int64, device=image.device)
    for row in range(across):
        down = row - radius
        first, last = max(0, -down), min(height, height - down)  # pixels whose match lies within the image
        if first >= last:
            continue
        band = wide[:, first + row : last + row + size - 1].unfold(2, inner.shape[2], 1).movedim(2, 1)
        distances = _box(_box((inner[:, None, first : last + size - 1] - band).square_(), size, 2), size, 3)
        distances.masked_fill_(outside, torch.inf)
        if down == 0:
            distances[:, radius] = torch.inf  # the pixel itself
        numbers = (across * row + torch.arange(across, device=image.device)).reshape(1, -1, 1, 1)
        both = torch.cat([best[:, :, first:last], distances], 1)
        names = torch.cat([chosen[:, :, first:last], numbers.expand_as(distances)], 1)
        for place in range(count):  # the smallest first; `topk` along this dimension takes several times as long
            value, which = both.min(1, keepdim=True)
            best[:, place, first:last] = value[:, 0]
            chosen[:, place, first:last] = names.gather(1, which)[:, 0]
            both.scatter_(1, which, torch.inf)
    offsets = (shifts.unsqueeze(1) * width + shifts).flatten()
    return chosen, offsets


def _box(x: Tensor, size: int, dim: int) -> Tensor:
    """Sums of so many neighbours along a dimension, where they are all there."""
    count = x.shape[dim] - size + 1
    total = x.narrow(dim, 0, count).clone()
    for shift in range(1, size):
        total += x.narrow(dim, shift, count)
    return total


def gather_groups(
    table: Float[Tensor, "batch pixels matches channels"], groups: Groups
) -> Float[Tensor, "batch pixels channels"]:
    """z[p] = sum_m table[q_m(p), m], q_m(p) the m-th match of pixel p."""
    if _by_bags(table):
        return _Gather.apply(table, *groups)  # pyright: ignore[reportReturnType]
    index = groups.index.unsqueeze(-1).expand(*groups.index.shape, table.shape[-1])
    return table.gather(1, index).sum(2)


def scatter_groups(
    values: Float[Tensor, "batch pixels channels"], groups: Groups
) -> Float[Tensor, "batch pixels matches channels"]:
    """The exact adjoint of ``gather_groups``: each pixel's values added to its matches."""
    if _by_bags(values):
        return _Scatter.apply(values, *groups)  # pyright: ignore[reportReturnType]
    index = groups.index.unsqueeze(-1).expand(*groups.index.shape, values.shape[-1])
    wide = values.unsqueeze(2).expand_as(index)
    return torch.zeros_like(wide, memory_format=torch.contiguous_format).scatter_add(1, index, wide)


def _by_bags(values: Tensor) -> bool:
    """Sums of rows in one pass over memory, several times as fast as gathering them, where nothing looks on."""
    return is_plain() and values.dtype in (torch.float32, torch.float64) and values.numel() > 0


def _bags(rows: Tensor, members: Tensor, starts: Tensor) -> Tensor:
    return nn.functional.embedding_bag(members, rows, starts, mode="sum")


class _Gather(torch.autograd.Function):
    """``gather_groups`` whose backward pass is ``scatter_groups``."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, order: Tensor, starts: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(index, order, starts)
        batch, pixels, matches, channels = table.shape
        image = torch.arange(batch, device=index.device).reshape(-1, 1, 1) * pixels
        members = (image + index) * matches + torch.arange(matches, device=index.device)
        begin = torch.arange(0, members.numel(), matches, device=index.device)
        return _bags(table.reshape(-1, channels), members.flatten(), begin).reshape(batch, pixels, channels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        return scatter_groups(grad, Groups(*ctx.saved_tensors)), None, None, None


class _Scatter(torch.autograd.Function):
    """``scatter_groups`` whose backward pass is ``gather_groups``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, order: Tensor, starts: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(index, order, starts)
        batch, pixels, matches = index.shape
        channels = values.shape[-1]
        image = torch.arange(batch, device=index.device).unsqueeze(1)
        members, begin = order + image * pixels, starts + image * pixels * matches
        rows = values.reshape(-1, channels)
        return _bags(rows, members.flatten(), begin.flatten()).reshape(batch, pixels, matches, channels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        return gather_groups(grad, Groups(*ctx.saved_tensors)), None, None, None
