"""Folders of damaged files, worked on by the command line: the rest is always done, and the status is right."""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.fuzz.files import corpus
from tools.fuzz.mutations import mutated
from tools.fuzz.watch import MEMORY, TIMES, Find, HangError, Peak, not_finite, within

SIZE = 50
# A system for each way to read files, and what it is given.
SYSTEMS: Mapping[str, Callable[[str], bool]] = {
    "imaging/tnrd": lambda name: name.endswith(
        (".png", ".jpg", ".tif", ".bmp", ".webp", ".gif", ".ppm", ".jp2", ".avif")
    ),
    "imaging/tnrd_jpeg": lambda name: name.endswith(".jpg") and "cmyk" not in name,
    "imaging/tnrd_sr": lambda name: name.endswith((".png", ".jpg", ".tif")),
    "medical/admm_csnet": lambda name: name == "kspace.npy",
    "communications/ep_net": lambda name: name == "received.npz",
    "communications/viterbinet": lambda name: name in ("sequences.npy", "fortran.npy"),
    "speech/deep_nmf": lambda name: name.endswith((".wav", ".flac", ".ogg", ".aiff")),
}
OPTIONS = {"communications/ep_net": ["--plain"], "communications/viterbinet": ["--taps", "1,0.6,0.36,0.2"]}


def check_folder(seed: int, number: int, folder: Path, peak: Peak, size: int = SIZE) -> tuple[int, list[Find], int]:
    """A folder of damaged files with a whole one first and last.

    Returns:
        How many could not be done, what was found, and the memory that they took.
    """
    rng = random.Random(f"{seed} {number} folder")
    system = sorted(SYSTEMS)[number % len(SYSTEMS)]
    files = {name: content for name, content in corpus().items() if SYSTEMS[system](name)}
    inside, outside = folder / "in", folder / "out"
    inside.mkdir()
    whole = []
    for place in range(size):
        name = rng.choice(sorted(files))
        good = place in (0, size - 1)
        path = inside / f"{place:03d}-{name}"
        path.write_bytes(files[name] if good else mutated(files[name], rng.getrandbits(32)))
        whole += [path] if good else []
    peak.begin()
    said, errors = io.StringIO(), io.StringIO()
    try:
        with within(10 * size), contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            status = run(["apply", system, str(inside), "-o", str(outside), "--json", *OPTIONS.get(system, [])])
    except HangError as error:
        return 0, [Find("hang", system, str(error))], peak.end()
    taken = peak.end()
    try:
        results = json.loads(said.getvalue())["files"]
    except (ValueError, KeyError):
        return 0, [Find("folder", system, f"status {status}: {errors.getvalue()[-300:]}")], taken
    failed = [each for each in results if "error" in each]
    finds = [Find("folder", system, text) for text in judged(results, status, whole, errors.getvalue(), size)]
    decoded = 0
    for each in results:
        for output in each.get("outputs", ()):
            values = read_output(Path(output))
            decoded = max(decoded, values.nbytes)
            if bad := not_finite(values):
                finds.append(Find("values", system, f"{each['input']}: {bad}"))
        if each.get("elapsed", 0) > 10:
            finds.append(Find("hang", system, f"{Path(each['input']).name} took {each['elapsed']} s"))
    if taken > MEMORY + TIMES * decoded:
        finds.append(Find("memory", system, f"{taken >> 20} MiB for outputs of up to {decoded >> 20} MiB"))
    return len(failed), finds, taken


def judged(results: list[dict], status: int, whole: list[Path], errors: str, size: int) -> list[str]:
    """What is wrong with a run over a folder."""
    failed = {Path(each["input"]) for each in results if "error" in each}
    found = []
    if len(results) != size:
        found.append(f"{len(results)} of {size} files are spoken of")
    if status != (1 if failed else 0):
        found.append(f"the exit status is {status} where {len(failed)} files failed")
    if "Traceback" in errors:
        found.append(f"a traceback: {errors[errors.index('Traceback') :][-400:]}")
    for path in whole:
        if path in failed:
            text = next(each["error"] for each in results if Path(each["input"]) == path)
            found.append(f"{path.name}, which is whole, was not done: {text}")
    for each in results:
        if "error" in each and each["input"] not in each["error"]:
            found.append(f"the error does not name {Path(each['input']).name}: {each['error'][:200]}")
        missing = [output for output in each.get("outputs", ()) if not Path(output).is_file()]
        found += [f"{output} was not written" for output in missing]
    return found


def run(arguments: list[str]) -> int:
    """The command line in this process; its exit status."""
    from unrolling.cli.main import main

    before = sys.argv
    sys.argv = ["unroll", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return 0


def read_output(path: Path):
    """The values in a file that was written."""
    import numpy as np

    from unrolling.files import pictures, sound

    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix in pictures.SUFFIXES:
        return pictures.read(path).pixels.numpy()
    return sound.read(path).samples.numpy()
