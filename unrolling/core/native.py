"""C++ files beside Python modules: compiled when first needed, kept in a cache, called through ctypes; torch operators
do their work where that fails.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from unrolling.core import kept

_FLAGS = ("-O3", "-std=c++17", "-fno-trapping-math", "-fPIC", "-shared")
# By what torch found on this processor, so that a cache which unlike machines share holds a kernel for each.
_VECTORS = {"AVX2": ("-mavx2", "-mfma"), "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")}
_PATIENCE = 60.0  # seconds for the compiler
_listening: list[list[int]] = []


def kernels(source: Path, name: str, arguments: Sequence[Any], without: str) -> dict[torch.dtype, Callable[..., None]]:
    """``name_float32`` and ``name_float64`` of a C++ file, by dtype; none where something fails, which is said if
    UNROLLING_VERBOSE is set.

    Args:
        source: the C++ file.
        name: what the two functions' names begin with.
        arguments: their ctypes; they return nothing.
        without: what happens instead, for the warning.
    """
    try:
        library = load(source)
        found: dict[torch.dtype, Callable[..., None]] = {
            t: getattr(library, f"{name}_{str(t).removeprefix('torch.')}") for t in (torch.float32, torch.float64)
        }
    except Exception as error:  # whatever it is, there is another way
        report(without, error)
        return {}
    for function in found.values():
        function.restype, function.argtypes = None, list(arguments)  # pyright: ignore[reportFunctionMemberAccess]
    return found


def report(without: str, error: Exception) -> None:
    """A warning, for those who ask for it, that something cannot be had."""
    if os.environ.get("UNROLLING_VERBOSE"):
        warnings.warn(f"{without}: {error}", RuntimeWarning, stacklevel=4)


def load(source: Path) -> ctypes.CDLL:
    """The compiled file.

    Raises:
        OSError: there is no compiler, or it fails, or there is nowhere to keep what it makes.
        subprocess.TimeoutExpired: the compiler takes more than a minute.
    """
    return ctypes.CDLL(str(build(source)))


@contextmanager
def counting() -> Iterator[list[int]]:
    """The multiply-adds that compiled kernels report while this is open: torch does not see them."""
    seen: list[int] = []
    _listening.append(seen)
    try:
        yield seen
    finally:
        _listening.pop()


def counted(multiply_adds: int) -> None:
    """Called by every kernel with what it did, or with an upper bound."""
    for seen in _listening:
        seen.append(multiply_adds)


@functools.cache
def openmp(name: str = "GOMP_parallel") -> int | None:
    """The address of a function of the OpenMP runtime that torch has loaded; None: one thread."""
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value
    except (OSError, AttributeError, TypeError):
        return None


def build(source: Path) -> Path:
    """The library that a C++ file compiles to, from the cache when it is there and whole."""
    machine = platform.machine()
    vectors = _VECTORS.get(torch.backends.cpu.get_cpu_capability(), ()) if machine in ("x86_64", "AMD64") else ()
    flags = _FLAGS + vectors + sanitizers()
    compiler = os.environ.get("CXX", "")
    settings = repr((flags, compiler, sys.platform, machine, str(torch.__version__)))
    stem = f"{source.stem}-{hashlib.sha256(settings.encode() + source.read_bytes()).hexdigest()[:16]}"
    found = kept.find(stem, ".so")
    return found or kept.keep(_compiled(source, flags, shlex.split(compiler)), stem, ".so")


def sanitizers() -> tuple[str, ...]:
    """The flags that UNROLLING_SANITIZE (``address,undefined``) asks for."""
    asked = os.environ.get("UNROLLING_SANITIZE", "")
    return (f"-fsanitize={asked}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1") if asked else ()


def _compiled(source: Path, flags: Sequence[str], compiler: Sequence[str]) -> bytes:
    """What the compiler makes of a file."""
    compiler = compiler or [next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), "c++")]
    with tempfile.TemporaryDirectory(prefix="unrolling-") as directory:
        built, log = Path(directory) / "library", Path(directory) / "log"
        command = [*compiler, *flags, str(source), "-o", str(built)]
        # a file, as a pipe stays open, and we wait, while a child of a stopped compiler lives
        with log.open("wb") as messages:
            status = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages, timeout=_PATIENCE
            ).returncode
        if status:
            raise OSError(f"{shlex.join(command)} ended with {status}: {log.read_text(errors='replace')}")
        return built.read_bytes()
