"""Damaged files, read as ``unroll apply`` and its options read them."""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tools.fuzz import seeds
from tools.fuzz.mutations import mutated, renamed
from tools.fuzz.watch import MEMORY, TIMES, Find, HangError, Peak, arrays, not_finite, within, words

Reader = Callable[[Path], Any]
SLOW = 40  # one of so many files is a program, whose reading takes longest


@cache
def corpus(programs: bool = False) -> dict[str, bytes]:
    """All files by name, exported programs only where they are asked for."""
    made = {**seeds.pictures(), **seeds.sounds(), **seeds.arrays(), **stacks(), **scans(), **seeds.others()}
    made |= {**movies(), **rasters()}
    return made | (seeds.programs() if programs else {})


@cache
def scans() -> dict[str, bytes]:
    """Files of scanners by name."""
    return seeds.scans()


@cache
def stacks() -> dict[str, bytes]:
    """Stacks of frames by name."""
    return seeds.stacks()


@cache
def movies() -> dict[str, bytes]:
    """Movies of ultrasound by name."""
    return seeds.movies()


@cache
def rasters() -> dict[str, bytes]:
    """Bands of satellites by name."""
    return seeds.rasters()


@cache
def applications() -> dict[str, tuple[str, Any]]:
    """A system and its application for each way to read a file, by that way's name."""
    from unrolling.systems.catalogue import catalogue

    found: dict[str, tuple[str, Any]] = {}
    for name, system in catalogue().items():
        for task, application in system.apply.items():
            if system.weights_files(task):
                read = application.read
                title = ".".join([*read.__module__.split(".")[-2:], read.__qualname__])
                found.setdefault(title, (name, application))
    return found


def readers(name: str) -> Mapping[str, Reader]:
    """The functions that read a file of the corpus, by what they are for."""
    from unrolling.files.movies import read_movie
    from unrolling.files.rasters import read_raster
    from unrolling.files.scans import read_scan
    from unrolling.files.stacks import moments, read_stack

    def known_pixels(path: Path) -> Any:
        found = read_raster(path)
        return found.values[:, found.valid]

    named = _named()
    stem, suffix = Path(name).stem, Path(name).suffix
    if stem in named:
        return {stem: named[stem]}
    likes = {".pbm": ".png", ".w64": ".wav", ".au": ".wav", ".caf": ".wav"}  # named one by one, they are read too
    suffix = likes.get(suffix, suffix)
    general: dict[str, Reader] = {"files.scans.read_scan": read_scan} if name in scans() else {}
    if name in stacks():
        general = {"files.stacks.moments": lambda path: moments(read_stack(path))}
    if name in movies():
        general = {"files.movies.read_movie": read_movie}
    if name in rasters():
        general = {"files.rasters.read_raster": known_pixels}
    return general | {
        title: lambda path, read=application.read: _whole(read(path, {}))
        for title, (_, application) in applications().items()
        if suffix in application.suffixes
    }


@cache
def _named() -> Mapping[str, Reader]:
    from unrolling.export import load
    from unrolling.report.collection import read_comparison
    from unrolling.systems.communications._sequences import _pilots
    from unrolling.tasks.communications import read_channels, read_taps
    from unrolling.tasks.medical import read_mask
    from unrolling.tasks.sparse import read_dictionary
    from unrolling.training.weights import read_weights

    return {
        "mask": lambda path: read_mask(path, (8, 8)),
        "channels": read_channels,
        "taps": read_taps,
        "dictionary": read_dictionary,
        "pilots": _pilots,
        "weights": read_weights,
        "comparison": lambda path: (read_comparison(path), None)[1],  # scores may be missing, and are NaN then
        "program": lambda path: (load(path), None)[1],
    }


def _whole(content: Any) -> Any:
    """What is read in pieces, whole."""
    from unrolling.files.scan import Scan
    from unrolling.files.sound import reading
    from unrolling.files.sound_input import Sound

    if isinstance(content, Scan):
        return content.part(range(content.count))
    if isinstance(content, Sound):
        with reading(content.path, content.form) as reader:
            return reader.piece(0, content.form.samples)
    return content


def draw(seed: int, number: int, programs: bool = True) -> tuple[str, str, bytes]:
    """What a file was, the name that it has now, and what is in it."""
    rng = random.Random(f"{seed} {number}")
    files = corpus(programs)
    slow = [name for name in files if name.startswith("program")]
    names = slow if slow and rng.random() < 1 / SLOW else [name for name in files if name not in slow]
    name = rng.choice(names)
    mutant = mutated(files[name], rng.getrandbits(32), [files[other] for other in rng.sample(sorted(files), 3)])
    known = sorted({Path(each).suffix for each in files})
    return name, f"{Path(name).stem}-{number}{renamed(Path(name).suffix, known, rng.getrandbits(32))}", mutant


def check_file(seed: int, number: int, folder: Path, peak: Peak, programs: bool = True) -> tuple[str, Find | None, int]:
    """One file.

    Args:
        seed: of the run.
        number: of the file in it.
        folder: for the file.
        peak: of this process.
        programs: whether exported programs are among the files.

    Returns:
        What became of it (read or refused), what was found, and the memory that it took.
    """
    name, now, content = draw(seed, number, programs)
    ways = readers(name)
    title = random.Random(f"{seed} {number} reader").choice(sorted(ways))
    path = folder / now
    path.write_bytes(content)
    try:
        return judge(path, f"{title} of {name}", ways[title], peak)
    finally:
        path.unlink(missing_ok=True)


def judge(path: Path, where: str, read: Reader, peak: Peak) -> tuple[str, Find | None, int]:
    """A file as it is read: finite values, or an error that names it."""
    find, decoded, fate = None, 0, "read"
    peak.begin()
    try:
        with within(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(path)
            decoded = sum(array.nbytes for array in arrays(found))
            if bad := not_finite(found):
                find = Find("values", where, bad)
    except HangError as error:
        find = Find("hang", where, str(error))
    except ValueError as error:
        fate = "refused"
        if str(path) not in str(error) or "\n" in str(error):
            find = Find("exception", where, words(error))
    except Exception as error:
        find = Find("exception", where, words(error))
    taken = peak.end()
    if find is None and taken > MEMORY + TIMES * decoded:
        find = Find("memory", where, f"{taken >> 20} MiB for {decoded >> 20} MiB that were decoded")
    return fate, find, taken


def saved(array: Any) -> bytes:
    """An array as a ``.npy`` file."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()
