"""Ctrl-C and SIGTERM as a question that is answered between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Interrupt:
    """Within its context a first Ctrl-C or SIGTERM sets ``asked``, and a second one interrupts at once. Outside the
    main thread it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old = {}

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
