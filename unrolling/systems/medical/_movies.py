"""How networks that take movies apart are applied to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling._progress import Bar
from unrolling.algorithms.splitting.robust_pca import Separated
from unrolling.files import pictures
from unrolling.files.gate import checked
from unrolling.files.movies import READS, SUFFIXES, check_movie_output, read_movie, write_movie
from unrolling.files.pictures import Picture
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.medical._parts import starts, taper
from unrolling.systems.options import Option
from unrolling.tasks.medical.clutter import RANGE_DB, Clutter, projection

TISSUE = "-tissue.npy"
LEAST = 0.05  # of the mean magnitude, in imaginary parts: below it a movie is real in all but its type
EFFECT = "python -m benchmarks.clutter --part shifts prints what was measured on other movies"
OPTIONS = (
    Option("tissue", Path, "a .npy file for the tissue, or a folder for those of several inputs"),
    Option("range", float, "from the darkest to the brightest pixel of a picture", "dB", f"{RANGE_DB:g}"),
    Option(
        "tile",
        int,
        "side of the parts that are worked on by themselves; 0 for the whole",
        "pixels",
        "that of the weights",
    ),
)


def ranges(task: Clutter) -> dict[str, Any]:
    """What weights that were trained on a task are good for."""
    return {
        "frames": Range(task.frames // 2, task.frames),
        "side": Range(task.size // 2, task.size),
    }


def application() -> Application:
    """Of complex movies in arrays."""
    return Application(
        f"complex numbers: {READS}",
        ("the blood: a movie (.npy), or the picture of its maximum over time in dB", "the other of the two"),
        _read,
        _run,
        suffixes=SUFFIXES,
        default_suffixes=("-blood.npy", "-blood.png"),
        least=1,
        further_suffixes=(TISSUE,),
        options=OPTIONS,
        check=_check_output,
    )


def _check_output(path: Path) -> None:
    if path.suffix.lower() == ".npy":
        check_movie_output(path)
        return
    pictures.check_output(path)


def _read(path: Path, options: Mapping[str, Any]) -> Tensor:
    decibels = options.get("range")
    if decibels is not None and not 0 < decibels < float("inf"):
        raise ValueError(f"--range {decibels:g}: a picture shows some decibels, more than 0")
    tile = options.get("tile")
    if tile is not None and tile != 0 and tile < 8:
        raise ValueError(f"--tile {tile}: a part has at least 8 pixels along a side; 0 stands for the whole")
    if options.get("tissue") is not None:
        place = _tissue_path(Path(options["tissue"]), path)
        if place.resolve() == path.resolve():
            raise ValueError(f"--tissue {place} is the input; name another file")
        check_movie_output(place)
    movie = read_movie(path)
    if not movie.is_complex():
        raise ValueError(
            f"{path} holds real numbers, and what is wanted are complex ones, as beamformers give them after "
            "demodulation (I + iQ). Of real echoes take the analytic signal, scipy.signal.hilbert(movie, axis=0); "
            "magnitudes alone do not say how tissue moved"
        )
    size = movie.abs().mean()
    if not size > 0:
        raise ValueError(f"{path} is zero everywhere: there is nothing to take apart")
    if movie.imag.abs().mean() < LEAST * size or movie.real.abs().mean() < LEAST * size:
        raise ValueError(
            f"{path} holds complex numbers without an imaginary part to speak of, or a real one; the phases of echoes "
            "are what tells blood from tissue: give I + iQ, or the analytic signal"
        )
    return movie


def _tissue_path(given: Path, source: Path) -> Path:
    """Where the tissue of an input goes: into a folder under the input's name."""
    return given / f"{source.stem}{TISSUE}" if given.is_dir() else given


def _run(network: Any, task: Clutter, movie: Tensor, outputs: Sequence[Path], **given: Any) -> Mapping[str, Any]:
    tissue = given.get("tissue")
    place = None if tissue is None else _tissue_path(Path(tissue), outputs[0])
    if place is not None and any(place.resolve() == path.resolve() for path in outputs):
        raise ValueError(f"--tissue {place} is an output; name another file")
    tile = given.get("tile", task.size)
    found = take_apart(network, movie, tile or max(movie.shape[:2]), task.frames)
    checked(found.sparse, "the blood")
    decibels = given.get("range", RANGE_DB)
    for path in outputs:
        if path.suffix.lower() == ".npy":
            write_movie(path, found.sparse)
        else:
            shown = projection(found.sparse.unsqueeze(0), decibels)
            pictures.write(path, Picture(shown, depth=8))
    if place is not None:
        write_movie(place, found.low_rank)
    height, width, frames = movie.shape
    energy = movie.abs().double().square().sum()
    return {
        "height": height,
        "width": width,
        "frames": frames,
        "blood": round(float(found.sparse.abs().double().square().sum() / energy), 4),
        "range": decibels,
        **({"more": {str(place): "the tissue"}} if place is not None else {}),
        "conditions": [
            Condition("frames", min(frames, task.frames), "read", "at a time", effect=EFFECT),
            Condition("side", min(height, width, tile or max(height, width)), "read", "pixels", effect=EFFECT)
            if min(height, width) < task.size or tile
            else Condition("side", max(height, width), "given", "pixels", effect=EFFECT),
        ],
    }


@torch.no_grad()
def take_apart(network: Any, movie: Tensor, side: int = 32, frames: int = 20) -> Separated:
    """Both parts of a movie (height, width, frames) by a trained network.

    How large singular values are depends on how many pixels and frames a movie has, and a vessel should be straight
    within it: a larger movie is worked on in parts of the size that the network was trained for, each half over the
    next, which are joined with weights that fall to their borders. Each is divided by its own root mean square.

    Args:
        network: of ``CORONA`` steps.
        movie: complex.
        side: pixels along a side of a part.
        frames: of a part.
    """
    parts = [list(starts(size, part)) for size, part in zip(movie.shape, (side, side, frames), strict=True)]
    total = Separated(torch.zeros_like(movie), torch.zeros_like(movie))
    weights = movie.real.new_zeros(movie.shape)
    with Bar.inside("parts", len(parts[0]) * len(parts[1]) * len(parts[2])) as bar:
        for top, left, begin in product(*parts):
            place = (slice(top, top + side), slice(left, left + side), slice(begin, begin + frames))
            piece = movie[place]
            rows, columns, length = (taper(size) for size in piece.shape)
            window = rows[:, None, None] * columns[:, None] * length
            found = network.supervised(piece.unsqueeze(0))
            for whole, part in zip(total, found, strict=True):
                whole[place] += window * part[0]
            weights[place] += window
            bar.advance()
    return Separated(*(part / weights for part in total))
