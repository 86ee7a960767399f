"""The lock of a folder while something is written into it that two processes must not write at once."""

from __future__ import annotations

import contextlib
import contextvars
import errno
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock-of-a-run"
# What a file system that has no locks answers: some networks', some of containers.
WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

_held: contextvars.ContextVar[frozenset[Path]] = contextvars.ContextVar("held", default=frozenset())
_open: set[int] = set()


class InUseError(ValueError):
    """Another process, or another thread of this one, is at work in the folder."""


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold a folder within the context; within itself it may be held again by the same thread.

    The lock is the kernel's (``flock`` of a file in the folder), so that it ends with the process, however that ends;
    the file, which names process and host for the message, is removed afterwards.

    Args:
        folder: made when it does not exist.

    Raises:
        InUseError: somebody else holds it; the message names process and host.
        ValueError: the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = folder.resolve()
    except OSError as error:
        raise ValueError(f"cannot write into {folder}: {error.strerror or error}") from error
    if place in _held.get():
        yield
        return
    descriptor = _acquire(folder, place / NAME)
    token = _held.set(_held.get() | {place})
    try:
        yield
    finally:
        _held.reset(token)
        _release(descriptor, place / NAME)


def _acquire(folder: Path, path: Path) -> int | None:
    """An open file that is locked; None where there are no locks."""
    try:
        import fcntl
    except ImportError:  # a system without
        return None
    while True:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise ValueError(f"cannot write into {folder}: {error.strerror or error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in WITHOUT:
                os.close(descriptor)
                warnings.warn(
                    f"{folder} lies on a file system without locks ({error.strerror}): see to it yourself that no "
                    "second run works in it",
                    RuntimeWarning,
                    stacklevel=5,
                )
                return None
            holder = os.pread(descriptor, 300, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise InUseError(
                f"{folder} is in use by {holder or 'another process'}: wait for its end, or choose another folder"
            ) from error
        if _is_there(descriptor, path):
            break
        os.close(descriptor)  # its holder has just removed it: another one may be locking the file that is there now
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    _open.add(descriptor)
    return descriptor


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether the open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _release(descriptor: int | None, path: Path) -> None:
    if descriptor is None:
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)  # while it is held: whoever opened it meanwhile sees that it is gone
    _open.discard(descriptor)
    os.close(descriptor)


def _forget() -> None:
    """In a child that was forked: it must not hold what its parent holds, if that dies first."""
    for descriptor in _open:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open.clear()
    _held.set(frozenset())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
