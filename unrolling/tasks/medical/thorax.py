"""Simulated slices of a thorax with nodules in the lungs, and vessels that look like them in part: for tomography and
detection without any data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count, check_range

MOST = 3  # nodules of a slice
PIXEL = 2.8  # mm along a side of a pixel, where a slice has 128 x 128
REFERENCE = 128  # pixels along a side that the sizes below are meant for
SOFT, BONE, AIR = 0.5, 0.85, 0.0  # of the attenuation that counts as 1; water has 0.5
DIAMETERS = (3.0, 6.0)  # pixels, of nodules
CONTRASTS = (0.22, 0.42)  # of nodules above the lung around them
APART = 10.0  # pixels between two nodules at least
PIECES = 4  # of vessels that lie by themselves in a lung
CANDIDATES = 48  # places that are tried for a nodule


class Thorax(NamedTuple):
    """A slice and what is to be found in it: what a network that reconstructs and detects is trained and measured on.

    A nodule is (row, column, radius), in pixels from the middle of the first pixel; a radius of 0 stands for none.
    """

    image: Tensor  # (batch, size, size), attenuation with water at 0.5 and compact bone near 1
    nodules: Tensor  # (batch, 3, 3)


class _Random:
    """Numbers for a batch of slices."""

    def __init__(self, batch: int, generator: torch.Generator) -> None:
        self.batch, self.generator = batch, generator

    def __call__(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform, (batch, *shape)."""
        return low + (high - low) * torch.rand(self.batch, *shape, generator=self.generator)

    def signs(self, *shape: int) -> Tensor:
        return torch.rand(self.batch, *shape, generator=self.generator).round() * 2 - 1


def simulated_thorax(batch: int, size: int, generator: torch.Generator, healthy: float = 0.5) -> Thorax:
    """Random slices: body, heart, spine, ribs, two lungs with branching vessels and short pieces of vessels, and one to
    three simulated nodules in those that are not healthy.

    Nodules are round, 3 to 6 pixels across at 128 x 128 pixels (8 to 17 mm), 0.22 to 0.42 brighter than the lung.
    Vessels are as wide and as bright as these, but long: the pieces of them that lie in the lungs by themselves are
    three to five times as long as wide.

    Args:
        batch: number of slices.
        size: pixels along a side, at least 32.
        generator: of everything.
        healthy: part of the slices that have no nodule.

    Raises:
        ValueError: a size below 32, a part outside [0, 1].
    """
    check_count(size, "size", 32)
    check_range(healthy, "healthy", 0.0, 1.0)
    check_count(batch, "batch", 0)
    random, unit = _Random(batch, generator), size / REFERENCE
    axis = (torch.arange(size) + 0.5) / unit - REFERENCE / 2  # from the middle, in pixels of the reference
    grid = axis.unsqueeze(1), axis
    sharp = unit  # an edge is a pixel wide

    def ellipse(centre: tuple[Tensor, Tensor], radii: tuple[Tensor, Tensor], angle: Tensor | None = None) -> Tensor:
        return _ellipse(grid, centre, radii, angle, sharp)

    zero = torch.zeros(batch)
    middle = (random(-3, 3), random(-3, 3))
    tall, wide = random(38, 44), random(50, 58)
    body = ellipse(middle, (tall, wide))
    inner = ellipse(middle, (tall - 3, wide - 3))
    image = _on(AIR, SOFT - 0.06, body)  # fat under the skin
    image = image + (0.06 + random(-0.01, 0.01)).view(-1, 1, 1) * inner

    lungs = torch.zeros(batch, size, size)
    frames = []
    for side in (-1, 1):
        centre = (middle[0] + random(-3, 0), middle[1] + side * (0.44 * wide + random(-1, 1)))
        radii, angle = (0.7 * tall + random(-2, 2), 0.36 * wide + random(-1.5, 1)), side * random(0.0, 0.2)
        lungs = torch.maximum(lungs, ellipse(centre, radii, angle))
        frames.append((centre, radii, angle))
    heart = ellipse((middle[0] + random(0, 8), middle[1] + random(2, 9)), (random(13, 18), random(13, 19)), zero + 0.4)
    lungs = lungs * (1 - heart)
    air = random(0.1, 0.16).view(-1, 1, 1) * (1 + 0.1 * _smooth(batch, size, generator))
    image = image * (1 - lungs) + air * lungs
    image = image + random(0.0, 0.05).view(-1, 1, 1) * heart

    vessels = lungs * _strokes(grid, _vessels(random, frames), sharp)
    bright = random(0.24, 0.38).view(-1, 1, 1)
    image = image + bright * vessels

    nodules, found = _nodules(random, grid, frames, lungs, vessels, size, healthy)
    image = torch.maximum(image, image + found * (1 - vessels))

    spine = (middle[0] + 0.72 * tall, middle[1] + random(-1, 1))
    image = _over(image, BONE, ellipse(spine, (random(6, 8), random(7, 9))))
    image = _over(image, SOFT, ellipse((spine[0] + 5, spine[1]), (zero + 2.5, zero + 3)))
    for turn in torch.linspace(-2.6, 2.6, 12):
        a = turn + random(-0.12, 0.12)  # from the breast bone on, around both sides
        along = (middle[0] - 0.87 * tall * a.cos(), middle[1] + 0.9 * wide * a.sin())
        lean = torch.atan2(0.9 * wide * a.cos(), 0.87 * tall * a.sin())  # a rib lies along the tangent
        image = _over(image, BONE, ellipse(along, (random(4, 7), random(1.3, 2.0)), lean))
    return Thorax(image.clamp(0, 1), nodules)


def _on(ground: float, value: float, mask: Tensor) -> Tensor:
    return ground + (value - ground) * mask


def _over(image: Tensor, value: float, mask: Tensor) -> Tensor:
    return image + (value - image) * mask


def _ellipse(
    grid: tuple[Tensor, Tensor],
    centre: tuple[Tensor, Tensor],
    radii: tuple[Tensor, Tensor],
    angle: Tensor | None,
    sharp: float,
) -> Tensor:
    """1 inside and 0 outside of one ellipse for each slice, (batch, size, size); the first radius lies along the rows'
    axis, turned by an angle.
    """
    y, x = (axis - c.view(-1, 1, 1) for axis, c in zip(grid, centre, strict=True))
    if angle is not None:
        cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
        y, x = y * cos + x * sin, x * cos - y * sin
    ry, rx = (r.view(-1, 1, 1) for r in radii)
    distance = (1 - torch.sqrt((y / ry).square() + (x / rx).square())) * torch.minimum(ry, rx)
    return (0.5 + sharp * distance).clamp(0, 1)


def _smooth(batch: int, size: int, generator: torch.Generator) -> Tensor:
    """A field that varies over about a tenth of the image, from -1 to 1 or so."""
    coarse = torch.randn(batch, 1, 12, 12, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").squeeze(1)


Frame = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]


def _within(frame: Frame, radius: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Points of a lung from polar coordinates in it, 1 on its border; (batch, ...)."""
    shape = (-1, *[1] * (turn.ndim - 1))
    (cy, cx), (ry, rx), angle = frame
    y, x = ry.view(shape) * radius * turn.cos(), rx.view(shape) * radius * turn.sin()
    cos, sin = angle.cos().view(shape), angle.sin().view(shape)
    return cy.view(shape) + y * cos - x * sin, cx.view(shape) + x * cos + y * sin


def _vessels(random: _Random, frames: list[Frame]) -> Tensor:
    """Strokes (batch, count, 6): both ends and the radii there. In each lung five vessels from where they enter it,
    each with two branches, and four short pieces.
    """
    strokes = []
    for side, frame in zip((-1, 1), frames, strict=True):
        inner = torch.full((random.batch, 5), 0.75)
        y, x = _within(frame, inner, -side * math.pi / 2 + random(-0.5, 0.5, 5))
        outward = side * math.pi / 2 + torch.linspace(-1.3, 1.3, 5) + random(-0.2, 0.2, 5)
        width = random(1.6, 2.4, 5)
        for number, length in enumerate((9.0, 8.0, 7.0)):
            outward = outward + random(-0.35, 0.35, 5)
            ends = y + length * outward.cos(), x + length * outward.sin()
            strokes.append(torch.stack([y, x, *ends, width, 0.75 * width], -1))
            (y, x), width = ends, 0.75 * width
            if number < 2:
                fork = outward + random.signs(5) * random(0.5, 0.9, 5)
                far = y + 8 * fork.cos(), x + 8 * fork.sin()
                strokes.append(torch.stack([y, x, *far, 0.9 * width, 0.6 * width], -1))
        y, x = _within(frame, random(0, 0.8, PIECES).sqrt(), random(-math.pi, math.pi, PIECES))
        width, turn = random(1.2, 2.2, PIECES), random(0, math.pi, PIECES)
        half = width * random(2.0, 4.0, PIECES)
        ends = (half * turn.cos(), half * turn.sin())
        strokes.append(torch.stack([y - ends[0], x - ends[1], y + ends[0], x + ends[1], width, 0.8 * width], -1))
    return torch.cat(strokes, 1)


def _strokes(grid: tuple[Tensor, Tensor], strokes: Tensor, sharp: float) -> Tensor:
    """1 on strokes with round ends that grow thinner, 0 elsewhere; (batch, size, size)."""
    size = grid[1].shape[0]
    drawn = strokes.new_zeros(strokes.shape[0], size, size)
    for stroke in strokes.unbind(1):
        y0, x0, y1, x1, r0, r1 = (value.view(-1, 1, 1) for value in stroke.unbind(-1))
        dy, dx = y1 - y0, x1 - x0
        along = (((grid[0] - y0) * dy + (grid[1] - x0) * dx) / (dy.square() + dx.square())).clamp(0, 1)
        distance = torch.sqrt((grid[0] - y0 - along * dy).square() + (grid[1] - x0 - along * dx).square())
        drawn = torch.maximum(drawn, (0.5 + sharp * (r0 + (r1 - r0) * along - distance)).clamp(0, 1))
    return drawn


def _nodules(
    random: _Random,
    grid: tuple[Tensor, Tensor],
    frames: list[Frame],
    lungs: Tensor,
    vessels: Tensor,
    size: int,
    healthy: float,
) -> tuple[Tensor, Tensor]:
    """Places and radii (batch, 3, 3) in pixels of the image, and what nodules add to it (batch, size, size)."""
    unit = size / REFERENCE
    batch = random.batch
    asked = torch.where(random(0, 1) < healthy, 0.0, random(1, MOST + 1).floor().clamp_max(MOST))
    radius, contrast = 0.5 * random(*DIAMETERS, MOST), random(*CONTRASTS, MOST)
    stretch, lean = random(1.0, 1.25, MOST), random(0, math.pi, MOST)
    # Places are tried one after the other: in the lung, on no vessel, away from nodules before.
    tried = random(0, 0.85, CANDIDATES).sqrt(), random(-math.pi, math.pi, CANDIDATES)
    left, right = (_within(frame, *tried) for frame in frames)
    which = random.signs(CANDIDATES) > 0
    rows, columns = (torch.where(which, a, b) for a, b in zip(left, right, strict=True))
    half = REFERENCE / 2
    free = lungs * (1 - vessels)
    nodules = torch.zeros(batch, MOST, 3)
    added = torch.zeros(batch, size, size)
    numbers = torch.arange(batch).unsqueeze(1)

    def looked_up(values: Tensor, y: Tensor, x: Tensor) -> Tensor:
        i, j = ((((v + half) * unit).floor().long()).clamp(0, size - 1) for v in (y, x))
        return values[numbers, i, j]

    for k in range(MOST):
        reach = radius[:, k : k + 1] + 1.5
        around = [
            looked_up(lungs, rows + dy * reach, columns + dx * reach) for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1))
        ]
        good = (torch.stack(around).amin(0) > 0.9) & (looked_up(free, rows, columns) > 0.7)
        for j in range(k):
            y, x = (nodules[:, j, i : i + 1] / unit - half for i in (0, 1))
            far = torch.hypot(rows - y, columns - x) > APART
            good = good & (far | (nodules[:, j, 2:] == 0))
        chosen = good.float().argmax(1, keepdim=True)
        exists = good.any(1) & (asked > k)
        y, x = rows.gather(1, chosen).squeeze(1), columns.gather(1, chosen).squeeze(1)
        place = torch.stack([(y + half) * unit - 0.5, (x + half) * unit - 0.5, radius[:, k] * unit], -1)
        nodules[:, k] = torch.where(exists.unsqueeze(1), place, 0.0)
        radii = radius[:, k] * stretch[:, k].sqrt(), radius[:, k] / stretch[:, k].sqrt()
        drawn = _ellipse(grid, (y, x), radii, lean[:, k], unit)
        added = added + torch.where(exists, contrast[:, k], 0.0).view(-1, 1, 1) * drawn
    return nodules, added


def heat(nodules: Float[Tensor, "batch most 3"], size: tuple[int, int]) -> Float[Tensor, "batch height width"]:
    """The largest over nodules of exp(-d^2 / (2 s^2)), d the distance to the pixel nearest to the middle of a nodule,
    s = max(1, radius / 1.5) pixels: 1 on one pixel of each nodule (Zhou, Wang and Kraehenbuehl 2019, arXiv:1904.07850).
    """
    y, x = (torch.arange(side, dtype=nodules.dtype, device=nodules.device) for side in size)
    row, column, radius = (value.unsqueeze(-1) for value in nodules.unbind(-1))
    spread = 2 * (radius / 1.5).clamp_min(1).square()
    vertical = torch.exp(-(y - row.round()).square() / spread)
    horizontal = torch.exp(-(x - column.round()).square() / spread)
    vertical = vertical * (radius > 0)
    return (vertical.unsqueeze(-1) * horizontal.unsqueeze(-2)).amax(1)
