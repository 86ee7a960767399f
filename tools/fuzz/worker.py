"""A process of the fuzzer: it tells on its output what it begins and what it found, as lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """``worker PART SEED BEGIN END STEP``."""
    part, (seed, begin, end, step) = sys.argv[1], map(int, sys.argv[2:6])
    out = os.fdopen(os.dup(1), "w")
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # decoders and libraries speak
        os.dup2(quiet, stream)
    import torch

    from tools.fuzz.watch import Peak, limit_addresses

    torch.set_num_threads(1)
    peak = Peak()
    limit_addresses()

    def tell(**facts: object) -> None:
        print(json.dumps(facts), file=out, flush=True)

    for number in range(begin, end, step):
        tell(begin=number)
        with tempfile.TemporaryDirectory() as name:
            for fate, count, find, taken in one(part, seed, number, Path(name), peak):
                told = None if find is None else list(find)
                tell(number=number, fate=fate, count=count, find=told, taken=taken)
    tell(end=True)
    with contextlib.suppress(OSError):
        out.close()
    os._exit(0)  # not through the ends of libraries, some of which damaged files upset


def one(part: str, seed: int, number: int, folder: Path, peak):
    """What became of an input: how it ended, how many inputs it was, what was found, the memory taken."""
    if part == "calls":
        from tools.fuzz.calls import check_call

        fate, find, taken = check_call(seed, number, peak)
        yield fate, 1, find, taken
    elif part == "folders":
        from tools.fuzz.folders import SIZE, check_folder

        failed, finds, taken = check_folder(seed, number, folder, peak)
        yield "refused", failed, None, taken
        yield "read", SIZE - failed, None, taken
        for find in finds:
            yield "read", 0, find, taken
    else:
        from tools.fuzz.files import check_file

        fate, find, taken = check_file(seed, number, folder, peak)
        yield fate, 1, find, taken


if __name__ == "__main__":
    main()
