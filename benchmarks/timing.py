"""Ratios of two ways to do the same thing, alternating in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def ratio(ours: Callable[[], object], bare: Callable[[], object], *, seconds: float = 6.0, least: int = 20) -> dict[str, float]:
    """Medians of both, and the median of the pairwise ratios, with its quartiles."""
    for _ in range(3):
        ours(), bare()
    first: list[float] = []
    second: list[float] = []
    begin = time.perf_counter()
    turn = 0
    while time.perf_counter() - begin < seconds or turn < least:
        # Who goes first changes, so that a drift of the machine's speed favours neither.
        for call, times in ((ours, first), (bare, second)) if turn % 2 else ((bare, second), (ours, first)):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        turn += 1
    pairs = [a / b for a, b in zip(first, second, strict=True)]
    low, middle, high = statistics.quantiles(pairs, n=4)
    return {"ours": statistics.median(first), "bare": statistics.median(second), "ratio": middle, "low": low, "high": high, "pairs": turn}
