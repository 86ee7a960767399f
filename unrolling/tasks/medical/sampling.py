"""Masks of k-space: pseudo-radial lines, the lines of a Cartesian scan, and single frequencies. Zero frequency in the
middle, as masks are drawn and stored.
"""

from __future__ import annotations

import functools
import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def check_rate(rate: float) -> None:
    """Refuses a sampling rate outside (0, 1].

    Raises:
        ValueError: it is.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate is {rate}; the part of k-space that is measured lies in (0, 1]")


def radial_mask(size: int, rate: float) -> Float[Tensor, "size size"]:
    """Straight lines through the middle at equal angles, as many as come nearest to a rate; symmetric under k -> -k.

    Args:
        size: pixels along a side.
        rate: part of k-space to measure.
    """
    check_rate(rate)
    best = torch.ones(size, size)
    low, high = 1, 4 * size
    # The rate grows with the number of lines, but for small ups and downs.
    while low < high:
        middle = (low + high) // 2
        if float(_lines(size, middle).mean()) < rate:
            low = middle + 1
        else:
            high = middle
    candidates = [_lines(size, count) for count in range(max(1, low - 2), low + 3)]
    return min([*candidates, best], key=lambda mask: abs(float(mask.mean()) - rate))


def _lines(size: int, count: int) -> Tensor:
    middle = size // 2
    t = torch.arange(-4 * middle, 4 * middle + 1, dtype=torch.float64) / 4
    mask = torch.zeros(size, size)
    for angle in (math.pi * (i + 0.5) / count for i in range(count)):
        rows, columns = (t * math.sin(angle)).round().long(), (t * math.cos(angle)).round().long()
        for sign in (1, -1):
            r, c = middle + sign * rows, middle + sign * columns
            inside = (r >= 0) & (r < size) & (c >= 0) & (c < size)
            mask[r[inside], c[inside]] = 1
    if size % 2 == 0:  # -k of the first row and column, which have no partner of the other sign, is on them again
        mask[0, 1:] = torch.maximum(mask[0, 1:], mask[0, 1:].flip(0))
        mask[1:, 0] = torch.maximum(mask[1:, 0], mask[1:, 0].flip(0))
    return mask


def _middle_columns(width: int, rate: float, centre: float) -> tuple[Tensor, int]:
    """(width,), 1 in the columns in the middle that are always measured; how many others a rate leaves to measure."""
    check_rate(rate)
    count = max(1, round(rate * width))
    inner = min(count, max(1, round(centre * width)))
    first = (width - inner) // 2 + (width - inner) % 2
    columns = torch.zeros(width)
    columns[first : first + inner] = 1
    return columns, count - inner


def cartesian_mask(
    height: int, width: int, rate: float, *, centre: float = 0.04, seed: int = 0
) -> Float[Tensor, "height width"]:
    """Whole columns: those in the middle, and others drawn at random, the more the nearer to it.

    Args:
        height: of the image.
        width: number of columns.
        rate: part of the columns to measure.
        centre: part of the columns that is always measured, in the middle.
        seed: of the draw.
    """
    columns, others = _middle_columns(width, rate, centre)
    distance = (torch.arange(width) - width // 2).abs() / (width / 2)
    weight = ((1 - distance).clamp_min(0) ** 2 + 0.02) * (1 - columns)
    if others > 0:
        columns[torch.multinomial(weight, others, generator=torch.Generator().manual_seed(seed))] = 1
    return columns.expand(height, width).clone()


def scattered_mask(
    height: int, width: int, rate: float, *, decay: float = 3.0, seed: int = 0
) -> Float[Tensor, "height width"]:
    """Single points at random, with a probability that falls from 1 in the middle, as (1 - radius)^decay, the radius
    being 1 at the ends of the axes, to 0.02 or more.

    Args:
        height: of the image.
        width: of the image.
        rate: part of k-space to measure, exactly up to one point.
        decay: of the density, at least 0.
        seed: of the draw.
    """
    check_rate(rate)
    y = (torch.arange(height) - height // 2) / (height / 2)
    x = (torch.arange(width) - width // 2) / (width / 2)
    radius = torch.hypot(y.unsqueeze(1), x)
    weight = (1 - radius).clamp_min(0) ** decay + 0.02
    # The smallest of uniform numbers to the power 1 / weight: a draw without replacement (Efraimidis and Spirakis 2006)
    uniform = torch.rand(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    order = (uniform.log() / weight).masked_fill(radius < 2 / min(height, width), 0.0).flatten()
    chosen = order.topk(max(1, round(rate * height * width))).indices
    return torch.zeros(height * width).index_fill(0, chosen, 1.0).reshape(height, width)


KINDS = (0.45, 0.8)  # of random masks: radial up to here, lines up to here, points


def drawn_mask(
    height: int, width: int, rates: tuple[float, float], generator: torch.Generator
) -> Float[Tensor, "height width"]:
    """A random mask: pseudo-radial lines (of square images), whole rows or columns, or points; its rate between two,
    evenly on a logarithmic scale.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    rate = math.exp(uniform(*map(math.log, rates)))
    kind = uniform(0, 1)
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    if kind < KINDS[0] and height == width:
        return _kept_radial_mask(height, round(rate, 2))
    if kind < KINDS[1]:
        centre = uniform(0.02, 0.1)
        if seed % 2:
            return cartesian_mask(width, height, rate, centre=centre, seed=seed).T.contiguous()
        return cartesian_mask(height, width, rate, centre=centre, seed=seed)
    return scattered_mask(height, width, rate, decay=uniform(1, 6), seed=seed)


@functools.lru_cache(maxsize=200)
def _kept_radial_mask(size: int, rate: float) -> Tensor:
    return radial_mask(size, max(rate, 0.01))


ALONG = 0.3  # part of what is not sampled across a line that has to be sampled along it, to be a line


def mask_kind(mask: Float[Tensor, "height width"]) -> str:
    """What a mask, zero frequency in its middle, is made of: ``all``, ``lines`` (whole rows or columns), ``radial
    lines``, ``rings`` (also spirals), or ``points``.

    Lines through the middle are told by the neighbours of what is sampled: away from the middle they are sampled too,
    around it not more often than elsewhere.
    """
    sampled = mask != 0
    if bool(sampled.all()):
        return "all"
    if bool((sampled == sampled[:1]).all()) or bool((sampled == sampled[:, :1]).all()):
        return "lines"
    height, width = sampled.shape
    y = torch.arange(height).unsqueeze(1) - height // 2
    x = torch.arange(width) - width // 2
    radius = (y * y + x * x).double().sqrt()
    side = min(height, width)
    rows, columns = torch.nonzero(sampled & (radius > side / 8) & (radius < side / 2 - 2), as_tuple=True)
    if len(rows) == 0:
        return "points"
    away = torch.stack([rows - height // 2, columns - width // 2]) / radius[rows, columns]
    around = torch.stack([-away[1], away[0]])

    def also(direction: Tensor) -> float:
        near = (torch.stack([rows, columns]) + 2 * direction).round().long()
        return float(sampled[near[0].clamp(0, height - 1), near[1].clamp(0, width - 1)].float().mean())

    along, across = also(away), also(around)
    if along - across > ALONG * (1 - across):
        return "radial lines"
    return "rings" if across - along > ALONG * (1 - along) else "points"


def equispaced_mask(
    height: int, width: int, rate: float, *, centre: float = 0.08, offset: float = 0.0
) -> Float[Tensor, "height width"]:
    """Whole columns: those in the middle, and others at equal distances; as many as the rate says.

    Args:
        height: of the image.
        width: number of columns.
        rate: part of the columns to measure.
        centre: part of the columns that is always measured, in the middle.
        offset: of the first of the others, from 0 to 1 of their distance.
    """
    columns, others = _middle_columns(width, rate, centre)
    outside = torch.nonzero(columns == 0).flatten()
    if others > 0:
        step = len(outside) / others
        columns[outside[((torch.arange(others) + offset % 1) * step).long()]] = 1
    return columns.expand(height, width).clone()


def poisson_disc_mask(
    height: int, width: int, rate: float, *, centre: float = 0.09, seed: int = 0
) -> Float[Tensor, "height width"]:
    """Single frequencies, random but none close to another, the further apart the further out; all of a square in the
    middle. As many as the rate says, to the last one.

    Poisson-disc sampling by throwing darts (Cook 1986, doi:10.1145/7529.8927), the distance growing in proportion to
    1 + 4 r, r from 0 in the middle to 1 at the nearest border. The largest distance that leaves enough is taken, and
    what is too many left out at random.

    Args:
        height: of the image.
        width: of the image.
        rate: part of k-space to measure.
        centre: side of the square, as a part of the shorter side; smaller where the rate leaves no more.
        seed: of the draw.
    """
    check_rate(rate)
    count = max(1, round(rate * height * width))
    side = min(max(1, round(centre * min(height, width))), math.isqrt(count))
    top, left = height // 2 - side // 2, width // 2 - side // 2
    random = np.random.default_rng(seed)
    order = random.permutation(height * width)
    y, x = np.divmod(np.arange(height * width), width)
    radius = np.hypot((y - height // 2) / (height / 2), (x - width // 2) / (width / 2)).reshape(height, width)
    inside = np.zeros((height, width), dtype=bool)
    inside[top : top + side, left : left + side] = True

    def thrown(unit: float) -> np.ndarray:
        """Those that stay, in the order in which they were thrown."""
        free, kept = ~inside, []
        for dart in order:
            row, column = divmod(int(dart), width)
            if not free[row, column]:
                continue
            kept.append(dart)
            away = unit * (1 + 4 * radius[row, column])
            reach = int(away)
            rows = slice(max(0, row - reach), row + reach + 1)
            columns = slice(max(0, column - reach), column + reach + 1)
            free[rows, columns] &= ~_disc(reach, away)[
                rows.start - row + reach : min(height, row + reach + 1) - row + reach,
                columns.start - column + reach : min(width, column + reach + 1) - column + reach,
            ]
        return np.asarray(kept, dtype=int)

    wanted = count - side * side
    low, high = 0.0, math.sqrt(height * width / count)  # at a distance of 0 every dart stays
    chosen = order[~inside.reshape(-1)[order]]
    for _ in range(6):
        middle = (low + high) / 2
        found = thrown(middle)
        if len(found) < wanted:
            high = middle
        else:
            low, chosen = middle, found
    mask = torch.from_numpy(inside.astype(np.float32))
    mask.view(-1)[torch.from_numpy(random.permutation(chosen)[:wanted].copy())] = 1
    return mask


@lru_cache(maxsize=4096)
def _disc(reach: int, away: float) -> np.ndarray:
    """Offsets (2 reach + 1, 2 reach + 1) that are nearer than a distance."""
    offsets = np.arange(-reach, reach + 1)
    return np.hypot(offsets[:, None], offsets) <= away if away > 0 else np.ones((1, 1), dtype=bool)
