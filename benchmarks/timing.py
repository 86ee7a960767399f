"""Ratios of ways to do the same thing, alternating in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def ratio(
    ours: Callable[[], object], bare: Callable[[], object], *, seconds: float = 6.0, least: int = 20
) -> dict[str, float]:
    """Medians of both, and the median of the pairwise ratios, with its quartiles."""
    times = alternate({"ours": ours, "bare": bare}, seconds=seconds, least=least)
    found = compared(times, "ours", "bare")
    return {
        "ours": statistics.median(times["ours"]),
        "bare": statistics.median(times["bare"]),
        **found,
        "pairs": len(times["ours"]),
    }


def alternate(
    calls: Mapping[str, Callable[[], object]],
    *,
    seconds: float = 6.0,
    least: int = 20,
    wait: Callable[[], object] | None = None,
    warm: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each call, all of them in every round.

    Args:
        calls: by name.
        seconds: after which no further round starts, the warm-up not counted.
        least: number of rounds.
        wait: called after each call, for devices that work on their own.
        warm: whether each call comes after one of its own that is not timed, so that caches hold its data and not the
            others'.
        clock: ``time.process_time`` for one thread on a machine that does other work besides, which holds up what takes
            long more often than what does not.
    """
    wait = wait or _nothing
    for _ in range(3):
        for call in calls.values():
            call()
    wait()
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin, turn = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds or turn < least:
        # Who goes first changes, so that a drift of the machine's speed favours nobody.
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            if warm:
                calls[name]()
                wait()
            start = clock()
            calls[name]()
            wait()
            times[name].append(clock() - start)
        turn += 1
    return times


def compared(times: Mapping[str, list[float]], name: str, base: str) -> dict[str, float]:
    """The median of the ratios round by round, with its quartiles."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(times[name], times[base], strict=True)], n=4)
    return {"ratio": middle, "low": low, "high": high}


def _nothing() -> None:
    pass
