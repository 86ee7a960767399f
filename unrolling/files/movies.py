"""Movies in files of arrays: (height, width, frames), real or complex."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.whole import check_place, write_bytes

READS = "a movie (height, width, frames) in a .npy file, or in a .npz file, there also as its frames in their order"
SUFFIXES = (".npy", ".npz")
NAMES = ("movie", "iq", "frames", "d", "x")  # of the array that is meant, where a file holds several


def read_movie(path: str | Path) -> Tensor:
    """A movie, (height, width, frames), float32 or complex64: two frames or more, all numbers finite.

    Args:
        path: a ``.npy`` file of one array, or a ``.npz`` file: its only array, the one that is called ``movie`` (or iq,
            frames, d, x), or else frames (height, width) in the order of the file.

    Raises:
        ValueError: by the file's name: it cannot be read, is no array of numbers of three dimensions, its frames differ
            in size, there is only one, or a frame holds NaN, which is named.
    """
    path = Path(path)
    arrays = Arrays(path)
    called = [name for wanted in NAMES for name in arrays.names if name.lower() == wanted]
    if len(arrays.names) == 1 or called:
        values = arrays[called[0] if called else arrays.names[0]]
        if values.ndim == 2:
            raise ValueError(f"{path} holds one frame, {_sides(values)}; a movie has two or more")
    else:
        values = _stacked(path, arrays)
    if values.dtype.kind not in "iufc":
        raise ValueError(f"{path} holds {values.dtype}; a movie is made of real or complex numbers")
    if values.ndim != 3:
        raise ValueError(
            f"{path} holds an array of {_sides(values)}; a movie has three dimensions: height, width, frames"
        )
    if 0 in values.shape:
        raise ValueError(f"{path} holds a movie of {_sides(values)}: there is nothing in it")
    if values.shape[-1] < 2:
        raise ValueError(
            f"{path} holds one frame, {_sides(values)} (height, width, frames); a movie has two or more, and nothing "
            "moves in one"
        )
    finite = np.asarray(np.isfinite(values).all((0, 1)))
    if not finite.all():
        bad = np.flatnonzero(~finite)
        count = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"{path}: {count} values are NaN or infinite, in {len(bad)} of its {len(finite)} frames, the first is "
            f"frame {bad[0]} (counted from 0); leave these frames out, or put the ones before them in their place"
        )
    with np.errstate(over="ignore"):
        single = values.astype(np.complex64 if values.dtype.kind == "c" else np.float32)
    if not np.isfinite(single).all():
        raise ValueError(f"{path} holds values up to {np.abs(values).max():.3g}, out of the range of single precision")
    return torch.from_numpy(single)


def _stacked(path: Path, arrays: Arrays) -> np.ndarray:
    """The arrays of a file as frames."""
    frames = [(name, arrays[name]) for name in arrays.names]
    if not frames:
        raise ValueError(f"{path} holds nothing")
    first_name, first = frames[0]
    for name, frame in frames:
        if frame.ndim != 2:
            raise ValueError(
                f"{path} holds {', '.join(arrays.names[:8])}, and it is not clear which is meant: call a movie "
                f"(height, width, frames) {NAMES[0]}; {name} is no frame, it has the shape {frame.shape}"
            )
        if frame.shape != first.shape:
            raise ValueError(
                f"{path} holds frames of different sizes: {first_name} has {_sides(first)} and {name} {_sides(frame)}; "
                "the frames of a movie have one size"
            )
    return np.stack([frame for _, frame in frames], -1)


def _sides(values: np.ndarray) -> str:
    return " x ".join(map(str, values.shape)) or "no dimension"


def check_movie_output(path: str | Path) -> None:
    """Refuses a name that no movie can be written to, before any work.

    Raises:
        ValueError: another suffix than .npy, a folder that takes no files, or somebody else's file.
    """
    path = Path(path)
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: movies are written as .npy; {path.suffix or 'no suffix'} is another kind of file")
    check_place(path)


def write_movie(path: str | Path, movie: Tensor) -> None:
    """A movie (height, width, frames) as a ``.npy`` file, whole or not at all.

    Raises:
        ValueError: numbers that are not finite; a file that is somebody else's.
    """
    content = io.BytesIO()
    np.save(content, checked(movie, f"the movie for {path}", (None, None, None)).cpu().numpy())
    write_bytes(path, content.getvalue())
