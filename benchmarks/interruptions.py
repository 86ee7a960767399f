"""A training killed with SIGKILL at random moments and taken up again, on disks that fill, beside a second run in the
same folder, and from checkpoints that are damaged: is a result lost, and are the final weights those of a run that was
left alone, to the bit?

Also two processes against one with the same global batch: the largest relative difference of a learned tensor after 100
steps. Bars: nothing lost, identical or refused in words; 1e-5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import faults
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


def _command(steps: int, more: Sequence[str], out: Path) -> list[str]:
    return command("sparse_coding/lista", steps, out, *more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--disks", type=int, default=7, help="that fill")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--processes", action=argparse.BooleanOptionalAction, default=True, help="two against one too")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[faults.Row] = []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        for number, schedule in enumerate(("", "grow-then-refine")):
            more = ("--schedule", schedule) if schedule else ()
            made = partial(_command, options.steps, more)
            reference = folder / f"whole{number}"
            begin = time.monotonic()
            run(made(reference))
            seconds = time.monotonic() - begin
            name, at = schedule or "its own schedule", folder / str(number)
            count = options.kills // 2 + (options.kills % 2) * (1 - number)
            found = [faults.kills(made, reference, at / "killed", count, seconds, options.seed + number)]
            if schedule:
                found.append(faults.full_disks(made, reference, at / "full", options.disks, seconds, options.seed))
                found.append(faults.second_run(made, reference, at / "second"))
                found += faults.damages(made, reference, at / "damaged")
            rows += [{"schedule": name, **row} for row in found]
            print(*rows[-len(found) :], sep="\n", file=sys.stderr)
        if options.processes:
            for number, system in enumerate(("sparse_coding/lista", "sparse_coding/lcod")):
                rows.append(processes(system, folder / f"processes{number}"))
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
