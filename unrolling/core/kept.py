"""Where compiled files are kept: in a folder that nobody else can write to, each under a name that holds the checksum
of its content, so that one that was cut off, changed or put there by somebody else is never loaded.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def find(stem: str, suffix: str) -> Path | None:
    """A whole file that ``keep`` wrote under this stem; damaged ones and those of others are removed where they can
    be.
    """
    for folder in _folders(make=False):
        for path in sorted(folder.glob(f"{stem}-*{suffix}")):
            if _is_whole(path, stem, suffix):
                return path
            with contextlib.suppress(OSError):
                path.unlink()
    return None


def keep(content: bytes, stem: str, suffix: str) -> Path:
    """Write a file whole, or not at all, into the first folder that can be trusted and written.

    Raises:
        OSError: there is none, such as on a full disk.
    """
    last: OSError | None = None
    for folder in _folders(make=True):
        path = folder / f"{stem}-{_digest(content)}{suffix}"
        temporary = folder / f".{secrets.token_hex(8)}.tmp"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            return path
        except OSError as error:
            last = error
            with contextlib.suppress(OSError):
                temporary.unlink()
    raise last or OSError("there is no folder that nobody else can write to")


def _folders(make: bool) -> Iterator[Path]:
    """Folders of this user alone, the usual one first, one of this process last."""
    base = os.environ.get("TORCH_EXTENSIONS_DIR")
    with contextlib.suppress(RuntimeError, OSError):  # a user without a home
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch_extensions"
        if _is_private(folder := Path(base or home) / "unrolling", make):
            yield folder
    name = f"unrolling-{os.geteuid()}" if hasattr(os, "geteuid") else "unrolling"
    with contextlib.suppress(OSError):
        if _is_private(folder := Path(tempfile.gettempdir()) / name, make):
            yield folder
    if make or _own.cache_info().currsize:
        with contextlib.suppress(OSError):
            yield _own()


@functools.cache
def _own() -> Path:
    """A folder of this process, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="unrolling-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_private(folder: Path, make: bool) -> bool:
    """Whether a folder is this user's and no one else can write into it, or put another in its place; it is made, and
    closed to others, where it is asked for.
    """
    try:
        if make:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or not _is_ours(found):
            return False
        if hasattr(os, "geteuid") and stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
        return all(_is_safe(os.stat(each)) for each in folder.resolve().parents)
    except OSError:
        return False


def _is_safe(found: os.stat_result) -> bool:
    """Whether others cannot give a name in this folder to something else."""
    if not hasattr(os, "geteuid"):
        return True
    shared = bool(found.st_mode & stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not shared


def _is_ours(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _is_whole(path: Path, stem: str, suffix: str) -> bool:
    """Whether a file is this user's own, no link, and holds what its name says."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or not _is_ours(found):
            return False
        if hasattr(os, "geteuid") and found.st_mode & 0o022:
            return False
        return path.name == f"{stem}-{_digest(path.read_bytes())}{suffix}"
    except OSError:
        return False


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
