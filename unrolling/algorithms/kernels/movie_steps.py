"""All layers of a CORONA network on one set of real channels: what a deployed network runs in."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from unrolling.algorithms.splitting.robust_pca import Separated
from unrolling.core import native

BLOCK = 32  # pixels of a row that the C++ kernel takes at once
SHARE = 1 << 23  # multiply-adds of a thread at least
COARSE = 0.05  # share of the largest singular value from which on single precision tells what is above it


class MovieSteps:
    """The layers of a frozen network whose kernels have one frame.

    L and S are two real channels of every frame each, (batch frames, 2, height, width), as the movie is. A layer
    correlates all six with its kernels in one call of a C++ kernel, multiplies those of L by a matrix of real and
    imaginary frames by the same, and those of S by a factor for each pixel or entry. Movies are divided by their level
    at the start, and the parts multiplied by it at the end.

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
        given = [] if state is None else [_channels(part / unit) for part in state]
        for step in self.steps:
            tissue, blood = step(movie, *given)
            rows = tissue.view(batch, 2 * frames, height * width)
            shrink = _real_shrinking(rows, step.low) if self.released else _shrinking(rows, frames, step.low)
            if shrink is None:
                return None
            entries = blood.view(batch, frames, 2, height * width)
            if self.released:
                shrink_entries(entries, step.sparse)
            else:
                lengths = entries.square().sum((1, 2), keepdim=True).sqrt_()
                entries.mul_(torch.where(lengths > 0, (1 - step.sparse / lengths).clamp_min(0), 0))
            given = [(shrink @ rows).view_as(tissue), blood]
        whole = [part.view(batch, frames, 2, height, width).permute(2, 0, 3, 4, 1) for part in given]
        return Separated(*(torch.complex(part[0], part[1]).mul_(level) for part in whole))

    def _level(self, data: Tensor) -> Tensor:
        """The root mean square of each movie, (batch, 1, 1, 1), or 1."""
        numbers = torch.view_as_real(data).flatten(1)
        if not self.first.normalise:
            return numbers.new_ones(len(data), 1, 1, 1)
        size = torch.linalg.vector_norm(
            numbers, dim=1, dtype=torch.float64
        )  # whose squares are beyond single precision
        return (size * (2 / numbers.shape[1]) ** 0.5).to(numbers.dtype).reshape(-1, 1, 1, 1)


class _Step:
    """A layer's numbers; called, what it makes of movie, tissue and blood before it shrinks them."""

    def __init__(self, layer: Any) -> None:
        weight, bias = (part.detach() for part in layer.merged())
        self.weight, self.bias = weight.squeeze(-1), bias.contiguous()
        self.sides = [size // 2 for size in self.weight.shape[2:]]
        # for the kernel, of the movie alone and of all three
        self.turned = {inputs: self.weight[:, :inputs].permute(1, 2, 3, 0).contiguous() for inputs in (2, 6)}
        self.low, self.sparse = float(layer.low_rank_threshold), float(layer.sparse_threshold)

    def __call__(self, movie: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        inputs, (frames, _, height, width) = [movie, *parts], movie.shape
        functions = _functions()
        if functions is None:
            found = conv2d(torch.cat(inputs, 1), self.weight[:, : 2 * len(inputs)], self.bias, padding=self.sides)
            return found[:, :2].contiguous(), found[:, 2:].contiguous()
        weight, size = self.turned[2 * len(inputs)], self.weight.shape[2:]
        work = frames * height * width * weight.numel()
        parallel = native.openmp()
        threads = 1 if parallel is None else max(1, min(torch.get_num_threads(), frames, work // SHARE))
        line = -(-width // BLOCK) * BLOCK + size[1] - 1
        scratch = movie.new_empty(threads * 2 * len(inputs) * (height + size[0] - 1) * line)
        outputs = torch.empty_like(movie), torch.empty_like(movie)
        functions.convolution(
            (ctypes.c_void_p * 3)(*(each.data_ptr() for each in inputs)),
            (ctypes.c_void_p * 2)(*(each.data_ptr() for each in outputs)),
            *(each.data_ptr() for each in (weight, self.bias, scratch)),
            (ctypes.c_int64 * 7)(frames, height, width, *size, 2 * len(inputs), threads),
            parallel,
        )
        native.counted(work)
        return outputs


class _Functions(NamedTuple):
    convolution: Callable[..., None]
    garrote: Callable[..., None]


@functools.cache
def _functions() -> _Functions | None:
    """None where they could not be compiled."""
    try:
        library = native.load(Path(__file__).with_suffix(".cpp"))
    except Exception as error:  # whatever it is, torch operators do the same
        native.report("CORONA runs on torch operators, which take longer, as the kernel could not be built", error)
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found = _Functions(library.movie_convolution, library.movie_garrote)
    for function, arguments in zip(found, ([pointer] * 7, [pointer, *3 * [number], ctypes.c_float]), strict=True):
        function.restype, function.argtypes = None, arguments  # pyright: ignore[reportFunctionMemberAccess]
    return found


def _channels(movie: Tensor) -> Tensor:
    """(batch frames, 2, height, width)."""
    return torch.view_as_real(movie).permute(0, 3, 4, 1, 2).flatten(0, 1).contiguous()


def shrink_entries(parts: Tensor, share: float) -> None:
    """x <- x (1 - share m / |x|^2)_+ in place, of contiguous entries (batch, frames, 2, pixels) with real and imaginary
    parts, m the mean of |x|^2.
    """
    functions = _functions()
    if functions is not None:
        batch, frames, _, pixels = parts.shape
        functions.garrote(parts.data_ptr(), batch, frames, pixels, share)
        return
    square = parts.square().sum(2, keepdim=True)
    level = share * square.mean((1, 2, 3), keepdim=True)
    gone = square <= level  # not its opposite, which takes NaN for something small
    parts.mul_((1 - level / square).masked_fill_(gone, 0))


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
    factor = (1 - level / values.clamp_min_(torch.finfo(values.dtype).tiny)).clamp_min_(0)
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
    factor = (1 - level / values.clamp_min(torch.finfo(values.dtype).tiny)).clamp_min(0)
    matrix = ((vectors * factor.unsqueeze(-2)) @ vectors.mH).to(torch.complex64)
    turned = torch.stack([torch.stack([matrix.real, -matrix.imag], -1), torch.stack([matrix.imag, matrix.real], -1)], 2)
    return turned.reshape(len(rows), 2 * frames, 2 * frames)
