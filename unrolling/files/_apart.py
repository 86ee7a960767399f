"""Files that are read by a process of their own, since the libraries behind their formats believe what a file says."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unrolling.files.decoding import PIECE

SERVER = Path(__file__).with_name("_apart_server.py")
WHAT = {"hdf5": "an HDF5 file", "matlab": "a MATLAB file"}


class Apart:
    """A file that is read by a process of its own (``_apart_server``), as long as this object is there.

    Args:
        path: of the file.
        form: ``hdf5`` or ``matlab``.
    """

    def __init__(self, path: Path, form: str) -> None:
        self.path, self.form = path, form
        self._input, self._output, end = _begun([form, str(path.resolve())])
        weakref.finalize(self, end)

    def asked(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The reply to a request, with its arrays.

        Raises:
            ValueError: what went wrong.
        """
        try:
            self._input.write(json.dumps(request).encode() + b"\n")
            self._input.flush()
            reply = json.loads(self._line())
            if "error" in reply:
                raise ValueError(f"{self.path} cannot be read as {WHAT[self.form]}: {reply['error']}")
            return reply, [self._array(*each) for each in reply["arrays"]]
        except (OSError, EOFError) as error:
            raise ValueError(
                f"{self.path} cannot be read as {WHAT[self.form]}: it is damaged: reading it took too long or too much "
                "memory, or came to an end"
            ) from error

    def _line(self) -> bytes:
        """A line of the reply."""
        pieces = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            pieces.append(self._output.readline())
            if not pieces[-1]:
                raise EOFError
        return b"".join(pieces)

    def _array(self, form: Any, shape: Sequence[int]) -> np.ndarray:
        values = np.empty(tuple(shape), np.lib.format.descr_to_dtype(_descr(form)))
        into, place = values.reshape(-1).view(np.uint8), 0
        while place < len(into):
            count = self._output.readinto(into[place : place + PIECE].data)
            if not count:
                raise EOFError
            place += count
        return values


def _descr(form: Any) -> Any:
    """A kind of number as NumPy writes it down, with the tuples that JSON turns into lists."""
    if isinstance(form, str):
        return form
    if form and isinstance(form[0], list):
        return [(each[0], _descr(each[1]), *(tuple(size) for size in each[2:])) for each in form]
    return tuple(_descr(each) if k == 0 else tuple(each) for k, each in enumerate(form))


def _command(given: list[str] | None, number: int | None) -> list[str]:
    # Without the folder of the script on the path, whose modules have names of their own.
    return [sys.executable, "-P", str(SERVER), json.dumps([sys.path, given, number])]


def _begun(given: list[str]) -> tuple[Any, Any, Callable[[], None]]:
    """Where requests on a file are written to and replies are read from, and what ends it.

    Where processes can be copied, one stands ready with the packages in it, and a copy of it reads the file: a
    hundredth of a second, where a new one takes half a second.
    """
    if hasattr(os, "fork") and hasattr(socket, "send_fds"):
        own, other = socket.socketpair()
        with other:
            _READY.send(given, other)
        streams = own.makefile("wb"), own.makefile("rb")

        def end() -> None:
            for each in (*streams, own):
                with contextlib.suppress(OSError):
                    each.close()

        return *streams, end
    process = subprocess.Popen(
        _command(given, None), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )

    def kill() -> None:
        process.kill()
        process.communicate()

    return process.stdin, process.stdout, kill


class _Ready:
    """The process that stands ready, if any; it ends when this one does."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def send(self, given: list[str], other: socket.socket) -> None:
        """Hands a file and the socket for its requests over."""
        with self._lock:
            for _ in range(2):  # the one that stood ready may have been ended
                if self._channel is None or self._owner != os.getpid():
                    self._start()
                assert self._channel is not None
                with contextlib.suppress(OSError):
                    socket.send_fds(self._channel, [json.dumps(given).encode()], [other.fileno()])
                    if self._channel.recv(1):
                        return
                self._channel.close()
                self._channel = None
        raise ValueError(f"{given[1]} cannot be read: the process that reads such files does not begin")

    def _start(self) -> None:
        self._channel, other = socket.socketpair()
        self._owner = os.getpid()
        with other:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            process = subprocess.Popen(
                _command(None, other.fileno()),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        weakref.finalize(self, _stopped, self._channel, process)


def _stopped(channel: socket.socket, process: Any) -> None:
    channel.close()  # with it, what stands ready ends
    process.kill()
    process.wait()


_READY = _Ready()
