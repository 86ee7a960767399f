"""SIGTERM that ends a process as Ctrl-C does, so that what is temporary goes with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGTERM", "SIGHUP")


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise ``SystemExit`` of 128 and the signal's number, where nobody has arranged
    anything else for them and this is the main thread.
    """
    old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
            if signal.getsignal(number) is signal.SIG_DFL:
                old[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _end(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise SystemExit(128 + number)
