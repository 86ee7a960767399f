"""Numbers as words: a metric's values, counts, durations, sizes."""

from __future__ import annotations

import math

from numpy.typing import NDArray

from unrolling.evaluation.records import Interval
from unrolling.report.chart import tick_text
from unrolling.tasks.metrics import Metric

ABSENT = "–"


def decimals(value: float | None, places: int = 2) -> str:
    """A number with a real minus sign; a dash when there is none."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:,.{places}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 and text.startswith("-") else text).replace("-", "−")


def quality_text(value: float | None, metric: Metric) -> str:
    """A metric's value: two decimals in dB, three digits with an exponent for an error rate."""
    if not metric.logarithmic or value is None or not math.isfinite(value):
        return decimals(value, metric.places)
    return rate_text(value)


def rate_text(value: float, count: int = 3) -> str:
    """``2.54e−3``."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{count - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def interval_text(quality: Interval, metric: Metric) -> str:
    """``[low, high]``, or nothing when an end is missing."""
    finite = math.isfinite(quality.low) and math.isfinite(quality.high)
    return f"[{quality_text(quality.low, metric)}, {quality_text(quality.high, metric)}]" if finite else ""


def count_text(count: int | None) -> str:
    """A whole number with commas."""
    return ABSENT if count is None else f"{count:,}"


def seconds_text(seconds: float | None) -> str:
    """A duration with three digits, in ns, µs, ms or s."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return ABSENT
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * size:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds)} s"


def seconds_tick(seconds: float) -> str:
    """A duration without trailing zeros, for an axis."""
    number, unit = seconds_text(seconds).rsplit(" ", 1)
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def digits(value: float, count: int = 3) -> str:
    """A number rounded to ``count`` digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ABSENT
    value = float(f"{value:.{count}g}")
    return f"{value:,.{max(0, count - 1 - math.floor(math.log10(abs(value))))}f}".replace("-", "−")


def ratio_text(value: float | None) -> str:
    """``0.42×``, ``17×``."""
    return (
        ABSENT
        if value is None or not math.isfinite(value)
        else f"{digits(value, 2) if value < 99.5 else f'{value:,.0f}'}×"
    )


def bytes_text(size: int | None) -> str:
    """``1.2 MB``, in powers of ten."""
    if size is None:
        return ABSENT
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{digits(size / scale)} {unit}"
    return f"{size} B"


def work_text(count: int | None) -> str:
    """``4.13 M``."""
    if count is None:
        return ABSENT
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{digits(count / scale)} {unit}"
    return str(count)


def value_text(value: float, count: int = 3) -> str:
    """A value with at most three digits, without trailing zeros."""
    return tick_text(float(f"{value:.{count}g}")) if math.isfinite(value) else "–"


def shape_text(value: NDArray) -> str:
    """``250 × 500``."""
    return " × ".join(map(str, value.shape))
