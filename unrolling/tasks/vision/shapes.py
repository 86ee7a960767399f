"""Pictures of simple shapes with a class for each pixel, drawn by the task."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CLASSES = ("ground", "disc", "square", "triangle")
SHAPES_IN_A_PICTURE = 5


def drawn_shapes(batch: int, size: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Up to five discs, squares and triangles of any colour and turn on a ground whose colour changes slowly; later
    ones lie on earlier ones.

    Args:
        batch: pictures.
        size: pixels along a side.
        noise: standard deviation of what is added to each pixel's colours in [0, 1].
        generator: of all of it.

    Returns:
        pictures (batch, 3, size, size) in [0, 1], labels (batch, size, size) int64, 0 ground, 1 disc, 2 square, 3
        triangle.
    """
    coarse = torch.rand(batch, 3, 3, 3, generator=generator)
    picture = interpolate(0.3 + 0.4 * coarse, (size, size), mode="bilinear", align_corners=True)
    labels = torch.zeros(batch, size, size, dtype=torch.long)
    rows, columns = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    for _ in range(SHAPES_IN_A_PICTURE):
        kind = torch.randint(1, len(CLASSES), (batch, 1, 1), generator=generator)
        place = size * torch.rand(batch, 2, 1, 1, generator=generator)
        radius = size * (0.1 + 0.12 * torch.rand(batch, 1, 1, generator=generator))
        turn = 2 * math.pi * torch.rand(batch, 1, 1, generator=generator)
        colour = torch.rand(batch, 3, 1, 1, generator=generator)
        down, across = (rows - place[:, 0]) / radius, (columns - place[:, 1]) / radius
        inside = torch.where(
            kind == 1, down.square() + across.square() < 1, _polygon(down, across, turn, torch.where(kind == 2, 4, 3))
        )
        labels = torch.where(inside, kind, labels)
        picture = torch.where(inside.unsqueeze(1), colour, picture)
    noisy = picture + noise * torch.randn(picture.shape, generator=generator)
    return noisy.clamp(0, 1), labels


def coarse_scores(labels: Tensor, classes: int, noise: float, generator: torch.Generator, *, stride: int = 8) -> Tensor:
    """Scores as a network of a stride gives them: the share of each class in squares of 8 pixels, times 4, with noise,
    interpolated; (batch, classes, height, width).

    Args:
        labels: (batch, height, width); other than 0 to classes - 1 belong to none.
        classes: how many.
        noise: standard deviation of what is added to each score.
        generator: of the noise.
        stride: pixels of a square.
    """
    held = torch.stack([(labels == k).float() for k in range(classes)], 1)
    height, width = labels.shape[-2:]
    size = (-(-height // stride), -(-width // stride))
    shares = torch.nn.functional.adaptive_avg_pool2d(held, size)
    scores = 4 * shares + noise * torch.randn(shares.shape, generator=generator)
    return interpolate(scores, (height, width), mode="bilinear", align_corners=False)


def _polygon(down: Tensor, across: Tensor, turn: Tensor, corners: Tensor) -> Tensor:
    """Within a regular polygon of circumradius 1.25 about the origin."""
    inside = torch.ones(torch.broadcast_shapes(down.shape, turn.shape), dtype=torch.bool)
    for side in range(int(corners.max())):
        angle = turn + 2 * math.pi * side / corners
        reach = 1.25 * torch.cos(math.pi / corners)
        inside &= torch.cos(angle) * down + torch.sin(angle) * across < reach
    return inside
