"""A limit on how long a baseline may take."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TookTooLongError(RuntimeError):
    """A baseline was stopped at its limit."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Stop the block after so many seconds, by SIGALRM where the system has it and this is the main thread; elsewhere
    it runs to its end.

    Raises:
        TookTooLongError: it took longer.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise TookTooLongError(f"stopped after {seconds:g} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
