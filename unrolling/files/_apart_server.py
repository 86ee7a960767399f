"""A process of its own that reads a file: run as a script, it takes requests from its input.

The libraries behind HDF5 and MATLAB's formats believe what a file says: a damaged one can end the process, hang it, or
fill the memory. Here that ends this process alone, whose memory and time are limited. Each request is a line of JSON;
the reply is a line of JSON, and behind it the bytes of its arrays.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

ROOM = 256 << 20  # bytes of memory, beyond four times what is read and twice the file
PATIENCE, RATE = 1, 1e7  # seconds of the processor, and bytes that take one more
LISTED = 1000  # names of a group
TEXT = 1 << 24  # bytes of a text


def _base() -> int:
    """Bytes of address space that this process has."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 4 << 30


def _limit(base: int, need: int) -> None:
    """The memory and time that the next request may take; where the system has no limits, none."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limits = {
        resource.RLIMIT_AS: base + ROOM + need,
        resource.RLIMIT_CPU: math.ceil(used.ru_utime + used.ru_stime + PATIENCE + need / RATE),
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        try:
            resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
        except (OSError, ValueError):  # a system that has the name and not the limit
            continue


def _words(value: Any) -> str | None:
    """A short attribute as text or number; None for anything else."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return str(value)[:1000] if isinstance(value, (str, int, float)) else None


def _attributes(item: Any) -> dict[str, str]:
    found = {}
    for name in ("acquisition", "patient_id", "MATLAB_class", "MATLAB_empty"):
        try:
            if name in item.attrs and (text := _words(item.attrs[name])) is not None:
                found[name] = text
        except (OSError, RuntimeError, TypeError, ValueError, KeyError):
            continue
    return found


def _described(group: Any, inside: bool = True) -> dict[str, Any]:
    """What lies in a group, and in its groups: of arrays their shapes and kinds of numbers."""
    import h5py
    import numpy as np

    found: dict[str, Any] = {}
    for name in list(group)[:LISTED]:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            found[name] = {"is": "link"}
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            found[name] = {"is": "group", "holds": _described(item, False) if inside else {}}
        elif isinstance(item, h5py.Dataset):
            elsewhere = bool(item.is_virtual or item.external)
            shape = None if item.shape is None else list(map(int, item.shape))
            count = 0 if shape is None else int(np.prod(shape, dtype=object))
            found[name] = {
                "is": "array",
                "shape": shape,
                "kind": item.dtype.kind,
                "type": str(item.dtype)[:200],
                "names": item.dtype.names,
                "elsewhere": elsewhere,
                "bytes": count * item.dtype.itemsize,
                "held": 0 if elsewhere else item.id.get_storage_size(),
                "attributes": _attributes(item),
            }
    return found


def _text(item: Any) -> bytes:
    import numpy as np

    if item.size != 1 or item.dtype.kind not in "OS" or item.dtype.itemsize > TEXT:
        raise ValueError("it is no text")
    content = np.asarray(item[()]).reshape(-1)[0]
    content = content.encode() if isinstance(content, str) else content
    if not isinstance(content, bytes) or len(content) > TEXT:
        raise ValueError(f"it is no text of less than {TEXT >> 20} MiB")
    return content


def _rows(item: Any, rows: list[int] | None) -> Any:
    """The values of some places along the first dimension, in their order."""
    import numpy as np

    if rows is None:
        return np.asarray(item[()])
    low, high = min(rows), max(rows) + 1
    if high - low <= 4 * len(rows):
        return np.asarray(item[low:high])[np.array(rows) - low]
    return np.stack([item[row] for row in rows])


class HDF5:
    """An HDF5 file."""

    packages = ("numpy", "h5py")

    def __init__(self, path: str) -> None:
        import h5py

        self.file = h5py.File(path, "r", locking=False)

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """The reply to a request, and its arrays."""
        import numpy as np

        if request["do"] == "describe":
            return {"holds": _described(self.file), "attributes": _attributes(self.file)}, []
        item: Any = self.file[request["name"]]
        if request["do"] == "text":
            return {}, [np.frombuffer(_text(item), np.uint8)]
        field = request.get("field")
        values = _rows(item if field is None else item.fields(field), request.get("rows"))
        if values.dtype == object:  # arrays of several lengths: these, and all of their numbers
            parts = [np.asarray(each) for each in values.reshape(-1)]
            if any(part.dtype != np.float32 or part.ndim != 1 for part in parts):
                raise ValueError(f"{field} holds no numbers in single precision")
            lengths = np.array([len(part) for part in parts], np.int64)
            return {}, [lengths, np.concatenate(parts) if parts else np.zeros(0, np.float32)]
        return {}, [values]


class Matlab:
    """A MATLAB file of version 4 or 5."""

    packages = ("numpy", "scipy.io")

    def __init__(self, path: str) -> None:
        self.path = path

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """The reply to a request, and its arrays."""
        import numpy as np
        import scipy.io

        if request["do"] == "describe":
            found = scipy.io.whosmat(self.path, appendmat=False)[:LISTED]
            return {"holds": {name: [list(map(int, shape)), form] for name, shape, form in found}}, []
        name = request["name"]
        values = np.asarray(scipy.io.loadmat(self.path, variable_names=[name], appendmat=False)[name])
        if list(values.shape) != request["shape"] and values.dtype.kind not in "US":
            raise ValueError(f"{name} has the shape {values.shape}, and its header says {tuple(request['shape'])}")
        return {}, [values]


FORMATS: dict[str, Any] = {"hdf5": HDF5, "matlab": Matlab}


def serve(form: str, path: str, requests: Any, output: Any) -> None:
    """Answers requests on one file until there are no more."""
    import numpy as np

    base, size = _base(), Path(path).stat().st_size
    file: Any = None
    for line in requests:
        request = json.loads(line)
        arrays: list[Any] = []
        try:
            _limit(base, 2 * size + 4 * int(request.get("bytes", 0)))
            file = FORMATS[form](path) if file is None else file
            reply, arrays = file.answer(request)
            if any(each.dtype.hasobject for each in arrays):
                raise ValueError("it holds objects, and not numbers")
            arrays = [np.ascontiguousarray(each) for each in arrays]
            reply["arrays"] = [[np.lib.format.dtype_to_descr(each.dtype), each.shape] for each in arrays]
        except Exception as error:
            arrays = []
            words = "there is not enough memory for what it says it holds" if isinstance(error, MemoryError) else ""
            reply = {"error": words or " ".join(str(error).split())[:2000] or type(error).__name__}
        output.write(json.dumps(reply).encode() + b"\n")
        for each in arrays:
            output.write(each.reshape(-1).view(np.uint8).data if each.size else b"")
        output.flush()


def main() -> None:
    """One file, whose format and path are given; or, where a socket is, a process of its own for every file that comes
    by it, each with the socket for its requests.
    """
    paths, given, number = json.loads(sys.argv[1])
    sys.path[:] = paths
    if number is None:
        form, path = given
        serve(form, path, sys.stdin.buffer, sys.stdout.buffer)
        return
    import importlib
    import signal
    import socket

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that have ended
    with socket.socket(fileno=number) as channel:
        while True:
            named, handed, _, _ = socket.recv_fds(channel, 1 << 16, 1)
            if not named or not handed:
                return
            form, path = json.loads(named)
            for package in FORMATS[form].packages:  # once, for all that come
                with contextlib.suppress(ImportError):
                    importlib.import_module(package)
            if os.fork() == 0:
                channel.close()
                own = socket.socket(fileno=handed[0])
                with contextlib.suppress(OSError):  # nobody listens any more
                    serve(form, path, own.makefile("rb"), own.makefile("wb"))
                os._exit(0)
            os.close(handed[0])
            channel.sendall(b".")


if __name__ == "__main__":
    main()
