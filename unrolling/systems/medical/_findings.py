"""How the detection of nodules is applied to measured sinograms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.core import Iteration, Unrolled, unroll
from unrolling.files import pictures
from unrolling.files.scan import Scan
from unrolling.files.scans import READS, SUFFIXES, read_scan
from unrolling.files.whole import check_place, write_bytes
from unrolling.systems.base import Application, Tying
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.medical._projections import line_integrals
from unrolling.systems.options import Option
from unrolling.tasks.medical.findings import peaks
from unrolling.tasks.medical.nodules import ATTENUATION, Nodules, circles

MOST = 13  # findings of a slice
RADIUS, ENLARGED = 3.0, 4  # pixels of the slice, of circles; times, of the picture
# Of the shipped weights: one false positive per image on the validation set (python -m benchmarks.nodules).
PROBABILITY = 0.27
LARGEST = 30.0  # integral that a detector behind a body may have measured; exp(-30) of the photons pass
OPTIONS = (
    Option("threshold", float, "the least probability of a finding, above 0 and below 1", default=f"{PROBABILITY:g}"),
    Option(
        "units",
        str,
        "integrals (of attenuation along the ray, after the logarithm) or counts (before)",
        default="what the file says, or integrals",
    ),
    Option("photons", float, "of counts, in a bin where nothing is in the way", default="what the file says"),
    Option("slice", int, "the number of the slice, counted from 0", default="0"),
)
SIMULATED = "the weights know simulated thoraxes only, and no patient's"
SET = "the threshold was set for other sinograms"
RANGE = {"views": (30,), "noise": Range(2.0, 4.0), "largest integral": Range(3.0, 9.0)}


class Finding(NamedTuple):
    """One finding; positions in mm from the middle of the slice, x to the right, y upwards."""

    probability: float
    x_mm: float
    y_mm: float
    row: int
    column: int


def _read(path: Path, options: Mapping[str, Any]) -> Scan:
    return read_scan(path, "sinogram", slices=())


def _integrals(scan: Scan, given: Mapping[str, Any]) -> tuple[Tensor, int]:
    """(1, views, bins) attenuation along rays, and the number of the slice.

    Raises:
        ValueError: by the file's name: no such slice, another detector, and what can be no attenuation.
    """
    number = given.get("slice") or 0
    if not 0 <= number < scan.count:
        raise ValueError(f"{scan.path} has no slice {number}; it has {scan.count}, counted from 0")
    known = scan.units or "units" in scan.more
    y = line_integrals(scan, number, dict(given) if known or given.get("units") else {**given, "units": "integrals"})
    if not float(y.mean()) > 0:
        raise ValueError(
            f"{scan.path} has a mean of {float(y.mean()):g}: integrals of attenuation are positive; of counts say so, "
            "--units counts --photons N"
        )
    if float(y.max()) > LARGEST:
        raise ValueError(
            f"{scan.path} goes up to {float(y.max()):g}, and no photon passes that much attenuation: of counts say so, "
            "--units counts --photons N; integrals are of 1/mm along mm"
        )
    return y, number


def _finder(parent: Callable[[Any], Iteration], tying: Tying) -> Callable[..., Mapping[str, Any]]:
    def run(network: Unrolled, task: Nodules, scan: Scan, outputs: Sequence[Path], **given: Any) -> Mapping[str, Any]:
        threshold = given.get("threshold", PROBABILITY)
        if not 0 < threshold < 1:
            raise ValueError(f"threshold is {threshold:g}; a probability lies above 0 and below 1")
        sinogram, number = _integrals(scan, given)
        (views, bins), expected = sinogram.shape[1:], task.geometry.shape
        if bins != expected[1]:
            raise ValueError(
                f"{scan.path} has {views} views of {bins} bins, and the weights are for {expected[0]} views over 180 "
                f"degrees of {expected[1]} bins, {task.geometry.spacing:.3g} mm apart"
            )
        held = network
        if views != expected[0]:  # what was learned does not depend on the angles
            own = Nodules(views, task.noise, size=task.size)
            held = unroll(parent(own), len(network.layers), tied=tying.tied, untied=tying.untied)
            held.load_learned(network.learned())
            held.eval()
        with torch.no_grad():
            image, scores = held(sinogram)[0]
        found = findings(scores, threshold, task.pixel)
        _write_image(outputs[0], image, found)
        if len(outputs) > 1:
            _write_list(outputs[1], found)
        noise, largest = noise_of(sinogram[0], task), float(sinogram.max())
        return {
            "views": views,
            "bins": bins,
            "slice": number,
            "threshold": threshold,
            "findings": [each._asdict() for each in found],
            "conditions": [
                Condition("views", views, "read", effect=SET),
                Condition("noise", round(100 * noise, 1), "estimated", "% of the mean", effect=SET),
                Condition("largest integral", round(largest, 2), "read", effect=SIMULATED),
            ],
        }

    return run


def findings(scores: Tensor, threshold: float, pixel: float) -> list[Finding]:
    """The peaks of a map of scores (height, width) that are as likely as a threshold, the likeliest first.

    Args:
        scores: logits.
        threshold: a probability.
        pixel: mm.
    """
    found = peaks(scores.unsqueeze(0), MOST)
    height, width = scores.shape
    likely = torch.sigmoid(found.score[0]).tolist()
    places = zip(likely, found.row[0].tolist(), found.column[0].tolist(), strict=True)
    return [
        Finding(
            round(probability, 4),
            round((column - (width - 1) / 2) * pixel, 1),
            round(((height - 1) / 2 - row) * pixel, 1),
            int(row),
            int(column),
        )
        for probability, row, column in places
        if probability >= threshold
    ]


def noise_of(sinogram: Tensor, task: Nodules) -> float:
    """The standard deviation of what rays measured that pass the field of view's corners only, in parts of the mean of
    all: a body lies in the middle.
    """
    beyond = (torch.arange(sinogram.shape[1]) - (sinogram.shape[1] - 1) / 2).abs() > 0.52 * task.size
    return float(sinogram[:, beyond].square().mean().sqrt() / sinogram.mean())


def _write_image(path: Path, image: Tensor, found: Sequence[Finding]) -> None:
    """The attenuation in 1/mm as ``.npy``, or a picture with a circle around each finding."""
    if path.suffix.lower() == ".npy":
        content = io.BytesIO()
        np.save(content, (ATTENUATION * image).numpy())
        write_bytes(path, content.getvalue())
        return
    large = image.clamp(0, 1).repeat_interleave(ENLARGED, 0).repeat_interleave(ENLARGED, 1)
    middles = [[ENLARGED * (place + 0.5) - 0.5 for place in (each.row, each.column)] for each in found]
    marks = torch.tensor([[*middle, ENLARGED * RADIUS] for middle in middles]).reshape(-1, 3)
    size = (large.shape[0], large.shape[1])
    ring = circles(marks, size, 2.0 * ENLARGED) | circles(marks, size, 2.0 * ENLARGED + 1)
    colour = torch.tensor([1.0, 0.75, 0.0]).reshape(3, 1, 1)
    pictures.write(path, pictures.Picture(torch.where(ring, colour, large)))


def _write_list(path: Path, found: Sequence[Finding]) -> None:
    if path.suffix.lower() == ".json":
        text = json.dumps([each._asdict() for each in found], indent=1) + "\n"
    else:
        held = io.StringIO()
        writer = csv.writer(held, lineterminator="\n")
        writer.writerow(Finding._fields)
        writer.writerows(found)
        text = held.getvalue()
    write_bytes(path, text.encode())


def _check(path: Path) -> None:
    """Refuses an output that is neither a picture nor .npy, .csv or .json."""
    if path.suffix.lower() in (".npy", ".csv", ".json"):
        check_place(path)
    else:
        pictures.check_output(path)


def application(parent: Callable[[Any], Iteration], tying: Tying) -> Application:
    """Of sinograms in files: 183 bins of 2.8 mm, views evenly over 180 degrees. Of another number of views than the
    weights' the network is built again around it.

    Args:
        parent: the iteration with its classical values, from the task.
        tying: what is learned.
    """
    return Application(
        f"a sinogram (views, bins) of parallel rays, or several: {READS.split(': ', 1)[1]}",
        (
            "the slice with a circle around each finding as a picture, or its attenuation in 1/mm as .npy",
            "the findings as .csv or .json: probability, position in mm from the middle (x to the right, y up), pixel",
        ),
        _read,
        _finder(parent, tying),
        suffixes=SUFFIXES,
        default_suffixes=("-findings.png", "-findings.csv"),
        least=1,
        options=OPTIONS,
        check=_check,
    )
