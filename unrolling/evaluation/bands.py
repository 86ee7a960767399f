"""Error bars of a network in a comparison: how often they hold, on the test set and away from it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import chain

import torch
from torch import nn

from unrolling.core import Unrolled
from unrolling.evaluation.budget import foreseen, part_of
from unrolling.evaluation.conformal import Calibrated, Coverage, UnlikeCalibrationWarning, calibrate, coverage
from unrolling.evaluation.half_widths import Constant, LayerSpread
from unrolling.evaluation.records import CoverageReport, CoverageRow
from unrolling.tasks.base import Samples, Shift, Task, count, first
from unrolling.tasks.samples import select

LEVEL, USUAL = 0.9, 40  # promised; calibration samples, below which half of the test set is taken too
LEAST = 20  # so many samples in all, or nothing is said: with 9 the interval of coverage would be all there is


@torch.no_grad()
def measure_coverage(
    network: Unrolled, task: Task, shifts: Sequence[Shift] = (), *, level: float = LEVEL, budget: float | None = None
) -> CoverageReport | None:
    """Calibrates half-widths on validation samples and counts how often they hold on the test set and under shifts.

    Where there are few validation samples, every other test sample is taken for calibration too, and the others are
    counted.

    Args:
        network: trained, not on these samples.
        task: its validation and test sets.
        shifts: of the task.
        level: promised.
        budget: foreseen seconds, kept to by fewer samples; None for any.

    Returns:
        None where there are too few samples, or no targets of the estimate's shape.
    """
    score: nn.Module = LayerSpread(network) if len(network) > 1 else Constant(network)
    calibration, test = list(task.validation), list(task.test)
    if sum(map(count, calibration)) < USUAL:
        halves = [_halves(batch) for batch in test] if sum(map(count, test)) > len(test) else None
        more, test = (
            (test[::2], test[1::2]) if halves is None else ([a for a, _ in halves], [b for _, b in halves if count(b)])
        )
        calibration += more
    shifted = [(shift, value, shift.make(value)) for shift in shifts for value in shift.values]
    if budget is not None:
        probe = first(test[0], 4)
        once = foreseen(lambda: score(probe.data)) / count(probe)
        total = sum(map(count, chain(calibration, test, (samples for *_, samples in shifted))))
        share = budget / max(once * total, 1e-12)
        calibration, test = part_of(calibration, share).batches, part_of(test, share).batches
        shifted = [(shift, value, part_of([samples], share).batches[0]) for shift, value, samples in shifted]
    if sum(map(count, calibration)) < LEAST or not all(map(_comparable, (*calibration, *test))):
        return None
    calibrated = calibrate(network, calibration, level, score=score)
    rows = [_row("the test set", None, True, coverage(calibrated, test), False)]
    for shift, value, samples in shifted:
        if _comparable(samples):
            unlike = _unlike(calibrated, samples)
            rows.append(_row(shift.name, value, value == shift.trained, coverage(calibrated, [samples]), unlike))
    name = "the spread over the last layers" if isinstance(score, LayerSpread) else "the same everywhere"
    return CoverageReport(level, calibrated.samples, name, rows)


def _halves(batch: Samples) -> tuple[Samples, Samples]:
    index = torch.arange(count(batch))
    return select(batch, index[::2]), select(batch, index[1::2])


def _comparable(samples: Samples) -> bool:
    return isinstance(samples.target, torch.Tensor)


def _unlike(calibrated: Calibrated, samples: Samples) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calibrated(samples.data)
    return any(issubclass(warning.category, UnlikeCalibrationWarning) for warning in caught)


def _row(where: str, value: float | None, trained: bool, found: Coverage, unlike: bool) -> CoverageRow:
    return CoverageRow(
        where, value, trained, found.covered, found.low, found.high, found.width, found.samples, found.holds, unlike
    )
