"""Bars on the error output for what takes long: what is being done, how far it is, and how much time is left.

One display for the whole process, so that bars of work inside other work (a training inside a comparison) stand below
each other. Nothing is shown where the error output is no terminal, and nothing before a second has passed.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any

PATIENCE = 1.0  # seconds after which a bar is shown
PER_SECOND = 4  # redrawings, few enough not to be seen in what is timed


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``0.41 s``, ``4.1 s``, ``12 s``, ``1 min 5 s``, ``2 h 10 min``."""
    if seconds < 9.95 and not isinstance(seconds, int):
        return f"{seconds:.2g} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


class Bar:
    """Progress of one piece of work, shown while the ``with`` block runs.

    Args:
        name: what is done: "training LISTA".
        total: steps in all; None where nobody knows, and then the time that has passed is shown.
        quiet: show nothing.
    """

    def __init__(self, name: str, total: float | None = None, *, quiet: bool = False) -> None:
        self.name, self.total, self.quiet = name, total, quiet
        self.note = ""
        self.completed = 0.0
        self._first: float | None = None  # steps that were done before, by a run that this one goes on with
        self._begun = self._changed = time.monotonic()

    def __enter__(self) -> Bar:
        self._begun = self._changed = time.monotonic()
        if not self.quiet:
            DISPLAY.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        DISPLAY.remove(self)

    @classmethod
    def inside(cls, name: str, total: float | None = None) -> Bar:
        """A bar of a part of other work, shown where that is."""
        return cls(name, total, quiet=not DISPLAY.shows)

    def begins(self, completed: float) -> None:
        """Steps that were done before; they say nothing about how long a step takes."""
        if self._first is None:
            self._first = self.completed = completed
            self._begun = self._changed = time.monotonic()

    def update(self, completed: float | None = None, *, name: str | None = None, note: str | None = None) -> None:
        """Where the work is.

        Args:
            completed: steps.
            name: what is done now.
            note: a figure, such as the loss.
        """
        if completed is not None:
            self.completed, self._changed = completed, time.monotonic()
        self.name = self.name if name is None else name
        self.note = self.note if note is None else note
        DISPLAY.changed(self)

    def advance(self, steps: float = 1.0, *, name: str | None = None) -> None:
        """So many steps are done; what is done next."""
        self.update(self.completed + steps, name=name)

    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._begun

    def left(self) -> float | None:
        """Seconds to come, as fast as it went so far; None where that cannot be told yet."""
        done = self.completed - (self._first or 0.0)
        if self.total is None or done <= 0:
            return None
        to_come = (self._changed - self._begun) / done * (self.total - self.completed)
        return max(0.0, to_come - (time.monotonic() - self._changed))

    def time(self) -> str:
        """What is left, or else what has passed."""
        left = self.left()
        return f"{duration(round(self.seconds()))}" if left is None else f"{duration(round(left))} left"


class _Display:
    """The bars of this process, drawn by rich once the first of them is a second old."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._bars: list[Bar] = []
        self._tasks: dict[int, Any] = {}
        self._timer: threading.Timer | None = None
        self._drawn: Any = None

    @property
    def shows(self) -> bool:
        """Whether there are bars."""
        return bool(self._bars)

    def add(self, bar: Bar) -> None:
        with self._lock:
            if not (self._bars or (sys.stderr and sys.stderr.isatty())):
                return
            self._bars.append(bar)
            if self._drawn is not None:
                self._draw(bar)
            elif self._timer is None:
                self._timer = threading.Timer(PATIENCE, self._show)
                self._timer.daemon = True
                self._timer.start()

    def remove(self, bar: Bar) -> None:
        with self._lock:
            if bar not in self._bars:
                return
            self._bars.remove(bar)
            if self._drawn is not None and id(bar) in self._tasks:
                self._drawn.remove_task(self._tasks.pop(id(bar)))
            if self._bars:
                return
            drawn, timer, self._drawn, self._timer = self._drawn, self._timer, None, None
            self._tasks.clear()
        if timer is not None:
            timer.cancel()
        if drawn is not None:
            drawn.stop()

    def changed(self, bar: Bar) -> None:
        with self._lock:
            if self._drawn is not None and id(bar) in self._tasks:
                self._drawn.update(
                    self._tasks[id(bar)], completed=bar.completed, total=bar.total, description=bar.name, note=bar.note
                )

    def _show(self) -> None:
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.text import Text

        class Left(ProgressColumn):
            """Time left, or passed."""

            max_refresh = 0.5

            def render(self, task: Any) -> Text:
                return Text(task.fields["bar"].time())

        with self._lock:
            if not self._bars or self._drawn is not None:
                return
            self._drawn = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(20),
                TextColumn("{task.fields[note]}", markup=False),
                Left(),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=PER_SECOND,
                redirect_stdout=sys.stdout.isatty(),  # else lines meant for a file would go to the terminal
            )
            for bar in self._bars:
                self._draw(bar)
            try:
                self._drawn.start()
            except LiveError:  # somebody else draws on this terminal
                self._drawn = None
                self._tasks.clear()

    def _draw(self, bar: Bar) -> None:
        self._tasks[id(bar)] = self._drawn.add_task(
            bar.name, total=bar.total, completed=bar.completed, bar=bar, note=bar.note
        )


DISPLAY = _Display()
