"""Simulated movies of blinking emitters along curves, as a microscope records labelled microtubules."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.core.arguments import check_count, check_range

MARGIN = 4.0  # camera pixels around the field in which emitters lie whose light falls into it
STEP = 0.1  # camera pixels from point to point of a curve


class Emitters(NamedTuple):
    """Where a movie's emitters lie and what they give off."""

    rows: Tensor  # (emitters,), camera pixels; the middle of the first pixel is 0
    columns: Tensor  # (emitters,)
    photons: Tensor  # (frames, emitters), arriving at the brightest pixel of each, in each frame


class Recorded(NamedTuple):
    """Movies and what is in them."""

    movie: Tensor  # (batch, frames, size, size), photons
    variance: Tensor  # (batch, factor size, factor size): the sum of the emitters' variances in each fine pixel


def curve(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A smooth curve across the field: rows and columns of points at equal distances, camera pixels.

    It passes a point of the field in some direction, and bends as it goes on to both sides: its curvature wanders.
    """
    count = int((size + 2 * MARGIN) * 0.8 / STEP)  # to each side
    start = torch.rand(2, generator=generator) * size - 0.5
    direction = 2 * math.pi * float(torch.rand((), generator=generator))
    bend = 0.05 * torch.randn(2 * count, generator=generator)  # 1 / pixels, before smoothing
    width = int(4 / STEP)  # over which the curvature stays alike
    bend = torch.nn.functional.avg_pool1d(bend.view(1, 1, -1), 2 * width + 1, 1, width).flatten() * width**0.5
    angle = direction + torch.cumsum(bend, 0) * STEP
    angle = angle - angle[count] + direction
    steps = torch.stack([torch.sin(angle), torch.cos(angle)]) * STEP
    path = torch.cumsum(steps, 1)
    path = path - path[:, count : count + 1] + start.unsqueeze(1)
    return path[0], path[1]


def draw_emitters(size: int, frames: int, generator: torch.Generator) -> Emitters:
    """One to six curves with 3 to 8 emitters per camera pixel of their length. A frame is a sum of five exposures, in
    each of which an emitter shines with a probability of 1 to 4 % (the same for a movie); it then gives 30 to 120
    photons (the same for a movie, times a factor of its own around 1) to its brightest pixel.
    """

    def between(low: float, high: float) -> float:
        return low * (high / low) ** float(torch.rand((), generator=generator))

    rows, columns = [], []
    for _ in range(1 + int(torch.randint(6, (), generator=generator))):
        r, c = curve(size, generator)
        chosen = torch.rand(len(r), generator=generator) < between(3, 8) * STEP
        rows.append(r[chosen])
        columns.append(c[chosen])
    row, column = torch.cat(rows), torch.cat(columns)
    near = (torch.stack([row, column]) - (size - 1) / 2).abs().amax(0) < size / 2 + MARGIN
    row, column = row[near], column[near]
    shining, brightness = between(0.01, 0.04), between(30, 120)
    own = brightness * torch.exp(0.2 * torch.randn(len(row), generator=generator))
    # Sums of five exposures; one number of chance for each, by the cumulative binomial distribution.
    chances = torch.tensor([math.comb(5, k) * shining**k * (1 - shining) ** (5 - k) for k in range(5)]).cumsum(0)
    drawn = torch.rand(frames, len(row), generator=generator)
    return Emitters(row, column, torch.bucketize(drawn, chances).float() * own)


def record(
    emitters: Emitters,
    size: int,
    factor: int,
    deviation: float,
    generator: torch.Generator,
    *,
    background: float | None = None,
    read_noise: float = 1.5,
) -> Recorded:
    """The movie of emitters, (1, frames, size, size): a Gaussian point spread function, an even background, shot noise
    (normal, with a variance equal to the mean) and a camera's read noise.

    Args:
        emitters: of it.
        size: camera pixels along a side.
        factor: fine pixels in one of the camera's, along a side.
        deviation: standard deviation of the point spread function, camera pixels.
        generator: of chance.
        background: photons in each pixel of each frame; drawn from 2 to 20 by default.
        read_noise: standard deviation, photons.
    """
    row, column, photons = emitters
    grid = torch.arange(size, dtype=torch.float32)
    rows = torch.exp(-0.5 * ((grid - row.unsqueeze(1)) / deviation).square())
    columns = torch.exp(-0.5 * ((grid - column.unsqueeze(1)) / deviation).square())
    light = photons @ (rows.unsqueeze(2) * columns.unsqueeze(1)).flatten(1)
    if background is None:
        background = 2 * 10 ** float(torch.rand((), generator=generator))
    mean = light + background
    noise = torch.randn(mean.shape, generator=generator)
    movie = mean + noise * (mean + read_noise**2).sqrt()
    variance = torch.zeros(factor * size, factor * size)
    place = ((torch.stack([row, column]) + 0.5) * factor).floor().long()
    inside = ((place >= 0) & (place < factor * size)).all(0)
    if len(row):
        each = photons.var(0, unbiased=False)
        variance.index_put_((place[0, inside], place[1, inside]), each[inside], accumulate=True)
    return Recorded(movie.view(1, -1, size, size), variance.unsqueeze(0))


def simulated_movies(
    batch: int, size: int, frames: int, factor: int, deviation: float, generator: torch.Generator
) -> Recorded:
    """Movies of independent fields, divided by the largest standard deviation over time of a pixel of each, and the
    emitters' variances in the same unit: the image of variances of every movie has its maximum at 1.

    Args:
        batch: how many.
        size: camera pixels along a side.
        frames: of a movie, at least two.
        factor: fine pixels in one of the camera's, along a side.
        deviation: standard deviation of the point spread function, camera pixels.
        generator: of chance.
    """
    for name, value, least in (("batch", batch, 1), ("size", size, 4), ("frames", frames, 2), ("factor", factor, 1)):
        check_count(value, name, least)
    check_range(deviation, "deviation", 0.0, above=True)
    movies, variances = [], []
    for _ in range(batch):
        found = record(draw_emitters(size, frames, generator), size, factor, deviation, generator)
        peak = found.movie.var(1, unbiased=False).amax()
        movies.append(found.movie / peak.sqrt())
        variances.append(found.variance / peak)
    return Recorded(torch.cat(movies), torch.cat(variances))
