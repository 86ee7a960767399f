"""All layers of a CORONA network on one set of real channels: what a deployed network runs in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from unrolling.algorithms.splitting.robust_pca import Separated

AT_ONCE = 1 << 21  # numbers that what several layers make of the movie may have
COARSE = 0.05  # share of the largest singular value from which on single precision tells what is above it


class MovieSteps:
    """The layers of a frozen network whose kernels have one frame.

    L and S are four real channels of every frame, (batch frames, 4, height, width). What the layers make of the movie,
    P1 * D and P2 * D, comes from one convolution for all layers with kernels of one size; a layer convolves the other
    four channels, multiplies those of L by a matrix of real and imaginary frames by the same, and those of S by a
    factor for each pixel or entry. Movies are divided by their level at the start, and the parts multiplied by it at
    the end.

    Args:
        layers: of the network, ``CORONA`` steps of one form.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self.first = layers[0]
        self.released = self.first.form == "released"
        self.steps: list[_Step] = [_Step(layer) for layer in layers]

    def __call__(self, data: Tensor, state: Separated | None) -> Separated | None:
        """The state after the last layer; None for data that it is not made for: on a graphics card, not in single
        precision, empty, or not finite.
        """
        if data.dtype is not torch.complex64 or not data.is_cpu or data.numel() == 0:
            return None
        level = self._level(data)
        unit = torch.where(level > 0, level, 1)
        batch, height, width, frames = data.shape
        movie = _channels(data / unit)
        parts = None if state is None else torch.cat([_channels(part / unit) for part in state], 1)
        for step, driven in zip(self.steps, self._driven(movie), strict=True):
            found = driven if parts is None else conv2d(parts, step.kernels, padding=step.sides).add_(driven)
            rows = found.reshape(batch, frames, 4, height * width)
            tissue = rows[:, :, :2].reshape(batch, 2 * frames, height * width)
            shrink = _real_shrinking(tissue, step.low) if self.released else _shrinking(tissue, frames, step.low)
            if shrink is None:
                return None
            parts = torch.empty_like(rows)
            parts[:, :, :2] = (shrink @ tissue).reshape(batch, frames, 2, -1)
            blood = rows[:, :, 2:]
            square = blood.square().sum(2, keepdim=True)
            if self.released:
                factor = _garrote(square, step.sparse)
            else:
                lengths = square.sum(1, keepdim=True).sqrt_()
                factor = torch.where(lengths > 0, (1 - step.sparse / lengths).clamp_min(0), 0)
            torch.mul(blood, factor, out=parts[:, :, 2:])
            parts = parts.reshape(batch * frames, 4, height, width)
        assert parts is not None
        whole = parts.reshape(batch, frames, 4, height, width).permute(2, 0, 3, 4, 1)
        return Separated(*(torch.complex(whole[k], whole[k + 1]).mul_(level) for k in (0, 2)))

    def _level(self, data: Tensor) -> Tensor:
        """The root mean square of each movie, (batch, 1, 1, 1), or 1."""
        numbers = torch.view_as_real(data).flatten(1)
        if not self.first.normalise:
            return numbers.new_ones(len(data), 1, 1, 1)
        return (2 * numbers.double().square().mean(1)).sqrt().to(numbers.dtype).reshape(-1, 1, 1, 1)

    def _driven(self, movie: Tensor) -> Iterator[Tensor]:
        """What each layer makes of the movie (batch frames, 2, height, width), biases and all: four channels."""
        most = max(1, AT_ONCE // (2 * movie.numel()))
        for sides, same in groupby(self.steps, lambda step: step.sides):
            group = list(same)
            for begin in range(0, len(group), most):
                some = group[begin : begin + most]
                weight, bias = torch.cat([s.movie for s in some]), torch.cat([s.bias for s in some])
                yield from conv2d(movie, weight, bias, padding=sides).split(4, 1)


class _Step:
    """A layer's numbers."""

    def __init__(self, layer: Any) -> None:
        weight, bias = (part.detach() for part in layer.merged())
        weight = weight.squeeze(-1)
        self.movie, self.kernels, self.bias = weight[:, :2].contiguous(), weight[:, 2:].contiguous(), bias.contiguous()
        self.sides = [size // 2 for size in weight.shape[2:]]
        self.low, self.sparse = float(layer.low_rank_threshold), float(layer.sparse_threshold)


def _channels(movie: Tensor) -> Tensor:
    """(batch frames, 2, height, width)."""
    return torch.view_as_real(movie).permute(0, 3, 4, 1, 2).flatten(0, 1).contiguous()


def _garrote(square: Tensor, threshold: float) -> Tensor:
    """What entries are multiplied by, from the squares (batch, frames, 1, pixels) of their sizes."""
    level = threshold * square.mean((1, 2, 3), keepdim=True)
    gone = square <= level  # not its opposite, which takes NaN for something small
    return (1 - level / square).masked_fill_(gone, 0)


def _products(rows: Tensor) -> Tensor | None:
    """Those of all pairs of rows (batch, count, pixels); None where they are not finite."""
    products = rows @ rows.mT
    return products if math.isfinite(float(products.sum())) else None


def _real_shrinking(rows: Tensor, share: float) -> Tensor | None:
    """What real and imaginary frames (batch, 2 frames, pixels) are multiplied by to shrink their singular values by a
    share of the largest. None where they are not finite.
    """
    products = _products(rows if share >= COARSE else rows.double())
    if products is None:
        return None
    squares, vectors = torch.linalg.eigh(products)
    values = squares.clamp_min_(0).sqrt_()
    level = share * values[:, -1:]
    factor = torch.where((values <= level) & (level > 0), 0, 1 - level / values.clamp_min(torch.finfo().tiny))
    return ((vectors * factor.unsqueeze(-2)) @ vectors.mT).to(torch.float32)


def _shrinking(rows: Tensor, frames: int, level: float) -> Tensor | None:
    """What real and imaginary parts of frames, by turns (batch, 2 frames, pixels), are multiplied by to shrink the
    singular values of the complex movie by the level: (batch, 2 frames, 2 frames). None where they are not finite.
    """
    products = _products(rows.double())
    if products is None:
        return None
    by = products.unflatten(2, (frames, 2)).unflatten(1, (frames, 2))
    real = by[:, :, 0, :, 0] + by[:, :, 1, :, 1]
    imaginary = by[:, :, 1, :, 0] - by[:, :, 0, :, 1]
    squares, vectors = torch.linalg.eigh(torch.complex(real, imaginary))
    values = squares.clamp_min(0).sqrt()
    gone = (values <= level) & (level > 0)
    factor = torch.where(gone, 0, 1 - level / torch.where(values > 0, values, 1))
    matrix = ((vectors * factor.unsqueeze(-2)) @ vectors.mH).to(torch.complex64)
    turned = torch.stack([torch.stack([matrix.real, -matrix.imag], -1), torch.stack([matrix.imag, matrix.real], -1)], 2)
    return turned.reshape(len(rows), 2 * frames, 2 * frames)
