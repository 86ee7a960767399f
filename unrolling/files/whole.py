"""Files that are whole or not there, and files of others that stay as they are.

A file is written under a temporary name in its folder, opened so that nothing that lies there is followed or shared,
flushed to the disk, and only then given its name. Whatever goes wrong before, what was there stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

PREFIX = ".unrolling-"  # of temporary names
# What a command has written itself, while it may replace nothing else; None where everything may be replaced.
_own: ContextVar[set[Path] | None] = ContextVar("own", default=None)


@contextlib.contextmanager
def keeping_others(keep: bool = True) -> Iterator[None]:
    """Inside, writers replace only files that were written inside; with ``keep`` False, all.

    Nested, the outer one counts.
    """
    if _own.get() is not None or not keep:
        yield
        return
    token = _own.set(set())
    try:
        yield
    finally:
        _own.reset(token)


def check_replaceable(path: str | Path) -> None:
    """Finds out before the work whether a file may be written.

    Raises:
        ValueError: it is a folder, a device or a link, or it exists and belongs to somebody else (``keeping_others``).
    """
    path, own = Path(path), _own.get()
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name with a zero byte, or one that is too long
        raise ValueError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISLNK(found.st_mode):
        raise ValueError(f"{path} is a link; name the file that is meant")
    if stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{path} is a folder; name a file")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is no ordinary file; it stays as it is")
    if own is not None and _place(path) not in own:
        raise ValueError(f"{path} exists; it stays as it is (--overwrite replaces it)")


def check_place(path: str | Path) -> None:
    """Finds out before the work whether a file can be written: ``check_replaceable``, and its folder takes files.

    Raises:
        ValueError: it cannot.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: {path.parent} is not a folder")
    check_replaceable(path)
    try:
        _begin(path).unlink()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def probe_folder(folder: Path) -> None:
    """Finds out whether a folder takes files, with one of a name that nobody has.

    Raises:
        OSError: it does not.
    """
    _begin(folder / "probe").unlink()


def write_bytes(path: str | Path, content: bytes | bytearray | memoryview) -> None:
    """Replace a file in one step, or leave it as it was.

    Raises:
        ValueError: as for ``check_replaceable``.
        OSError: it cannot be written.
    """
    with writing(path) as (temporary,), temporary.open("r+b") as file:
        file.write(content)


@contextlib.contextmanager
def writing(*paths: str | Path) -> Iterator[Sequence[Path]]:
    """Places to write files at, empty files of the same suffixes; at the end all get their names, or, where anything
    was raised, none.

    Raises:
        ValueError: as for ``check_replaceable``.
        OSError: they cannot be written.
    """
    targets = [Path(path) for path in paths]
    made: list[Path] = []
    try:
        for target in targets:
            check_replaceable(target)
            with _named(target):
                made.append(_begin(target))
        yield tuple(made)
        mode = 0o666 & ~_umask()
        for target, temporary in zip(targets, made, strict=True):
            with _named(target):
                _finish(temporary, mode)
        for target, temporary in zip(targets, made, strict=True):
            with _named(target):
                _rename(temporary, target)
    finally:
        for temporary in made:
            with contextlib.suppress(OSError):
                temporary.unlink()
    for folder in {target.parent for target in targets}:
        _flush(folder)


def _begin(target: Path) -> Path:
    """An empty file beside the target that did not exist and that this user alone can open."""
    temporary = target.with_name(f"{PREFIX}{secrets.token_hex(8)}{target.suffix}")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(temporary, flags, 0o600))
    return temporary


def _finish(temporary: Path, mode: int) -> None:
    """All of it on the disk, open to whom the user's files are."""
    descriptor = os.open(temporary, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.chmod(mode)


def _rename(temporary: Path, target: Path) -> None:
    """Give it its name; where only own files may be replaced, without replacing one that came meanwhile."""
    check_replaceable(target)
    own = _own.get()
    if own is not None and _place(target) not in own:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise ValueError(f"{target} exists; it stays as it is (--overwrite replaces it)") from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES):
                raise
            os.replace(temporary, target)  # a file system without links: what came within these lines is lost
        else:
            temporary.unlink()
        own.add(_place(target))
        return
    os.replace(temporary, target)


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _umask() -> int:
    """The process's mask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _flush(folder: Path) -> None:
    """The new name itself is on the disk once the folder is; not every system can flush a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """Errors of the system name the file that was meant, not the temporary one."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, f"it cannot be written: {error.strerror or error}", str(target)) from error
