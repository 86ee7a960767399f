"""How the detection of nodules is applied to measured sinograms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.files import pictures
from unrolling.files.decoding import Arrays
from unrolling.files.whole import check_place, write_bytes
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.options import Option
from unrolling.tasks.medical.findings import peaks
from unrolling.tasks.medical.nodules import ATTENUATION, Nodules, circles

READS = (
    "a sinogram in a .npy file or the one array of a .npz file, real (views, bins): attenuation integrated along rays"
)
MOST = 13  # findings of a slice
RADIUS, ENLARGED = 3.0, 4  # pixels of the slice, of circles; times, of the picture
# Of the shipped weights: one false positive per image on the validation set (python -m benchmarks.nodules).
PROBABILITY = 0.3
THRESHOLD = Option(
    "threshold", float, "the least probability of a finding, above 0 and below 1", default=f"{PROBABILITY:g}"
)
SIMULATED = "the weights know simulated thoraxes only, and no patient's"
RANGE = {"noise": Range(1.0, 4.0), "largest integral": Range(3.0, 9.0)}


class Finding(NamedTuple):
    """One finding; positions in mm from the middle of the slice, x to the right, y upwards."""

    probability: float
    x_mm: float
    y_mm: float
    row: int
    column: int


def _read(path: Path, options: Mapping[str, Any]) -> Tensor:
    """(1, views, bins) float32.

    Raises:
        ValueError: no such file, not one array of real numbers of two dimensions, NaN or infinity, nothing measured.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; the input is {READS}")
    values = Arrays(path).only
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{path} holds {values.dtype}; the input is {READS}")
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{path} holds an array of shape {values.shape}; the input is {READS}")
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds {int((~np.isfinite(values)).sum())} values that are NaN or infinite")
    if not float(values.mean()) > 0:
        raise ValueError(
            f"{path} has a mean of {float(values.mean()):g}: integrals of attenuation are positive; of counts n take "
            "-log(n / n0), n0 those without a patient"
        )
    return torch.from_numpy(np.ascontiguousarray(values.astype(np.float32))).unsqueeze(0)


def _find(
    network: Unrolled, task: Nodules, sinogram: Tensor, outputs: Sequence[Path], threshold: float = PROBABILITY
) -> Mapping[str, Any]:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold:g}; a probability lies above 0 and below 1")
    expected = task.geometry.shape
    if tuple(sinogram.shape[1:]) != expected:
        raise ValueError(
            f"the sinogram has {sinogram.shape[1]} views of {sinogram.shape[2]} bins, and the weights are for "
            f"{expected[0]} views over 180 degrees of {expected[1]} bins, {task.geometry.spacing:.3g} mm apart"
        )
    with torch.no_grad():
        image, scores = network(sinogram)[0]
    found = findings(scores, threshold, task.pixel)
    _write_image(outputs[0], image, found)
    if len(outputs) > 1:
        _write_list(outputs[1], found)
    noise, largest = noise_of(sinogram[0], task), float(sinogram.max())
    return {
        "views": expected[0],
        "bins": expected[1],
        "threshold": threshold,
        "findings": [each._asdict() for each in found],
        "conditions": [
            Condition(
                "noise", round(100 * noise, 1), "estimated", "% of the mean", effect="the threshold was not set for it"
            ),
            Condition("largest integral", round(largest, 2), "read", effect=SIMULATED),
        ],
    }


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


def application() -> Application:
    """Of sinograms in ``.npy`` files."""
    return Application(
        READS,
        (
            "the slice with a circle around each finding as a picture, or its attenuation in 1/mm as .npy",
            "the findings as .csv or .json: probability, position in mm from the middle (x to the right, y up), pixel",
        ),
        _read,
        _find,
        suffixes=(".npy", ".npz"),
        default_suffixes=("-findings.png", "-findings.csv"),
        least=1,
        options=(THRESHOLD,),
        check=_check,
    )
