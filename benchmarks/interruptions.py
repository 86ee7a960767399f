"""A training killed with SIGKILL at random moments and taken up again, beside one that was left alone: are the final
weights the same to the bit?

Also two processes against one with the same global batch: the largest relative difference of a learned tensor after 100
steps. Bars: identical; 1e-5.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unrolling.training.checkpoints import PATTERN
from unrolling.training.weights import read_weights

SMALL = ("--task", "recovery", "--set", "m=60", "--set", "n=120")


def command(system: str, steps: int, out: Path, *more: str) -> list[str]:
    return [
        "-m",
        "unrolling.cli.main",
        "train",
        system,
        *SMALL,
        "--depth",
        "8",
        "--steps",
        str(steps),
        "--threads",
        "1",
        "--out",
        str(out),
        *more,
    ]


def run(arguments: list[str], processes: int = 1) -> None:
    start = (
        [sys.executable]
        if processes == 1
        else [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    )
    words = arguments if processes == 1 else ["--module", *arguments[1:]]
    done = subprocess.run(
        [*start, *words], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


def kills(system: str, schedule: str, steps: int, count: int, seed: int, folder: Path) -> dict[str, object]:
    """Kill a run ``count`` times, each at a random moment of what is left of it."""
    more = ("--schedule", schedule) if schedule else ()
    begin = time.monotonic()
    run(command(system, steps, folder / "whole", *more))
    whole = time.monotonic() - begin
    moments = random.Random(seed)
    out, killed = folder / "killed", 0
    while killed < count:
        process = subprocess.Popen(
            [sys.executable, *command(system, steps, out, *more)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.1, max(0.5, 1.5 * whole / count)))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        elif killed < count and not list(out.glob(PATTERN)):
            break  # it was done before it could be killed as often as asked
    run(command(system, steps, out, *more))
    one, other = (read_weights(path / "weights.safetensors")[0] for path in (folder / "whole", out))
    return {
        "system": system,
        "schedule": schedule or "its own",
        "steps": steps,
        "kills": killed,
        "identical": all(one[k].equal(other[k]) for k in one),
    }


def processes(system: str, folder: Path) -> dict[str, object]:
    """One process and two, 100 steps."""
    run(command(system, 100, folder / "one"))
    run(command(system, 100, folder / "two"), processes=2)
    one, two = (read_weights(folder / name / "weights.safetensors")[0] for name in ("one", "two"))
    return {
        "system": system,
        "steps": 100,
        "processes": 2,
        "difference": max(float((two[k] - one[k]).norm() / one[k].norm()) for k in one),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as root:
        for number, (system, schedule) in enumerate(
            (("sparse_coding/lista", ""), ("sparse_coding/lista", "grow-then-refine"))
        ):
            rows.append(
                kills(
                    system, schedule, options.steps, options.kills, options.seed + number, Path(root) / f"kills{number}"
                )
            )
        for number, system in enumerate(("sparse_coding/lista", "sparse_coding/lcod")):
            rows.append(processes(system, Path(root) / f"processes{number}"))
    if options.json:
        print(json.dumps({"benchmark": "interruptions", "rows": rows}, indent=1))
        return
    for row in rows:
        print(
            ", ".join(
                f"{key} {value:.2g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )


if __name__ == "__main__":
    main()
