"""Large pictures: memory and time of ``unroll apply imaging/denoise`` on pictures of 12 megapixels, grey and colour,
with the level estimated, beside BM3D.

Bar: under 2 GB at the peak (``resource``'s maximum resident set of the process).

A photograph is repeated by mirroring and noise of 25 of 255 is added. BM3D (package bm3d, a row where it is installed)
runs on one megapixel, grey and colour; its time goes with the pixels. Seconds are the processor's, those of the network
with the start of the process (imports and files) and, once a minute has been spent, with compiling (--compile never
leaves that out).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.image_methods import Row, line
from benchmarks.record import options, publish, start
from unrolling.tasks.images import sources as images

LEVEL, BAR, KINDS = 25.0, 2.0, ["grey", "colour"]
RIVAL = """
import sys, time
import numpy as np
from PIL import Image
from unrolling.tasks.images._library import block_matching
picture = np.asarray(Image.open(sys.argv[1])) / 255
begun = time.process_time()
block_matching(picture, float(sys.argv[2]) / 255)
print(time.process_time() - begun)
"""


def noisy(megapixels: float, colour: bool) -> np.ndarray:
    """A picture of 4 to 3 sides, 8 bits."""
    photograph = images.photograph("china", images.colours if colour else None).numpy()
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    wider = [(0, 0)] * (photograph.ndim - 2)
    wider += [(0, side - had) for side, had in zip((height, width), photograph.shape[-2:], strict=True) if side > had]
    if len(wider) == photograph.ndim:
        photograph = np.pad(photograph, wider, mode="symmetric")
    picture = np.moveaxis(photograph[..., :height, :width], 0, -1) if colour else photograph[:height, :width]
    noise = np.random.default_rng(0).standard_normal(picture.shape, dtype=np.float32)
    return ((picture * 255 + LEVEL * noise).clip(0, 255) + 0.5).astype(np.uint8)


# A process counts the memory of the one that it was forked from as its own: a small one starts it.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def measured(command: list[str]) -> tuple[str, float, float]:
    """What a process wrote, its seconds of the processor, and its largest memory in GB.

    Raises:
        SystemExit: it failed.
    """
    launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    *text, last = subprocess.run(launched, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    code, seconds, peak = last.split()
    if int(code):
        raise SystemExit(f"{' '.join(command)} failed with {code}")
    return "\n".join(text), float(seconds), float(peak) * (1 if sys.platform == "darwin" else 1024) / 1e9


def rows_of(kinds: list[str], megapixels: float, rival: float, words: list[str]) -> list[Row]:
    """Of each kind of picture; words are further ones of the command."""
    from PIL import Image

    rows: list[Row] = []
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            source, result = Path(folder) / "a.png", Path(folder) / "b.png"
            Image.fromarray(noisy(megapixels, kind == "colour")).save(source, compress_level=1)
            command = [sys.executable, "-m", "unrolling.cli.main", "apply", "imaging/denoise", str(source)]
            _, seconds, peak = measured([*command, "-o", str(result), "--quiet", *words])
            row = {"part": "large", "set": f"{megapixels:g} megapixels, {kind}"}
            more = {"seconds": seconds / megapixels, "gigabytes": peak, "value": peak, "bar": BAR, "better": "low"}
            rows.append({**row, "method": "unroll apply imaging/denoise, a megapixel", **more})
            if find_spec("bm3d") is not None and rival > 0:
                Image.fromarray(noisy(rival, kind == "colour")).save(source, compress_level=1)
                text, _, peak = measured([sys.executable, "-c", RIVAL, str(source), str(LEVEL)])
                row = {"part": "large", "set": f"{rival:g} megapixels, {kind}", "method": "BM3D, a megapixel"}
                rows.append({**row, "seconds": float(text) / rival, "gigabytes": peak})
    return rows


def main() -> None:
    parser = options(__doc__, seconds=5.0, threads=1)
    parser.add_argument("--kind", choices=KINDS, action="append", help="grey or colour; both by default")
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--rival", type=float, default=1.0, help="megapixels for BM3D; 0 leaves it out")
    parser.add_argument("--compile", default="auto", help="as of unroll apply: compiled after a minute by default")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    given = parser.parse_args()
    start(given)
    words = ["--threads", str(given.threads), "--compile", given.compile]
    words += ["--weights", str(given.weights)] if given.weights is not None else []
    rows = rows_of(given.kind or KINDS, given.megapixels, given.rival, words)
    publish("large_pictures", given, rows, line)


if __name__ == "__main__":
    main()
