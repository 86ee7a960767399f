"""Where DICOM images lie in the patient, and what their values are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Slice:
    """A file of a series: what has to be known before its pixels are read."""

    path: Path
    series: str
    description: str
    shape: tuple[int, int]
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    number: float | None

    def along(self) -> float | None:
        """mm along the normal of the slices; None where the file does not say."""
        if self.orientation is None or self.position is None:
            return None
        return float(np.cross(self.orientation[:3], self.orientation[3:]) @ np.array(self.position))


def floats(data: Any, name: str, count: int) -> tuple[float, ...] | None:
    value = data.get(name)
    if value is None or value == "" or not hasattr(value, "__len__") or len(value) != count:
        return None
    numbers = tuple(float(each) for each in value)
    return numbers if all(map(math.isfinite, numbers)) else None


def common(data: Any) -> dict[str, Any]:
    """Modality, units, window and notes."""
    modality, kind = str(data.get("Modality", "")), str(data.get("RescaleType", "") or "")
    units = "HU" if kind in ("HU", "HU_MOD") or (modality == "CT" and not kind) else ""
    facts: dict[str, Any] = {"modality": modality, "units": units, "more": {}}
    centre, width = (_first(data.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 0:
        facts["window"] = (centre, width)
    return facts


def _first(value: Any) -> float | None:
    """The first of several numbers, or the one; None where there is none that is finite."""
    try:
        held = value if isinstance(value, (str, float, int)) or value is None else next(iter(value))
    except (TypeError, StopIteration):
        held = value
    try:
        number = float(held)  # pyright: ignore
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def affine(
    orientation: Sequence[float], position: Sequence[float], spacing: tuple[float, ...], step: np.ndarray
) -> np.ndarray:
    """From (column, row, slice) to mm (right, anterior, superior), of directions to the (left, posterior, superior)."""
    columns = np.stack([np.array(orientation[:3]) * spacing[2], np.array(orientation[3:]) * spacing[1], step], 1)
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = columns, position
    return np.diag([-1.0, -1, 1, 1]) @ made


def placed(slices: Sequence[Slice], data: Any) -> dict[str, Any]:
    """Spacing and affine of slices that are in order."""
    inside = floats(data, "PixelSpacing", 2) or floats(data, "ImagerPixelSpacing", 2)
    if inside is None or min(inside) <= 0:
        return {}
    first, last, count = slices[0], slices[-1], len(slices)
    steps = (first.along(), last.along())
    thick = data.get("SpacingBetweenSlices") or data.get("SliceThickness")
    apart = abs(_first(thick) or 0.0) or 1.0
    if count > 1 and steps[0] is not None and steps[1] is not None:
        apart = (steps[1] - steps[0]) / (count - 1)
    facts: dict[str, Any] = {"spacing": (apart, *inside)}
    if first.orientation is not None and first.position is not None and last.position is not None:
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        if abs(np.linalg.norm(normal) - 1) > 1e-2:
            return facts
        step = normal * apart
        if count > 1:
            step = (np.array(last.position) - np.array(first.position)) / (count - 1)
        facts["affine"] = affine(first.orientation, first.position, facts["spacing"], step)
    return facts


def placed_frames(data: Any, frames: int) -> dict[str, Any]:
    """Spacing and affine of the frames of one file, where their positions are in order."""
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    each = data.get("PerFrameFunctionalGroupsSequence") or []

    def found(number: int, group: str) -> Any:
        for holder in (each[number] if number < len(each) else None, shared):
            sequence = None if holder is None else holder.get(group)
            if sequence:
                return sequence[0]
        return None

    measures = found(0, "PixelMeasuresSequence") or data
    plane = found(0, "PlaneOrientationSequence") or data
    inside = floats(measures, "PixelSpacing", 2)
    if inside is None or min(inside) <= 0:
        return {}
    orientation = floats(plane, "ImageOrientationPatient", 6)
    first, last = (found(k, "PlanePositionSequence") or data for k in (0, frames - 1))
    begin, end = (floats(place, "ImagePositionPatient", 3) for place in (first, last))
    offsets = floats(data, "GridFrameOffsetVector", frames)
    step = None
    if orientation is not None and begin is not None and end is not None:
        normal = np.cross(orientation[:3], orientation[3:])
        if offsets is not None:
            step = normal * (offsets[-1] - offsets[0]) / (frames - 1)
        elif begin != end:
            step = (np.array(end) - np.array(begin)) / (frames - 1)
    thick = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 1.0
    apart = float(np.linalg.norm(step)) if step is not None else abs(_first(thick) or 0.0)
    if not (math.isfinite(apart) and apart > 0):
        return {"spacing": (1.0, *inside)}
    facts: dict[str, Any] = {"spacing": (apart, *inside)}
    if step is not None and orientation is not None and begin is not None:
        facts["affine"] = affine(orientation, begin, facts["spacing"], step)
    return facts
