"""What a file of projections, and who has it, say of how they were measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.files.scan import Scan
from unrolling.operators.attenuation import WATER, from_counts
from unrolling.operators.geometry import FanBeam, ParallelBeam
from unrolling.systems.conditions import Condition
from unrolling.systems.options import Option

BEAMS = ("parallel", "fan")
UNITS = ("integrals", "counts")
ASSUMED = {"parallel": 180.0, "fan": 360.0}  # degrees that views go over where nobody says
OPTIONS = (
    Option("beam", str, "parallel or fan (from a point to a flat detector)", default="what the file says, or parallel"),
    Option(
        "angles",
        str,
        "of the views in degrees: FIRST:END, evenly and without the end, or a file with one for each (.npy, or text)",
        default="what the file says, or 0:180, for a fan 0:360",
    ),
    Option("spacing", float, "between the centres of neighbouring bins", "mm", "what the file says"),
    Option("pixel", float, "side of a pixel of the slice", "mm", "a bin's width, of a fan at the centre of rotation"),
    Option("size", int, "side of the slice", "pixels", "what all views see"),
    Option("source", float, "of a fan, from the source to the centre of rotation", "mm", "what the file says"),
    Option("detector", float, "of a fan, from the centre of rotation to the detector", "mm", "what the file says"),
    Option("shift", float, "of the detector's middle along itself", "mm", "what the file says, or 0"),
    Option(
        "units",
        str,
        "integrals (of attenuation along the ray, after the logarithm) or counts (before)",
        default="what the file says",
    ),
    Option("photons", float, "of counts, in a bin where nothing is in the way", default="what the file says"),
    Option("brightest", float, "attenuation of the densest thing in the slice", "1/mm", "found from the projections"),
    Option("hounsfield", bool, "write Hounsfield units instead of 1/mm"),
    Option("water", float, "attenuation of water, for Hounsfield units", "1/mm", f"{WATER:g}"),
    Option("slice", int, "the number of one slice, counted from 0", default="all of them"),
)


def geometry_of(scan: Scan, given: Mapping[str, Any]) -> tuple[ParallelBeam | FanBeam, list[Condition]]:
    """How a file's projections were measured, and what of it nobody said.

    In a ``.npz`` or MATLAB file, ``beam``, ``angles`` (degrees), ``pixel``, ``source``, ``detector`` and ``shift`` may
    stand beside the projections, and ``spacing``, all in mm.

    Raises:
        ValueError: the file's name with what is missing, does not fit the projections, or cannot be.
    """
    views, bins = int(scan.values.shape[-2]), int(scan.values.shape[-1])
    said: list[Condition] = []
    beam = str(given.get("beam") or _word(scan, "beam") or "parallel")
    if beam not in BEAMS:
        raise ValueError(f"{scan.path}: beam is {beam!r}; it is one of {', '.join(BEAMS)}")
    degrees = _angles(scan, given, beam, views, said)
    spacing = given.get("spacing") or (None if scan.spacing is None else scan.spacing[-1])
    if spacing is None:
        raise ValueError(f"{scan.path} does not say how far its bins are from one another: give --spacing, in mm")
    if not 0 < spacing < math.inf:
        raise ValueError(f"{scan.path}: spacing is {spacing}; bins are some mm from one another")
    shift = _number(scan, given, "shift") or 0.0
    try:
        if beam == "parallel":
            pixel = _number(scan, given, "pixel") or spacing
            size = given.get("size") or math.floor((bins * spacing - 2 * abs(shift)) / pixel * (1 + 1e-9))
            return ParallelBeam(degrees.deg2rad(), bins, size, pixel, spacing, shift), said
        source, detector = _number(scan, given, "source"), _number(scan, given, "detector")
        if source is None or detector is None:
            missing = " and ".join(f"--{n}" for n, v in (("source", source), ("detector", detector)) if v is None)
            raise ValueError(f"a fan beam has distances, and the file does not say them: give {missing}, in mm")
        magnification = (source + detector) / source
        pixel = _number(scan, given, "pixel") or spacing / magnification
        edge = max(0.0, bins * spacing / 2 - abs(shift)) / magnification
        seen = 2 * edge * source / math.hypot(source, edge)
        size = given.get("size") or math.floor(seen / pixel * (1 + 1e-9))
        return FanBeam(degrees.deg2rad(), bins, size, source, detector, pixel, spacing, shift), said
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{scan.path}: {error}") from error


def in_pixels(geometry: ParallelBeam | FanBeam) -> ParallelBeam | FanBeam:
    """A geometry with the side of a pixel as the unit of length."""
    angles, bins, image, pixel = geometry.angles, geometry.bins, geometry.image, geometry.pixel
    lengths = {"pixel": 1.0, "spacing": geometry.spacing / pixel, "shift": geometry.shift / pixel}
    if isinstance(geometry, ParallelBeam):
        return ParallelBeam(angles, bins, image, **lengths)
    return FanBeam(angles, bins, image, geometry.source / pixel, geometry.detector / pixel, **lengths)


def line_integrals(scan: Scan, number: int, given: Mapping[str, Any]) -> Tensor:
    """The projections of a slice, (1, views, bins): attenuation along the rays, without a unit.

    Raises:
        ValueError: units that nobody says; negative counts, and counts without the number of photons.
    """
    y = scan.part([number]).values
    units = given.get("units") or ("counts" if scan.units == "counts" else None)
    if units is None and ("units" in scan.more or scan.units):
        units = "integrals"
    if units is None:
        raise ValueError(
            f"{scan.path} does not say its units: give --units integrals (of attenuation in 1/mm along rays in mm, "
            "after the logarithm) or --units counts (of photons, with --photons)"
        )
    if units not in UNITS:
        raise ValueError(f"{scan.path}: units are {' or '.join(UNITS)}; got {units!r}")
    if units == "integrals":
        return y
    photons = _number(scan, given, "photons")
    if photons is None:
        raise ValueError(f"{scan.path} holds counts; give --photons, those that meet a bin where nothing is in the way")
    try:
        return from_counts(y, photons)
    except ValueError as error:
        raise ValueError(f"{scan.path}: {error}") from error


def _angles(scan: Scan, given: Mapping[str, Any], beam: str, views: int, said: list[Condition]) -> Tensor:
    text = given.get("angles")
    if text is None and "angles" in scan.more:
        found = _array(scan.more["angles"])
        where = f"angles in {scan.path}"
    elif text is None:
        said.append(Condition("views over", ASSUMED[beam], "estimated", "degrees"))
        return torch.arange(views, dtype=torch.float64) * (ASSUMED[beam] / views)
    elif ":" in text and not Path(text).exists():
        try:
            first, end = map(float, text.split(":"))
        except ValueError:
            raise ValueError(f"--angles {text}: it reads FIRST:END in degrees, such as 0:180, or is a file") from None
        if not (math.isfinite(first) and math.isfinite(end) and first != end):
            raise ValueError(f"--angles {text}: the views lie between two different angles in degrees")
        return first + torch.arange(views, dtype=torch.float64) * ((end - first) / views)
    else:
        found, where = _from_file(Path(text)), f"--angles {text}"
    if found.ndim != 1 or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise ValueError(f"{where}: one finite number for each view, in degrees, is wanted; got shape {found.shape}")
    if len(found) != views:
        raise ValueError(
            f"{where}: {len(found)} angles, and {scan.path} has {views} views of {scan.values.shape[-1]} bins"
        )
    return torch.from_numpy(found.astype(np.float64))


def _from_file(path: Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"--angles {path}: there is no such file, and it is not FIRST:END")
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False)).squeeze()
        return np.atleast_1d(np.loadtxt(path, delimiter="," if "," in path.read_text() else None).squeeze())
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"--angles {path} is no file of numbers: {error}") from error


def _array(value: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(value).squeeze())


def _word(scan: Scan, name: str) -> str:
    if name not in scan.more:
        return ""
    value = np.asarray(scan.more[name])
    return str(value.reshape(-1)[0]) if value.size == 1 and value.dtype.kind in "US" else repr(value)


def _number(scan: Scan, given: Mapping[str, Any], name: str) -> float | None:
    if given.get(name) is not None:
        return float(given[name])
    if name not in scan.more:
        return None
    value = np.asarray(scan.more[name]).reshape(-1)
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise ValueError(f"{scan.path}: {name} is one number; got {value.size} of {value.dtype}")
    return float(value[0])
