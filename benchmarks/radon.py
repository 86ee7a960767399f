"""The Radon transform and its adjoint at 256 x 256 pixels: processor time of one, memory, time to make the matrices,
beside ASTRA's projectors on the processor, its matrix in SciPy, and scikit-image.

Bars: 60 parallel views of 367 bins at most 12 ms forward and 11 ms adjoint, and no more than ASTRA's time.

ASTRA is taken from this environment, or from another Python that ``--astra PYTHON`` names, which needs numpy, scipy and
astra-toolbox and nothing else. Times are those of the process, so that a busy machine changes them little.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.record import options, publish, start
from unrolling.operators import FanBeam, FilteredBackProjection, ParallelBeam, Radon

SIZE, VIEWS = 256, 60
BARS = {"forward": 12.0, "adjoint": 11.0}  # ms
# Runs in a Python that has ASTRA: reads the seconds and the slice's side, writes milliseconds by name.
ASTRA = """
import json, math, statistics, sys, time
import astra, numpy as np
seconds, size, views = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
image = np.random.default_rng(0).random((size, size), dtype=np.float32)
volume = astra.create_vol_geom(size, size)
def timed(call):
    call(); times = []; begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times) < 5:
        t = time.process_time(); call(); times.append(time.process_time() - t)
    return 1e3 * statistics.median(times)
found = {"version": astra.__version__}
for beam in ("parallel", "fan"):
    if beam == "parallel":
        angles = np.arange(views) * math.pi / views
        geometry, kind = astra.create_proj_geom("parallel", 1.0, 367, angles), "linear"
    else:
        angles = np.arange(views) * 2 * math.pi / views
        geometry, kind = astra.create_proj_geom("fanflat", 2.0, 375, angles, 3.0 * size, 3.0 * size), "line_fanflat"
    projector = astra.create_projector(kind, geometry, volume)
    one, two = astra.data2d.create("-vol", volume, image), astra.data2d.create("-sino", geometry, 0)
    for name, algorithm in (("forward", "FP"), ("adjoint", "BP")):
        config = astra.astra_dict(algorithm)
        config["ProjectorId"], config["ProjectionDataId"] = projector, two
        config["VolumeDataId" if algorithm == "FP" else "ReconstructionDataId"] = one
        run = astra.algorithm.create(config)
        found[f"{beam} {name}"] = timed(lambda: astra.algorithm.run(run))
    matrix = astra.matrix.get(astra.projector.matrix(projector)).tocsr().astype(np.float32)
    vector = image.ravel()
    found[f"{beam} SciPy forward"] = timed(lambda: matrix @ vector)
print(json.dumps(found))
"""


def milliseconds(call: Callable[[], object], seconds: float) -> float:
    """Median processor time."""
    call()
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times) < 5:
        before = time.process_time()
        call()
        times.append(time.process_time() - before)
    return 1e3 * statistics.median(times)


def measure(seconds: float, astra: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each product, with a bar where there is one."""
    rows: list[dict[str, Any]] = []
    geometries = {
        "parallel": ParallelBeam([math.pi * k / VIEWS for k in range(VIEWS)], 367, SIZE),
        "fan": FanBeam.even(VIEWS, SIZE),
    }
    for beam, geometry in geometries.items():
        radon, fbp = Radon(geometry), FilteredBackProjection(geometry)
        before = time.process_time()
        x = torch.rand(1, SIZE, SIZE)
        y = radon(x)
        radon.adjoint(y)
        built = time.process_time() - before
        eight = x.expand(8, -1, -1).contiguous()
        with torch.no_grad():
            calls = {
                "forward": lambda radon=radon, x=x: radon(x),
                "adjoint": lambda radon=radon, y=y: radon.adjoint(y),
                "forward of 8": lambda radon=radon, x=eight: radon(x),
                "filtered back-projection": lambda fbp=fbp, y=y: fbp(y),
            }
            for name, call in calls.items():
                row = {"beam": beam, "product": name, "value": milliseconds(call, seconds), "bytes": radon.memory}
                if name == "forward":
                    row["build_seconds"] = built
                if beam == "parallel" and name in BARS:
                    row["bar"] = BARS[name]
                rows.append(row)
                if f"{beam} {name}" in astra:
                    other = astra[f"{beam} {name}"]
                    more = {"bar": 1.0} if beam == "parallel" else {}
                    rows.append(
                        {
                            "beam": beam,
                            "product": f"{name} over ASTRA's",
                            "ratio": row["value"] / other,
                            "astra": other,
                            **more,
                        }
                    )
        if f"{beam} SciPy forward" in astra:
            rows.append(
                {"beam": beam, "product": "forward, ASTRA's matrix in SciPy", "value": astra[f"{beam} SciPy forward"]}
            )
    return rows + _scikit_image(seconds)


def _scikit_image(seconds: float) -> list[dict[str, Any]]:
    try:
        from skimage.transform import iradon, radon
    except ImportError:
        print("scikit-image is not there: left out", file=sys.stderr)
        return []
    image, angles = np.random.default_rng(0).random((SIZE, SIZE)), np.arange(VIEWS) * 180 / VIEWS
    found = radon(image, angles, circle=False)
    calls = {
        "forward, scikit-image": lambda: radon(image, angles, circle=False),
        "filtered back-projection, scikit-image": lambda: iradon(found, angles, circle=False),
    }
    return [{"beam": "parallel", "product": name, "value": milliseconds(call, seconds)} for name, call in calls.items()]


def astra_times(python: str | None, seconds: float) -> dict[str, Any]:
    """Milliseconds by name; nothing where there is no ASTRA."""
    made = subprocess.run(
        [python or sys.executable, "-c", ASTRA, str(seconds), str(SIZE), str(VIEWS)], capture_output=True, text=True
    )
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["it failed"])[-1]
        print(f"ASTRA is left out: {last}; --astra names a Python that has it", file=sys.stderr)
        return {}
    return json.loads(made.stdout.strip().splitlines()[-1])


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    head = f"{row['beam']:9s} {row['product']:42s}"
    if "ratio" in row:
        return f"{head} {row['ratio']:8.3f} of {row['astra']:.1f} ms"
    more = f", {row['bytes'] / 1e6:.0f} MB" if row.get("bytes") else ""
    more += f", made in {row['build_seconds']:.2f} s" if "build_seconds" in row else ""
    return f"{head} {row['value']:8.2f} ms{more}"


def main() -> None:
    parser = options(__doc__, seconds=2.0, threads=1)
    parser.add_argument("--astra", metavar="PYTHON", help="that has astra-toolbox; by default this one")
    given = parser.parse_args()
    start(given)
    astra = astra_times(given.astra, given.seconds)
    rows = measure(given.seconds, astra)
    publish("radon", given, rows, line, **({"astra": astra["version"]} if astra else {}))


if __name__ == "__main__":
    main()
