"""Steps with radial kernels on small images in C++, for networks that are only run."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.core import native
from unrolling.operators.radial import RadialConvolution

LANES = 16  # numbers of a vector in the kernel
LARGEST = 384  # pixels along a side; Fourier transforms are quicker far beyond


class Shrink(NamedTuple):
    """The prox of a layer: ``PercentileGate`` where ``low`` is not 0, else ``SoftPositive``."""

    first: float  # alpha, or the threshold
    second: float = 0.0  # tau
    low: int = 0  # q_1 is the so many smallest pixel of an image
    high: int = 0  # q_99 is the so many largest


class _Layer(ctypes.Structure):
    _fields_ = (
        ("spectrum", ctypes.c_void_p),
        ("low", ctypes.c_int64),
        ("high", ctypes.c_int64),
        ("first", ctypes.c_float),
        ("second", ctypes.c_float),
    )


class RadialSteps:
    """g <- W_A * g, then x <- g + (delta - W[k]) * prox[k](x) for every layer, from x = g or a state, as a function of
    images that gives the last x; it overwrites the images it is given.

    A kernel W that is even along rows and columns leaves the even and the odd part of an image apart, along either
    axis, and is a product for their cosine and sine transforms on the periodic grid of ``RadialConvolution``: on sides
    of some dozens of pixels these are quickest as products with small matrices, all in one call.

    Args:
        analysis: W_A.
        interactions: W of each layer, kernels of one size, not smaller than that of W_A.
        shrinks: prox of each layer.
        shape: (height, width) of the images; both even.
    """

    def __init__(
        self,
        analysis: RadialConvolution,
        interactions: Sequence[RadialConvolution],
        shrinks: Sequence[Shrink],
        shape: tuple[int, int],
    ) -> None:
        self.shape, (height, width) = shape, shape
        size = interactions[0].size
        grid = (_multiple(max(height, size) + size // 2, 8), _multiple(max(width, size) + size // 2, 8))
        rows, columns, half = grid[0] // 2, grid[1] // 2, width // 2
        padded_half, padded = _multiple(half, LANES), _multiple(columns, LANES)
        down, across = _basis(height, grid[0]), torch.zeros(2, columns, padded_half)
        across[:, :, :half] = _basis(width, grid[1])
        turned = torch.zeros(2, half, padded)
        turned[:, :, :columns] = across[:, :, :half].mT
        self._spectrum = _weighted(analysis.spectrum(grid).real, grid, padded)
        spectra = [_weighted(1 - each.spectrum(grid).real, grid, padded) for each in interactions]
        layers = (_Layer * len(spectra))(
            *(
                _Layer(spectrum.data_ptr(), each.low, each.high, each.first, each.second)
                for spectrum, each in zip(spectra, shrinks, strict=True)
            )
        )
        scratch = [
            torch.zeros(count)
            for count in (
                height * width,
                2 * height * padded_half,
                2 * rows * padded_half,
                rows * padded,
                height * width,
            )
        ]
        sizes = (ctypes.c_int64 * 7)(height, width, half, padded_half, rows, columns, padded)
        basis = (ctypes.c_void_p * 3)(*(each.data_ptr() for each in (down, across, turned)))
        places = (ctypes.c_void_p * 5)(*(each.data_ptr() for each in scratch))
        self._memory = [down, across, turned, spectra, scratch]  # which the numbers below point to
        self._given = layers, len(spectra), sizes, basis, places
        # of a convolution of an image: either axis there and back, the parities of rows and columns
        self._work = 2 * 2 * rows * (height // 2 * 2 * padded_half // 2 + half * padded)

    @classmethod
    def of(
        cls,
        analysis: RadialConvolution,
        interactions: Sequence[RadialConvolution],
        shrinks: Sequence[Shrink | None],
        shape: Sequence[int],
    ) -> RadialSteps | None:
        """None for what it is not made for: another prox, odd or large images, other precisions, no compiler."""
        height, width = shape
        kernels = [analysis, *interactions]
        plain = all(each.profile.dtype is torch.float32 and each.profile.is_cpu for each in kernels)
        known = [each for each in shrinks if each is not None]
        fits = height % 2 == width % 2 == 0 and min(shape) > 0 and max(shape) <= LARGEST
        fits = fits and len({each.size for each in interactions}) == 1 and analysis.size <= interactions[0].size
        if not plain or not fits or len(known) < len(shrinks) or _kernel() is None:
            return None
        return cls(analysis, interactions, known, (height, width))

    def __call__(self, images: Tensor, state: Tensor | None = None) -> Tensor | None:
        """The last state (batch, height, width); None where the kernel cannot be had, the images are not contiguous,
        in single precision and on the processor, or a number is not finite.
        """
        kernel = _kernel()
        if kernel is None or images.dtype is not torch.float32 or not images.is_cpu or not images.is_contiguous():
            return None
        if images.shape[1:] != self.shape or (state is not None and state.shape != images.shape):
            return None
        x = torch.empty_like(images)
        if state is not None:
            x.copy_(state)
        count, depth = len(images), self._given[1]
        native.counted(count * (depth + 1) * self._work)
        first = images.data_ptr(), x.data_ptr(), count, self._spectrum.data_ptr(), int(state is not None)
        return x if kernel(*first, *self._given) else None


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of


def _basis(side: int, grid: int) -> Tensor:
    """Cosines of the frequencies 0 ... grid / 2 - 1 and sines of 1 ... grid / 2 at the pixels on one side of the
    middle: (2, grid / 2, side / 2).
    """
    place = torch.arange(side // 2, dtype=torch.float64) + 0.5
    angle = 2 * torch.pi / grid * torch.arange(grid // 2 + 1, dtype=torch.float64).unsqueeze(1) * place
    return torch.stack([angle[:-1].cos(), angle[1:].sin()]).float()


def _weighted(spectrum: Tensor, grid: tuple[int, ...], padded: int) -> Tensor:
    """For the parities of rows and columns the factors of the transforms there and back, (2, 2, rows, padded)."""
    rows, columns = (side // 2 for side in grid)
    weights: list[list[Tensor]] = []
    for side in grid:
        each = torch.full((2, side // 2), 2.0 / side, dtype=torch.float64)
        each[0, 0] = each[1, -1] = 1.0 / side
        weights.append(list(each))
    found = torch.zeros(2, 2, rows, padded)
    for a in (0, 1):
        for b in (0, 1):
            own = spectrum[a : a + rows, b : b + columns].double()
            found[a, b, :, :columns] = (weights[0][a].unsqueeze(1) * weights[1][b] * own).float()
    return found


@functools.cache
def _kernel() -> Callable[..., int] | None:
    """None where it could not be compiled."""
    try:
        found = native.load(Path(__file__).with_suffix(".cpp")).radial_steps
    except Exception as error:  # whatever it is, Fourier transforms do the same
        native.report("SPARCOM runs on torch operators, which take longer, as the kernel could not be built", error)
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.restype = ctypes.c_int32
    found.argtypes = [pointer, pointer, number, pointer, ctypes.c_int32, pointer, number, pointer, pointer, pointer]
    return found
