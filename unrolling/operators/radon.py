"""The Radon transform of a slice, its adjoint, and filtered back-projection."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from unrolling.core.arguments import check_numbers
from unrolling.operators._graphs import constant_in_graphs
from unrolling.operators.geometry import FanBeam, Geometry, ParallelBeam, Rays, bin_positions
from unrolling.operators.linear import LinearOperator
from unrolling.operators.sparse import Rows, SparseMatrix, Stored

Window = Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"]
WINDOWS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
LEAST = 1e-12  # of an interpolation weight that is kept
BLOCK = 500_000  # entries of a back-projection that are computed at a time


class Radon(LinearOperator):
    """y = A x, the integrals of a slice along the rays of a geometry: (batch, height, width) -> (batch, views, bins).

    A ray that is steeper than 45 degrees takes from each row the linear interpolation of its two pixels next to the
    ray, times the length of the ray within the row, any other from each column: Joseph 1982,
    doi:10.1109/TMI.1982.4307572. A and A^T are kept as compressed rows (``sparse.SparseMatrix``), one pair for each
    geometry and precision in the process, made at the first product: see ``expected_memory`` and ``memory``. Sinograms
    are in the slice's unit times mm.

    Args:
        geometry: ``ParallelBeam`` or ``FanBeam``.
        stored: True for A and A^T, ``one`` for A alone, of half the memory, with which the adjoint takes ten times as
            long; False for neither, so that products compute A a view at a time: a hundred times as long, in little
            memory.

    Raises:
        TypeError: no geometry; complex images.
    """

    leading = True
    multiplies = True

    def __init__(self, geometry: ParallelBeam | FanBeam, stored: Stored = True) -> None:
        _check_stored(stored)
        _check_geometry(geometry)
        super().__init__(geometry.image, geometry.shape)
        self.geometry = geometry
        self.stored: Stored = stored
        shape = (geometry.views * geometry.bins, math.prod(geometry.image))
        self._matrix = SparseMatrix.of(
            ("radon", geometry), shape, partial(_joseph, geometry), self.expected_memory // 15
        )

    @property
    def memory(self) -> int:
        """Of the matrices that have been made so far, in bytes."""
        return self._matrix.memory

    @property
    def expected_memory(self) -> int:
        """Of both matrices in single precision, before they are made, within about a tenth."""
        geometry = self.geometry
        width = geometry.spacing if isinstance(geometry, ParallelBeam) else geometry.spacing / geometry.magnification
        return round(16 * 1.8 * math.prod(geometry.image) * geometry.views * geometry.pixel / width)

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch views bins"]:
        """A x, the sinogram."""
        _check_real(x, "x", self)
        return self._matrix.multiply(x.flatten(-2), stored=self.stored).unflatten(-1, self.output_shape)

    def adjoint(self, y: Float[Tensor, "batch views bins"]) -> Float[Tensor, "batch height width"]:
        """A^T y, the unfiltered back-projection."""
        _check_real(y, "y", self)
        return self._matrix.multiply(y.flatten(-2), True, self.stored).unflatten(-1, self.input_shape)

    def extra_repr(self) -> str:
        return f"{type(self.geometry).__name__}, {self.geometry.views} views of {self.geometry.bins} bins"


class FilteredBackProjection(LinearOperator):
    """x = B W y, (batch, views, bins) -> (batch, height, width): the inverse of the Radon transform where views are
    many, an operator and a layer.

    W weighs the rays of a fan by R / sqrt(R^2 + s^2), s on the detector moved to the centre, and convolves each view
    with the ramp filter of the bins' spacing, of which a window damps the high frequencies; rows are as good as padded
    with zeros without end, as the convolution is summed. B interpolates each pixel's shadow between two bins and sums
    over the views with the angle that each stands for, and for fans (R / U)^2, U from the source to the pixel along the
    central ray: Kak and Slaney 1988, chapter 3, doi:10.1137/1.9780898719277. ``adjoint`` is that of this operator.

    Args:
        geometry: ``ParallelBeam`` or ``FanBeam``.
        window: ``ramp`` for none, ``shepp-logan``, ``cosine``, ``hamming``, ``hann``.
        stored: as for ``Radon``.

    Raises:
        TypeError: no geometry.
        ValueError: an unknown window; a fan whose views leave a part of the circle out, which would count some rays
            twice and others once.
    """

    leading = True
    multiplies = True

    def __init__(self, geometry: ParallelBeam | FanBeam, window: Window = "ramp", stored: Stored = True) -> None:
        _check_stored(stored)
        _check_geometry(geometry)
        if window not in WINDOWS:
            raise ValueError(f"window is {window!r}; it is one of {', '.join(WINDOWS)}")
        super().__init__(geometry.shape, geometry.image)
        self.geometry, self.window = geometry, window
        self.stored: Stored = stored
        weights = angle_weights(geometry)
        shape = (math.prod(geometry.image), geometry.views * geometry.bins)
        self._matrix = SparseMatrix.of(
            ("back-projection", geometry),
            shape,
            partial(_interpolated, geometry, weights),
            2 * math.prod(shape) // geometry.bins,
        )

    @property
    def memory(self) -> int:
        """Of the matrices that have been made so far, in bytes."""
        return self._matrix.memory

    def filter_matrix(self, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "bins bins"]:
        """W^T of one view: ``y @ matrix`` weighs and filters it."""
        return _filter(self.geometry, self.window, dtype, device)

    def forward(self, x: Float[Tensor, "batch views bins"]) -> Float[Tensor, "batch height width"]:
        """The slice, from a sinogram x."""
        _check_real(x, "x", self)
        filtered = _exact_product(x, self.filter_matrix(x.dtype, x.device)).flatten(-2)
        return self._matrix.multiply(filtered, stored=self.stored).unflatten(-1, self.output_shape)

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch views bins"]:
        """W^T B^T y."""
        _check_real(y, "y", self)
        rows = self._matrix.multiply(y.flatten(-2), True, self.stored).unflatten(-1, self.input_shape)
        return _exact_product(rows, self.filter_matrix(y.dtype, y.device).T)

    def extra_repr(self) -> str:
        return f"{type(self.geometry).__name__}, window={self.window!r}"


def _exact_product(rows: Tensor, matrix: Tensor) -> Tensor:
    """rows @ matrix, under autocast too, where single precision would become half: a ramp filter is a difference of
    large numbers.
    """
    if not torch.is_autocast_enabled(rows.device.type):
        return rows @ matrix
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ matrix


def angle_weights(geometry: ParallelBeam | FanBeam) -> Float[Tensor, " views"]:
    """The angle that each view stands for, float64, radians: half of the way to either neighbour, where the views lie
    evenly pi / views for parallel beams and 2 pi / views, halved since each ray comes twice, for fans.

    A gap of more than 15 degrees and five times the usual one is where no view was taken: views at its ends count as
    the others do.

    Raises:
        ValueError: a fan with such a gap.
    """
    whole = math.pi if isinstance(geometry, ParallelBeam) else 2 * math.pi
    angles = torch.tensor(geometry.angles, dtype=torch.float64) % whole
    order = angles.argsort()
    gaps = (angles[order].roll(-1) - angles[order]) % whole
    if len(angles) == 1:
        gaps = torch.tensor([whole], dtype=torch.float64)
    steps = gaps[gaps > 1e-9]
    usual = float(steps.median()) if len(steps) else whole
    missing = gaps > max(5 * usual, math.radians(15))
    if isinstance(geometry, FanBeam) and bool(missing.any()):
        raise ValueError(
            f"angles leave {math.degrees(float(gaps.max())):.0f} degrees of the circle out: the filtered "
            "back-projection of a fan beam takes a full circle of views; take SIRT or total variation for less"
        )
    gaps = torch.where(missing, usual, gaps)
    weights = torch.empty_like(gaps)
    weights[order] = (gaps + gaps.roll(1)) / 2
    return weights if isinstance(geometry, ParallelBeam) else weights / 2


def _joseph(geometry: ParallelBeam | FanBeam) -> Iterator[Rows]:
    """The rows of A, a view at a time."""
    height, width = geometry.image
    for view in range(geometry.views):
        rays = geometry.rays(view)
        down = rays._replace(y=-rays.y, along_y=-rays.along_y)  # rows count downwards
        steep = down.along_y.abs() >= down.along_x.abs()
        turned = Rays(down.y, down.x, down.along_y, down.along_x)
        found = [
            _taps(torch.nonzero(steep)[:, 0], turned, height, width, geometry.pixel),
            _taps(torch.nonzero(~steep)[:, 0], down, width, height, geometry.pixel),
        ]
        ray = torch.cat([part[0] for part in found])
        pixels = [found[0][1] * width + found[0][2], found[1][2] * width + found[1][1]]
        key, order = torch.sort(ray * (height * width) + torch.cat(pixels))
        values = torch.cat([part[3] for part in found])[order]
        yield Rows(torch.bincount(ray, minlength=geometry.bins), key % (height * width), values)


def _taps(which: Tensor, rays: Rays, lines: int, across: int, pixel: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where rays that run along x cross the middles of ``lines`` columns: ray, column, row of one of the two pixels,
    weight.
    """
    x, y, along_x, along_y = (part[which].unsqueeze(1) for part in rays)
    middles = (torch.arange(lines, dtype=torch.float64) - (lines - 1) / 2) * pixel
    place = (y + (middles - x) * (along_y / along_x)) / pixel + (across - 1) / 2
    low = place.floor()
    share = place - low
    low = torch.stack([low, low + 1], -1).long()
    weight = torch.stack([1 - share, share], -1)
    kept = torch.nonzero((low >= 0) & (low < across) & (weight > LEAST), as_tuple=True)
    values = weight[kept] * (pixel / along_x.abs()).squeeze(1)[kept[0]]
    return which[kept[0]], kept[1], low[kept], values


def _interpolated(geometry: ParallelBeam | FanBeam, weights: Tensor) -> Iterator[Rows]:
    """The rows of B, some rows of pixels at a time."""
    height, width = geometry.image
    theta = torch.tensor(geometry.angles, dtype=torch.float64)
    cos, sin = theta.cos(), theta.sin()
    first = float(bin_positions(geometry.bins, geometry.spacing, geometry.shift)[0])
    x = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2) * geometry.pixel
    step = max(1, BLOCK // (2 * width * geometry.views))
    offsets = torch.arange(geometry.views).unsqueeze(1) * geometry.bins
    for row in range(0, height, step):
        rows = torch.arange(row, min(row + step, height), dtype=torch.float64)
        y = ((height - 1) / 2 - rows).reshape(-1, 1, 1) * geometry.pixel
        across = x.reshape(-1, 1) * cos + y * sin  # (rows, columns, views)
        scale = weights.expand_as(across)
        if isinstance(geometry, FanBeam):
            depth = (geometry.source - x.reshape(-1, 1) * sin + y * cos) / geometry.source
            across, scale = across * geometry.magnification / depth, scale / depth.square()
        place = (across - first) / geometry.spacing
        low = place.floor()
        share = place - low
        taps = torch.stack([low, low + 1], -1).long()
        value = torch.stack([1 - share, share], -1)
        kept = (taps >= 0) & (taps < geometry.bins) & (value > LEAST)
        columns = (taps + offsets)[kept]
        yield Rows(kept.flatten(2).sum(-1).flatten(), columns, (value * scale.unsqueeze(-1))[kept])


@constant_in_graphs
@functools.lru_cache(maxsize=16)
def _filter(geometry: ParallelBeam | FanBeam, window: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    with _disable_current_modes(), torch.no_grad():  # numbers, whoever is tracing
        return _ramp(geometry, window).to(device, dtype)


def _ramp(geometry: ParallelBeam | FanBeam, window: str) -> Tensor:
    """(bins, bins), float64: weighs and filters a row from the right."""
    spacing, weights = geometry.spacing, torch.ones(geometry.bins, dtype=torch.float64)
    if isinstance(geometry, FanBeam):
        s = bin_positions(geometry.bins, geometry.spacing, geometry.shift) / geometry.magnification
        weights = geometry.source / torch.sqrt(geometry.source**2 + s.square())
        spacing = spacing / geometry.magnification
    n = torch.arange(geometry.bins, dtype=torch.float64)
    kernel = torch.where(n % 2 == 1, -1 / (math.pi * n.clamp_min(1)).square(), 0.0)
    kernel[0] = 0.25
    if window != "ramp":
        length = 2 ** math.ceil(math.log2(8 * geometry.bins))
        n = torch.arange(length // 2 + 1, dtype=torch.float64)
        half = torch.where(n % 2 == 1, -1 / (math.pi * n.clamp_min(1)).square(), 0.0)
        half[0] = 0.25
        response = torch.fft.rfft(torch.cat([half, half[1:-1].flip(0)])).real
        kernel = torch.fft.irfft(response * _window(n / length, window), length)[: geometry.bins]
    lags = (torch.arange(geometry.bins).unsqueeze(0) - torch.arange(geometry.bins).unsqueeze(1)).abs()
    return weights.unsqueeze(1) * kernel[lags] / spacing


def _window(frequency: Tensor, window: str) -> Tensor:
    """At frequencies from 0 to 0.5 cycles a bin."""
    if window == "shepp-logan":
        return torch.sinc(frequency)
    if window == "cosine":
        return torch.cos(math.pi * frequency)
    share = 0.54 if window == "hamming" else 0.5
    return share + (1 - share) * torch.cos(2 * math.pi * frequency)


def _check_stored(stored: object) -> None:
    if stored is not True and stored is not False and stored != "one":
        raise ValueError(f"stored is {stored!r}; it is True, False or 'one'")


def _check_geometry(geometry: Geometry) -> None:
    if not isinstance(geometry, (ParallelBeam, FanBeam)):
        raise TypeError(f"geometry is {geometry!r}; it is a ParallelBeam or a FanBeam")


def _check_real(value: Tensor, name: str, owner: LinearOperator) -> None:
    if not value.is_floating_point():
        check_numbers(value, name, type(owner).__name__, real=True)
