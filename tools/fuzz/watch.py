"""What one input may take and do: seconds, memory, and how it may be refused."""

from __future__ import annotations

import contextlib
import resource
import signal
import traceback
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch

import unrolling
from unrolling.core.refusals import is_raised

SECONDS = 10
MEMORY = 300 << 20  # bytes, and TIMES what was decoded
TIMES = 4
ADDRESSES = 6 << 30  # bytes of address space that a process may have beyond its own
HOME = Path(unrolling.__file__).parent


class Find(NamedTuple):
    """What was found."""

    kind: str  # exception, hang, memory, values, shape, crash, folder
    where: str
    said: str


class HangError(BaseException):
    """After so many seconds; no handler of errors takes it for one."""


@contextlib.contextmanager
def within(seconds: int = SECONDS) -> Iterator[None]:
    """At most so many seconds.

    Raises:
        HangError: it took longer.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise HangError(f"longer than {seconds} s: " + "".join(traceback.format_stack(frame, 3)).strip()[-400:])

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Peak:
    """The most memory that a process has had since it was last asked, in bytes beyond what it had then."""

    def __init__(self) -> None:
        self.resets = True
        self.begin()

    def begin(self) -> None:
        """From here on."""
        if self.resets:
            try:
                Path("/proc/self/clear_refs").write_text("5")
            except OSError:  # the peak of the whole life then
                self.resets = False
        self.before = _memory("VmRSS")

    def end(self) -> int:
        """The most since."""
        return max(0, _memory("VmHWM") - self.before)


def _memory(name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def limit_addresses() -> None:
    """Whoever asks for more memory than a machine has gets an error, and the machine goes on."""
    most = _memory("VmSize") + ADDRESSES
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def arrays(content: Any, depth: int = 0) -> Iterator[np.ndarray]:
    """The arrays in whatever was read or worked out."""
    if isinstance(content, torch.Tensor):
        yield (
            content.detach().resolve_conj().resolve_neg().cpu().numpy()
            if content.dtype != torch.bfloat16
            else (content.detach().float().numpy())
        )
    elif isinstance(content, np.ndarray):
        yield content
    elif depth > 6:
        return
    elif isinstance(content, dict):
        for each in content.values():
            yield from arrays(each, depth + 1)
    elif isinstance(content, (tuple, list)):
        for each in content:
            yield from arrays(each, depth + 1)
    elif is_dataclass(content) and not isinstance(content, type):
        for each in fields(content):
            yield from arrays(getattr(content, each.name), depth + 1)


def not_finite(content: Any) -> str:
    """Which values are not finite; nothing where all are."""
    for array in arrays(content):
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            return f"{int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinite"
    return ""


def is_named(error: BaseException) -> bool:
    """Whether an error was raised on purpose by this library, as ValueError or TypeError, or by Python for a call that
    does not fit the signature.
    """
    words = ("unexpected keyword argument", "required positional", "required keyword-only")
    misfit = isinstance(error, TypeError) and any(each in str(error) for each in words)
    return isinstance(error, (ValueError, TypeError)) and (misfit or is_raised(error))


def place(error: BaseException) -> str:
    """Where in this library an error came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(HOME)]
    if not frames:
        return "outside"
    return f"{Path(frames[-1].filename).relative_to(HOME)}:{frames[-1].lineno}"


def words(error: BaseException) -> str:
    """An error as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} [{place(error)}]"
