"""Error bars of a network in a comparison: how often they hold, on the test set and away from it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import chain

import torch
from torch import nn

from unrolling.core import Unrolled
from unrolling.evaluation.budget import of_a_sample, part_of
from unrolling.evaluation.conformal import Calibrated, Coverage, UnlikeCalibrationWarning, calibrate, coverage, least
from unrolling.evaluation.half_widths import LayerSpread, usual_score
from unrolling.evaluation.records import CoverageReport, CoverageRow
from unrolling.tasks.base import Samples, Shift, Task, count, first

LEVEL = 0.9  # promised
USUAL = 40  # validation samples, of which fewer say too little: samples are then drawn as in training
DRAWN, PIECE, SEED = 96, 8, 8_000_009


@torch.no_grad()
def measure_coverage(
    network: Unrolled, task: Task, shifts: Sequence[Shift] = (), *, level: float = LEVEL, budget: float | None = None
) -> CoverageReport | None:
    """Calibrates half-widths on validation samples and counts how often they hold on the test set and under shifts.

    Where there are fewer than 40 validation samples, as of tasks on a few photographs, 96 are drawn as in training
    instead. The network may know those better than new ones; what the test set says tells.

    Args:
        network: trained, not on these samples.
        task: its validation and test sets.
        shifts: of the task.
        level: promised.
        budget: foreseen seconds, kept to by fewer samples; None for any.

    Returns:
        None where there are too few samples, or no targets of the estimate's shape.
    """
    score = usual_score(network)
    calibration, kind = _samples(task)
    test = list(task.test)
    shifted = [(shift, value, shift.make(value)) for shift in shifts for value in shift.values]
    if budget is not None:
        once = of_a_sample(score, test[0])
        total = sum(map(count, chain(calibration, test, (samples for *_, samples in shifted))))
        share = budget / max(once * total, 1e-12)
        calibration, test = part_of(calibration, share).batches, part_of(test, share).batches
        shifted = [(shift, value, part_of([samples], share).batches[0]) for shift, value, samples in shifted]
    if sum(map(count, calibration)) < least(level) or not all(
        _comparable(score, each[0]) for each in (calibration, test)
    ):
        return None
    calibrated = calibrate(network, calibration, level, score=score)
    rows = [_row("the test set", None, True, coverage(calibrated, test), False)]
    for shift, value, samples in shifted:
        if _comparable(score, samples):
            unlike = _unlike(calibrated, samples)
            rows.append(_row(shift.name, value, value == shift.trained, coverage(calibrated, [samples]), unlike))
    name = "the spread over the last layers" if isinstance(score, LayerSpread) else "the same everywhere"
    return CoverageReport(level, calibrated.samples, kind, name, rows)


@torch.no_grad()
def calibration_of(network: Unrolled, task: Task, level: float, budget: float | None = None) -> Calibrated | None:
    """A network calibrated on the samples of ``measure_coverage``; arguments and None as there, but that as many
    samples as the level needs are used, however long they take.
    """
    score = usual_score(network)
    samples, _ = _samples(task)
    if budget is not None:
        once = of_a_sample(score, samples[0])
        total = sum(map(count, samples))
        samples = part_of(samples, max(budget / max(once * total, 1e-12), 2 * least(level) / total)).batches
    if sum(map(count, samples)) < least(level) or not _comparable(score, samples[0]):
        return None
    return calibrate(network, samples, level, score=score)


def _samples(task: Task) -> tuple[list[Samples], str]:
    """What to calibrate on, and what it is."""
    held_out = list(task.validation)
    if sum(map(count, held_out)) >= USUAL:
        return held_out, "validation samples"
    generator = torch.Generator().manual_seed(SEED)
    return [task.draw(PIECE, generator) for _ in range(DRAWN // PIECE)], "samples drawn as in training"


def _comparable(score: nn.Module, samples: Samples) -> bool:
    """Whether there is a target of the estimate's shape."""
    if not isinstance(samples.target, torch.Tensor):
        return False
    one = first(samples, 1)
    return score(one.data)[0].shape == one.target.shape


def _unlike(calibrated: Calibrated, samples: Samples) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calibrated(samples.data)
    return any(issubclass(warning.category, UnlikeCalibrationWarning) for warning in caught)


def _row(where: str, value: float | None, trained: bool, found: Coverage, unlike: bool) -> CoverageRow:
    return CoverageRow(
        where, value, trained, found.covered, found.low, found.high, found.width, found.samples, found.holds, unlike
    )
