"""How the projections of a slice were measured, with lengths in mm and angles in radians: parallel beams, and fan beams
on a flat detector.

Coordinates: the slice's centre is the centre of rotation; x grows with the column and y against the row, so that y
points up in a picture. At angle theta the detector's bins grow along u = (cos theta, sin theta), and rays run along
v = (-sin theta, cos theta), as in ASTRA; scikit-image has the same angles, in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core.arguments import check_count, check_range
from unrolling.core.refusals import kind_of


class Rays(NamedTuple):
    """The rays of one view, as points and unit directions, (bins,) each."""

    x: Tensor
    y: Tensor
    along_x: Tensor
    along_y: Tensor


@dataclass(frozen=True)
class Geometry:
    """What parallel and fan beams share.

    Attributes:
        angles: theta of each view, radians.
        bins: of the detector.
        image: (height, width) of the slice, pixels.
    """

    angles: tuple[float, ...]
    bins: int
    image: tuple[int, int]

    @property
    def views(self) -> int:
        return len(self.angles)

    @property
    def shape(self) -> tuple[int, int]:
        """(views, bins) of a sinogram."""
        return len(self.angles), self.bins


def bin_positions(bins: int, spacing: float, shift: float) -> Tensor:
    """(bins,) centres of a detector's bins along it, mm, float64."""
    return (torch.arange(bins, dtype=torch.float64) - (bins - 1) / 2) * spacing + shift


@dataclass(frozen=True)
class ParallelBeam(Geometry):
    """Parallel rays x cos theta + y sin theta = s.

    Args:
        angles: theta of each view, radians; any, in any order.
        bins: of the detector.
        image: side of the slice in pixels, or (height, width).
        pixel: side of a pixel, mm.
        spacing: between the centres of neighbouring bins, mm; by default the pixel's.
        shift: of the detector's middle along itself, mm.

    Raises:
        TypeError, ValueError: by name; degrees in the place of radians, and a detector that is shorter than the slice.
    """

    angles: tuple[float, ...]
    bins: int
    image: tuple[int, int]
    pixel: float = 1.0
    spacing: float = 0.0
    shift: float = 0.0

    def __init__(
        self,
        angles: Tensor | Iterable[float],
        bins: int,
        image: int | tuple[int, int],
        pixel: float = 1.0,
        spacing: float | None = None,
        shift: float = 0.0,
    ) -> None:
        spacing = pixel if spacing is None else spacing
        _keep(self, angles, bins, image, pixel=pixel, spacing=spacing, shift=shift)
        _check_field(self.field_of_view, self)

    @classmethod
    def even(cls, views: int, size: int, pixel: float = 1.0) -> ParallelBeam:
        """Views evenly over 180 degrees of a slice of size x size pixels, with bins of the pixel's width across its
        diagonal.
        """
        check_count(views, "views")
        check_count(size, "size")
        return cls([math.pi * view / views for view in range(views)], 2 * math.ceil(size / 2**0.5) + 1, size, pixel)

    def at(self, angles: Tensor | Iterable[float]) -> ParallelBeam:
        """The same with other views.

        Args:
            angles: radians.
        """
        return ParallelBeam(angles, self.bins, self.image, self.pixel, self.spacing, self.shift)

    @property
    def field_of_view(self) -> float:
        """Diameter of the disc around the centre that every view sees whole, mm."""
        return self.bins * self.spacing - 2 * abs(self.shift)

    def rays(self, view: int) -> Rays:
        """The rays of a view."""
        s = bin_positions(self.bins, self.spacing, self.shift)
        cos, sin = math.cos(self.angles[view]), math.sin(self.angles[view])
        return Rays(s * cos, s * sin, torch.full_like(s, -sin), torch.full_like(s, cos))


@dataclass(frozen=True)
class FanBeam(Geometry):
    """Rays from a point to the bins of a flat detector: the source stands at -R v, the detector's middle at D v.

    Args:
        angles: theta of each view, radians; any, in any order.
        bins: of the detector.
        image: side of the slice in pixels, or (height, width).
        source: R, from the source to the centre of rotation, mm.
        detector: D, from there to the detector, mm.
        pixel: side of a pixel, mm.
        spacing: between the centres of neighbouring bins on the detector, mm; by default the pixel's, magnified by
            (R + D) / R.
        shift: of the detector's middle along itself, mm.

    Raises:
        TypeError, ValueError: by name; degrees in the place of radians, a source within the slice, and a detector that
            is shorter than the slice's shadow.
    """

    angles: tuple[float, ...]
    bins: int
    image: tuple[int, int]
    source: float = 0.0
    detector: float = 0.0
    pixel: float = 1.0
    spacing: float = 0.0
    shift: float = 0.0

    def __init__(
        self,
        angles: Tensor | Iterable[float],
        bins: int,
        image: int | tuple[int, int],
        source: float,
        detector: float,
        pixel: float = 1.0,
        spacing: float | None = None,
        shift: float = 0.0,
    ) -> None:
        check_range(source, "source", 0.0, math.inf, above=True, below=True)
        check_range(detector, "detector", 0.0, math.inf, below=True)
        check_range(pixel, "pixel", 0.0, math.inf, above=True, below=True)
        spacing = pixel * (source + detector) / source if spacing is None else spacing
        _keep(self, angles, bins, image, source=source, detector=detector, pixel=pixel, spacing=spacing, shift=shift)
        half = math.hypot(*self.image) / 2 * self.pixel
        if self.source <= half:
            raise ValueError(
                f"source is {self.source:g} mm from the centre of rotation, which is within the slice: half of its "
                f"diagonal is {half:g} mm"
            )
        _check_field(self.field_of_view, self)

    @classmethod
    def even(
        cls, views: int, size: int, source: float | None = None, detector: float | None = None, pixel: float = 1.0
    ) -> FanBeam:
        """Views evenly over 360 degrees of a slice of size x size pixels, with bins across the shadow of its diagonal,
        each as wide as the shadow of a pixel in the middle.

        Args:
            views: how many.
            size: of the slice.
            source: R, mm; by default three times the side of the slice.
            detector: D, mm; by default as far as the source.
            pixel: mm.
        """
        check_count(views, "views")
        check_count(size, "size")
        source = 3.0 * size * pixel if source is None else source
        detector = source if detector is None else detector
        half = size * pixel / 2**0.5
        if not source > half:
            raise ValueError(f"source is {source:g} mm from the centre, which is within the slice; take above {half:g}")
        # of half the shadow in bins: tan(asin(half / R)) R / pixel
        bins = 2 * math.ceil(half * source / math.sqrt(source**2 - half**2) / pixel) + 1
        return cls([2 * math.pi * view / views for view in range(views)], bins, size, source, detector, pixel)

    def at(self, angles: Tensor | Iterable[float]) -> FanBeam:
        """The same with other views.

        Args:
            angles: radians.
        """
        return FanBeam(angles, self.bins, self.image, self.source, self.detector, self.pixel, self.spacing, self.shift)

    @property
    def magnification(self) -> float:
        """(R + D) / R."""
        return (self.source + self.detector) / self.source

    @property
    def field_of_view(self) -> float:
        """Diameter of the disc around the centre that every view sees whole, mm."""
        edge = (self.bins * self.spacing / 2 - abs(self.shift)) / self.magnification
        return 2 * edge * self.source / math.hypot(self.source, edge) if edge > 0 else 0.0

    def rays(self, view: int) -> Rays:
        """The rays of a view."""
        t = bin_positions(self.bins, self.spacing, self.shift)
        cos, sin = math.cos(self.angles[view]), math.sin(self.angles[view])
        start = torch.tensor([self.source * sin, -self.source * cos], dtype=torch.float64)
        along_x = t * cos - (self.source + self.detector) * sin
        along_y = t * sin + (self.source + self.detector) * cos
        length = torch.hypot(along_x, along_y)
        return Rays(start[0].expand_as(t), start[1].expand_as(t), along_x / length, along_y / length)


def _keep(
    geometry: Geometry, angles: Any, bins: Any, image: Any, *, shift: float, detector: float = 0.0, **lengths: float
) -> None:
    check_count(bins, "bins")
    sides = (image, image) if isinstance(image, int) else image
    if not isinstance(sides, (tuple, list, torch.Size)) or len(sides) != 2:
        raise TypeError(f"image is {image!r}; it is the side of the slice in pixels, or (height, width)")
    for side in sides:
        check_count(side, "image")
    for name, length in lengths.items():
        check_range(length, name, 0.0, math.inf, above=True, below=True)
    check_range(shift, "shift", -math.inf, math.inf, above=True, below=True)
    held = {"angles": _angles(angles), "bins": int(bins), "image": (int(sides[0]), int(sides[1])), "shift": shift}
    if isinstance(geometry, FanBeam):
        lengths["detector"] = detector
    for name, value in {**held, **lengths}.items():
        object.__setattr__(geometry, name, float(value) if name in (*lengths, "shift") else value)


def _angles(angles: Any) -> tuple[float, ...]:
    if isinstance(angles, (str, float, int)):
        raise TypeError(f"angles is {kind_of(angles)}; give one angle for each view, in radians")
    if getattr(angles, "ndim", 1) != 1:
        raise ValueError(f"angles has shape {tuple(angles.shape)}; give one angle for each view, in radians")
    held = tuple(float(angle) for angle in angles)  # once: it may be a generator
    if not held:
        raise ValueError("angles has shape (0,); give one angle for each view, in radians")
    if not all(map(math.isfinite, held)):
        raise ValueError("angles holds NaN or infinity")
    if max(map(abs, held)) > 4 * math.pi + 1e-6:
        raise ValueError(f"angles reach {max(held, key=abs):g}: they are in radians; give torch.deg2rad(angles)")
    return held


def _check_field(seen: float, geometry: Any) -> None:
    needed = min(geometry.image) * geometry.pixel
    if seen < needed * (1 - 1e-9):
        raise ValueError(
            f"bins: the detector, {geometry.bins} bins of {geometry.spacing:g} mm, sees a disc of {max(seen, 0.0):g} "
            f"mm and is shorter than the slice, which is {needed:g} mm wide: give more bins, a larger spacing or fewer "
            "pixels"
        )
