"""How networks are applied to files of projections: what all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling._progress import Bar
from unrolling.core import Iteration, unroll
from unrolling.files.scan import Scan
from unrolling.files.scans import READS, SUFFIXES, check_scan_output, read_scan, write_scan
from unrolling.operators import FilteredBackProjection
from unrolling.operators.attenuation import WATER, to_hounsfield
from unrolling.operators.geometry import FanBeam, ParallelBeam
from unrolling.systems.base import Application, Tying
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.medical._projections import OPTIONS, geometry_of, in_pixels, line_integrals
from unrolling.systems.medical._simulated import SIMULATE, difference, is_series, projections
from unrolling.tasks.medical.tomography import Tomography

BRIGHT = 0.998  # quantile of the smoothed back-projection that becomes 1
ROOM = 700e6  # bytes for both matrices; larger ones are computed anew for each product
EFFECT = "python -m benchmarks.tomography --part views prints what was measured at other numbers of views and doses"


def ranges(task: Tomography) -> dict[str, Any]:
    """What weights that were trained on a task are good for."""
    low, high = (0.02, 0.08) if task.photons else (0.6 * task.noise, 1.4 * task.noise)
    return {
        "views": Range(round(0.8 * task.views), round(1.25 * task.views)),
        "noise": Range(round(100 * low, 2), round(100 * high, 2)),
        "size": Range(task.size // 2, 2 * task.size),
        "beam": (task.beam,),
        "angles": ("even",),
    }


def application(parent: Callable[[Any], Iteration], tying: Tying) -> Application:
    """Of sinograms in files.

    A sinogram is divided by the width of a pixel and by the brightest value of its smoothed filtered back-projection,
    which makes it one of a slice from 0 to 1 on pixels of 1 mm, as networks were trained on. The slice then is in 1/mm,
    or in Hounsfield units. Of another geometry than the weights', the network is built again around it: what it
    learned does not depend on angles and bins.

    Args:
        parent: the iteration with its classical values, from the task; takes all that depends on a geometry from the
            task's ``radon`` and ``fbp``.
        tying: what is learned.
    """

    def run(network: Any, task: Tomography, scan: Scan, outputs: Sequence[Path], **given: Any) -> Mapping[str, Any]:
        given |= scan.more.get("simulated", {})
        geometry, said = geometry_of(scan, given)
        unit = in_pixels(geometry)
        held = network
        if unit != task.geometry:
            own = Tomography(geometry=unit, noise=task.noise, photons=task.photons)
            wanted = own.radon.expected_memory
            own.radon.stored = True if wanted < ROOM else "one" if wanted < 2 * ROOM else False
            own.fbp.stored = wanted < 2 * ROOM  # its adjoint, and so a second matrix, is not needed
            held = unroll(parent(own), len(network.layers), tied=tying.tied, untied=tying.untied)
            held.load_learned(network.learned())  # and no more: step sizes are those of this geometry
            held.eval()
        numbers = range(scan.count) if given.get("slice") is None else [given["slice"]]
        if numbers and not 0 <= numbers[0] < scan.count:
            raise ValueError(f"{scan.path} has no slice {numbers[0]}; it has {scan.count}, counted from 0")
        smooth = FilteredBackProjection(unit, "hann", stored=False)
        slices, levels, peaks = [], [], []
        with torch.no_grad(), Bar.inside("slices", len(numbers)) as bar:
            for number in numbers:
                y = line_integrals(scan, number, given) / geometry.pixel
                levels.append(noise_level(y[0]))
                peaks.append(float(given.get("brightest") or 0) or _brightest(smooth(y), scan.path))
                slices.append(held(y / peaks[-1])[0] * peaks[-1])
                bar.advance()
        volume = torch.stack(slices)
        units = "1/mm"
        if given.get("hounsfield"):
            volume, units = to_hounsfield(volume, given.get("water", WATER)), "HU"
        like = Scan(volume, "image", spacing=(1.0, geometry.pixel, geometry.pixel), path=scan.path, count=len(volume))
        like = replace(like, numbers=tuple(range(len(volume))))
        if image := scan.more.get("image"):
            like = replace(image, numbers=tuple(numbers))
            off = difference(image, numbers, volume, units, given)
            said.append(Condition("difference from the slices", round(off, 6), "read", units))
        like = replace(like, units=units)
        written = {}
        for path in outputs:
            files = write_scan(path, volume[0] if len(volume) == 1 else volume, like)
            if files != [path]:
                written[str(path)] = list(map(str, files))
        middle = len(volume) // 2
        return {
            "height": int(volume.shape[-2]),
            "width": int(volume.shape[-1]),
            **({"slices": len(volume)} if len(volume) > 1 else {}),
            "views": geometry.views,
            "bins": geometry.bins,
            "pixel": geometry.pixel,
            "units": units,
            "brightest": peaks[middle],
            **({"files": written} if written else {}),
            "conditions": [*said, *_conditions(unit, levels[middle])],
        }

    return Application(
        f"a sinogram (views, bins), or several: {READS.split(': ', 1)[1]}",
        ("the slice", *["another form of it"] * 2),
        _read,
        run,
        suffixes=SUFFIXES,
        default_suffixes=("-slice.png", "-slice.nii", "-slice.npy"),
        least=1,
        options=(*OPTIONS, SIMULATE),
        check=check_scan_output,
        whole=is_series,
    )


def _read(path: Path, options: Mapping[str, Any]) -> Scan:
    if options.get("simulate") is not None:
        return projections(path, options)
    try:
        return read_scan(path, "sinogram", slices=())
    except ValueError as error:
        if "holds an image" not in str(error):
            raise
        raise ValueError(f"{error}; --simulate VIEWS projects slices") from error


def _brightest(slices: Tensor, path: Path | None) -> float:
    found = float(slices.flatten().quantile(BRIGHT)) if slices.numel() < 2**24 else float(slices.max())
    if not found > 0:
        raise ValueError(f"{path} holds projections of nothing: their filtered back-projection is nowhere above 0")
    return found


def noise_level(sinogram: Tensor) -> float:
    """Standard deviation of white noise in parts of the mean of |y|, from fourth differences along the bins: the lower
    quarter of their sizes, which are those away from edges.

    Args:
        sinogram: y, (views, bins).
    """
    mean = float(sinogram.abs().mean())
    if sinogram.shape[-1] < 5 or mean == 0:
        return 0.0
    fourth = sinogram.diff(n=4, dim=-1).abs().flatten()
    # of a normal distribution a quarter lies within 0.3186 standard deviations; 1, 4, 6, 4, 1 squared sum to 70
    return float(fourth.kthvalue(max(1, len(fourth) // 4)).values) / 0.3186 / math.sqrt(70) / mean


def _conditions(geometry: ParallelBeam | FanBeam, level: float) -> list[Condition]:
    return [
        Condition("views", geometry.views, "read", effect=EFFECT),
        Condition("noise", round(100 * level, 2), "estimated", "% of the mean", effect=EFFECT),
        Condition("size", max(geometry.image), "read", "pixels"),
        Condition("beam", "parallel" if isinstance(geometry, ParallelBeam) else "fan", "read"),
        Condition("angles", _evenness(geometry), "read", effect="what no view saw is a guess"),
    ]


def _evenness(geometry: ParallelBeam | FanBeam) -> str:
    """``even``, ``uneven``, or how many degrees in a row are missing."""
    whole = math.pi if isinstance(geometry, ParallelBeam) else 2 * math.pi
    angles = torch.tensor(geometry.angles, dtype=torch.float64).remainder(whole).sort().values
    gaps = torch.cat([angles[1:], angles[:1] + whole]) - angles
    step = whole / len(angles)
    largest = float(gaps.max())
    if largest > max(3 * step, math.radians(15)):
        return f"{math.degrees(largest):.0f} degrees missing"
    # each twice, as over a full circle of parallel views, is even too
    return "even" if bool(((gaps - gaps.max()).abs() < 0.05 * step).logical_or(gaps < 1e-6).all()) else "uneven"
