"""What is done to a run in ``benchmarks.interruptions``: kills, full disks, a second run, damaged checkpoints."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from unrolling.files.lock import NAME
from unrolling.training import files
from unrolling.training.checkpoints import PATTERN
from unrolling.training.weights import read_weights

Row = dict[str, object]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """A run of its own process."""
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and its last words."""
    _, errors = process.communicate()
    words = [line for line in errors.splitlines() if line.startswith("unroll: ")] or errors.splitlines()[-1:]
    return process.returncode, "Traceback" if "Traceback" in errors else " ".join(words)


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights to the bit."""
    left, right = (read_weights(folder / "weights.safetensors")[0] for folder in (one, other))
    return left.keys() == right.keys() and all(left[key].equal(right[key]) for key in left)


def whole(folder: Path) -> bool:
    """Whether every checkpoint and all weights in a folder can be read."""
    for path in (*folder.glob(PATTERN), *folder.glob("weights*.safetensors")):
        try:
            files.read(path)
        except ValueError:
            return False
    return True


def _row(what: str, count: int, outcomes: Sequence[bool], words: Sequence[str], seen: str) -> Row:
    lost = sum(not good for good in outcomes)
    return {"fault": what, "times": count, "lost": lost, "tracebacks": words.count("Traceback"), "then": seen}


def kills(
    command: Callable[[Path], list[str]], reference: Path, out: Path, count: int, seconds: float, seed: int
) -> Row:
    """SIGKILL at random moments, of one run after another until as many have hit."""
    moments, good, ended, hit = random.Random(seed), [], 0, 0
    while hit < count:
        process = start(command(out))
        time.sleep(moments.uniform(0.1, seconds))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hit += 1
            process.communicate()
            good.append(whole(out))
            continue
        process.communicate()
        good.append(same(out, reference))
        ended += 1
        shutil.rmtree(out)
    status, words = finish(start(command(out)))
    good.append(status == 0 and same(out, reference))
    return _row("SIGKILL", count, good, [words], f"the same to the bit, {ended + 1} runs through to their end")


def full_disks(
    command: Callable[[Path], list[str]], reference: Path, out: Path, count: int, seconds: float, seed: int
) -> Row:
    """A file may not grow beyond a number of bytes from a random moment on; then the disk has room again."""
    import resource

    moments, good, words = random.Random(seed), [], []
    for number in range(count):
        folder = out / str(number)
        process = start(command(folder))
        time.sleep(moments.uniform(0.0, 0.8 * seconds))
        limit = moments.choice((0, 100, 5_000, 50_000))
        if process.poll() is None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        status, said = finish(process)
        words.append(said)
        held = whole(folder) if folder.exists() else True
        again, _ = finish(start(command(folder)))
        good.append(status in (0, 2) and held and again == 0 and same(folder, reference))
    return _row("full disk", count, good, words, "exit status 2, the same command then went on to the same weights")


def second_run(command: Callable[[Path], list[str]], reference: Path, out: Path) -> Row:
    """A second run in the folder of one that is at work."""
    first = start(command(out))
    while not (out / NAME).exists() and first.poll() is None:
        time.sleep(0.02)
    status, said = finish(start(command(out)))
    refused = status == 2 and f"in use by process {first.pid}" in said
    ended, words = finish(first)
    return _row("second run", 1, [refused and ended == 0 and same(out, reference)], [said, words], said)


def _flipped(place: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return damage


def _replaced(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _in_half(path: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    save_file({n: t.half() if t.dtype == torch.float32 else t for n, t in tensors.items()}, path, metadata)


def _swapped(path: Path) -> None:
    older = sorted(path.parent.glob(PATTERN))[-2]
    content = path.read_bytes()
    path.write_bytes(older.read_bytes())
    older.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut off": _replaced(lambda content: content[: len(content) // 2]),
    "empty": _replaced(lambda content: b""),
    "a bit of the header's length": _flipped(0.0),
    "a bit of the header": _flipped(0.001),
    "a bit of a tensor": _flipped(0.7),
    "the last bit": _flipped(1.0),
    "garbage": _replaced(lambda content: random.Random(0).randbytes(5000)),
    "another format": _replaced(lambda content: b"PK\x03\x04" + content),
    "another dtype": _in_half,
    "a folder of its name": _folder,
    "the two newest, each under the other's name": _swapped,
}


def damages(command: Callable[[Path], list[str]], reference: Path, out: Path) -> list[Row]:
    """The newest of two checkpoints damaged in each way: the run goes on from the older one, or is refused in words."""
    base = out / "base"
    process = start(command(base))
    while len(list(base.glob(PATTERN))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    rows = []
    for name, damage in DAMAGES.items():
        folder = out / name.replace(" ", "-")
        shutil.copytree(base, folder)
        damage(max(folder.glob(PATTERN)))
        status, said = finish(start(command(folder)))
        resumed = status == 0 and same(folder, reference)
        refused = status == 2 and "Traceback" not in said and not (folder / "weights.safetensors").exists()
        outcome = "the same to the bit" if resumed else f"refused: {said[-90:]}"
        rows.append(_row(f"newest checkpoint: {name}", 1, [resumed or refused], [said], outcome))
    return rows
