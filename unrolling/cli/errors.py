"""What becomes one line on the error output: mistakes of the caller, files and machines that do not do what is asked.

What is not among them, such as a ``KeyError``, is a mistake of this package's and is shown with its traceback.
"""

from __future__ import annotations

import struct
import zipfile
import zlib

ERRORS: tuple[type[Exception], ...] = (
    ValueError,  # UnicodeError too
    TypeError,
    OSError,
    ArithmeticError,
    ImportError,
    RuntimeError,  # RecursionError too
    MemoryError,
    EOFError,
    SyntaxError,  # what Pillow calls a damaged file
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def sentence(error: BaseException) -> str:
    """An error as one line."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory{_more(error)}"
    if isinstance(error, RecursionError):
        return f"something is nested too deeply{_more(error)}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def about(name: object, error: BaseException) -> str:
    """An error as one line that names the file it is about."""
    text = sentence(error)
    return text if str(name) in text else f"{name}: {text}"


def _more(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f": {text}" if text else ""
