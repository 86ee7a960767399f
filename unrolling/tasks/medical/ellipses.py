"""Slices made of ellipses: random ones, to train on; random heads; and the phantom of Shepp and Logan."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.core.refusals import explained

MOST = 2**21  # pixels of ellipses that are drawn at a time
OUTLINED = 0.5  # share of random slices that lie within an outline


class Ellipses(NamedTuple):
    """Ellipses of one slice; the square [-1, 1]^2 is the slice, y points up."""

    value: Tensor  # (count,) added inside
    width: Tensor  # (count,) half axis along x before turning
    height: Tensor  # (count,) half axis along y
    x: Tensor  # (count,) centre
    y: Tensor
    angle: Tensor  # (count,) anticlockwise, radians


# value, half width, half height, x, y, degrees: Toft 1996, of higher contrast than in Shepp and Logan 1974.
_SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)


@explained
def draw_ellipses(ellipses: Ellipses, size: int) -> Float[Tensor, "size size"]:
    """The sum of ellipses at the middles of pixels, cut to [0, 1].

    Args:
        ellipses: any number of them.
        size: pixels along a side.
    """
    check_count(size, "size")
    axis = (torch.arange(size, dtype=torch.float32) + 0.5) * (2 / size) - 1
    image = torch.zeros(size, size)
    step = max(1, MOST // size**2)
    cos, sin = ellipses.angle.cos(), ellipses.angle.sin()
    for first in range(0, len(ellipses.value), step):
        part = slice(first, first + step)
        value, width, height, x, y = (each[part].reshape(-1, 1, 1) for each in ellipses[:5])
        c, s = cos[part].reshape(-1, 1, 1), sin[part].reshape(-1, 1, 1)
        across, up = axis - x, -axis.unsqueeze(1) - y
        inside = ((across * c + up * s) / width).square() + ((up * c - across * s) / height).square() <= 1
        image += (inside * value).sum(0)
    return image.clamp_(0, 1)


@explained
def shepp_logan(size: int) -> Float[Tensor, "size size"]:
    """The phantom of Shepp and Logan 1974, doi:10.1109/TNS.1974.6499235, with the contrasts of Toft 1996.

    Args:
        size: pixels along a side.
    """
    rows = torch.tensor(_SHEPP_LOGAN, dtype=torch.float32).T
    value, width, height, x, y, degrees = rows
    return draw_ellipses(Ellipses(value, width, height, x, y, degrees.deg2rad()), size)


@explained
def random_ellipses(size: int, generator: torch.Generator, mean_count: float = 50.0) -> Float[Tensor, "size size"]:
    """A slice of about ``mean_count`` random ellipses, after Adler and Oektem 2018, doi:10.1109/TMI.2018.2799231: their
    number has a Poisson distribution, half axes are 0.2 times exponential numbers, values 0.4 times an exponential
    number times a uniform one from -0.5 to 0.5, centres uniform over the slice.

    Other than there, every second slice lies within an outline with a bright rim, as bodies do, and values are cut to
    [0, 1]: such a slice has ellipses around a grey of its own, the others around 0.

    Args:
        size: pixels along a side.
        generator: of everything.
        mean_count: of ellipses.
    """
    count = max(1, int(torch.poisson(torch.tensor(float(mean_count)), generator=generator)))
    u = torch.rand(7, count, generator=generator)
    e = -torch.log1p(-torch.rand(3, count, generator=generator))
    found = Ellipses(
        (u[0] - 0.5) * 0.4 * e[0],
        (0.2 * e[1]).clamp_min(1e-3),
        (0.2 * e[2]).clamp_min(1e-3),
        2 * u[1] - 1,
        2 * u[2] - 1,
        2 * math.pi * u[3],
    )
    if float(torch.rand((), generator=generator)) >= OUTLINED:
        return draw_ellipses(found, size)
    outline = _outline(generator)
    inside = draw_ellipses(Ellipses(*(part[1:] for part in outline))._replace(value=torch.ones(1)), size)
    content = draw_ellipses(
        Ellipses(*(torch.cat([base[:1], own]) for base, own in zip(_everywhere(generator), found, strict=True))), size
    )
    return torch.where(inside > 0, content, draw_ellipses(outline, size))


@explained
def random_head(size: int, generator: torch.Generator) -> Float[Tensor, "size size"]:
    """A random head of a few ellipses of low contrast within a rim, piecewise constant: like that of Shepp and Logan,
    and never the same.

    Args:
        size: pixels along a side.
        generator: of everything.
    """
    outline = _outline(generator)
    count = int(torch.randint(5, 12, (), generator=generator))
    u = torch.rand(6, count, generator=generator)
    radius, turn = 0.75 * u[0].sqrt(), 2 * math.pi * u[1]
    large = 0.02 + 0.25 * u[2].square()
    parts = Ellipses(
        torch.where(u[3] < 0.5, -0.05 - 0.3 * u[3], 0.3 * (u[3] - 0.4)),
        large,
        large * (0.4 + u[4]),
        radius * outline.width[1] * turn.cos(),
        radius * outline.height[1] * turn.sin(),
        2 * math.pi * u[5],
    )
    return draw_ellipses(Ellipses(*(torch.cat(pair) for pair in zip(outline, parts, strict=True))), size)


def _outline(generator: torch.Generator) -> Ellipses:
    """A rim of 0.5 to 1 and what it encloses, of 0.1 to 0.5."""
    u = torch.rand(8, generator=generator)
    width, height, rim = 0.5 + 0.42 * u[0], 0.5 + 0.45 * u[1], 0.02 + 0.08 * u[2]
    bright, inner = 0.5 + 0.5 * u[3], 0.1 + 0.4 * u[4]
    angle = (u[5] - 0.5) * 0.6
    room = (torch.stack([1 - width, 1 - height]).clamp_min(0) * 2 * (u[6:8] - 0.5)) * 0.8
    return Ellipses(
        torch.stack([bright, inner - bright]),
        torch.stack([width, width - rim]),
        torch.stack([height, height - rim]),
        room[:1].expand(2),
        room[1:].expand(2),
        angle.expand(2),
    )


def _everywhere(generator: torch.Generator) -> Ellipses:
    """One ellipse around the whole slice, of 0.1 to 0.5."""
    one = torch.ones(1)
    return Ellipses(0.1 + 0.4 * torch.rand(1, generator=generator), 9 * one, 9 * one, 0 * one, 0 * one, 0 * one)
