"""What lies beyond an image's border: periodic, mirrored or zero, with the exact adjoint of each."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from unrolling.core.refusals import explained

Boundary = Literal["circular", "symmetric", "zero"]
BOUNDARIES = ("circular", "symmetric", "zero")
Margins = tuple[int, int, int, int]  # rows before and after, columns before and after


def check_boundary(boundary: str) -> None:
    """Refuses an unknown boundary.

    Raises:
        ValueError: it is none of ``BOUNDARIES``.
    """
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary is {boundary!r}; it is one of {', '.join(BOUNDARIES)}")


def extend(x: Tensor, margins: Margins, boundary: Boundary) -> Tensor:
    """Images (..., height, width) continued beyond their borders.

    Args:
        x: the images.
        margins: how many rows and columns to add.
        boundary: ``circular`` repeats the image, ``symmetric`` mirrors it with the border pixel twice, ``zero`` adds
            zeros.

    Raises:
        ValueError: margins that are larger than the image, other than with zeros.
    """
    top, bottom, left, right = margins
    if boundary == "zero":
        return torch.nn.functional.pad(x, (left, right, top, bottom))
    height, width = x.shape[-2:]
    if max(top, bottom) > height or max(left, right) > width:
        raise ValueError(
            f"an image of {height} x {width} pixels cannot be continued by {max(margins)} pixels; it is "
            "smaller than that"
        )
    return _extend(_extend(x, top, bottom, -2, boundary), left, right, -1, boundary)


@explained
def join(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (..., height, width) on a larger periodic grid, without a step at its borders: the rows, then the columns,
    that are added after the image go in equal steps from its last one to its first.

    Raises:
        ValueError: a grid smaller than the image.
    """
    for dim, length in ((-2, size[0]), (-1, size[1])):
        gap = length - x.shape[dim]
        if gap < 0:
            raise ValueError(
                f"the grid has {size[0]} x {size[1]} pixels, less than the image in shape {tuple(x.shape)}"
            )
        part = torch.arange(1, gap + 1, dtype=x.dtype, device=x.device) / (gap + 1)
        part = part if dim == -1 else part.unsqueeze(-1)
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
        x = torch.cat([x, last + part * (first - last)], dim)
    return x


def fold(y: Tensor, margins: Margins, boundary: Boundary) -> Tensor:
    """The adjoint of ``extend``: what lies in the margins is added to the pixels it was copied from."""
    top, bottom, left, right = margins
    return _fold(_fold(y, left, right, -1, boundary), top, bottom, -2, boundary)


def _extend(x: Tensor, before: int, after: int, dim: int, boundary: Boundary) -> Tensor:
    if before == after == 0:
        return x
    size = x.shape[dim]
    if boundary == "circular":
        return torch.cat([x.narrow(dim, size - before, before), x, x.narrow(dim, 0, after)], dim)
    return torch.cat([x.narrow(dim, 0, before).flip(dim), x, x.narrow(dim, size - after, after).flip(dim)], dim)


def _fold(y: Tensor, before: int, after: int, dim: int, boundary: Boundary) -> Tensor:
    if before == after == 0:
        return y
    size = y.shape[dim] - before - after
    x = y.narrow(dim, before, size)
    if boundary == "zero":
        return x
    first, last = y.narrow(dim, 0, before), y.narrow(dim, before + size, after)
    # Padded to the image's size, so that nothing is written in place.
    if boundary == "circular":
        return x + _placed(last, 0, size - after, dim) + _placed(first, size - before, 0, dim)
    return x + _placed(first.flip(dim), 0, size - before, dim) + _placed(last.flip(dim), size - after, 0, dim)


def _placed(part: Tensor, before: int, after: int, dim: int) -> Tensor:
    return torch.nn.functional.pad(part, (before, after) if dim == -1 else (0, 0, before, after))
