"""Runs every benchmark in a process of its own, keeps their JSON in a folder named by the time, and writes the page of
all runs; `make bench`. What --keep adds to docs/benchmarks/results is what the site shows: commit it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import history

KEPT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "results"

ALL = (
    "import_time",
    "soft_threshold",
    "support_selection",
    "engine_overhead",
    "gradient_rules",
    "training_step",
    "radon",
    "interruptions",
    "codes",
    "recovery_time",
    "page",
    "speech",
    "export_formats",
    "peers",
    "roofline",
    "scaling",
    "precision",
)


def completed(text: str) -> str:
    """A record with the machine, the threads and how busy the machine was, where the benchmark does not say so: the
    mean number of processes that ran or waited, per core, over the last minute.
    """
    from unrolling.evaluation.measure import environment

    record = json.loads(text)
    rows = record.pop("rows")
    record.setdefault("machine", environment(0))
    record.setdefault("torch", record["machine"]["torch"])
    record.setdefault("threads", int(os.environ.get("OMP_NUM_THREADS", record["machine"]["threads"])))
    if hasattr(os, "getloadavg"):
        record["load"] = round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    return json.dumps({**record, "rows": rows}, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--keep", action="store_true", help="also add the records to docs/benchmarks/results")
    parser.add_argument("only", nargs="*", help=f"some of {', '.join(ALL)}")
    options = parser.parse_args()
    unknown = set(options.only) - set(ALL)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    folder = options.out / time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    folder.mkdir(parents=True)
    failed = []
    for name in options.only or ALL:
        print(f"== {name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        text = done.stdout if done.returncode else completed(done.stdout)
        (folder / f"{name}.json").write_text(text)
        print(text, flush=True)
        if done.returncode:
            failed.append(name)
        elif options.keep:
            (KEPT / folder.name).mkdir(parents=True, exist_ok=True)
            (KEPT / folder.name / f"{name}.json").write_text(text)
    print(history.write(options.out))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
