"""Runs every benchmark in a process of its own, keeps their JSON in a folder named by the time, and writes the page of
all runs; `make bench`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import history

ALL = (
    "import_time",
    "soft_threshold",
    "support_selection",
    "engine_overhead",
    "gradient_rules",
    "training_step",
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
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
        (folder / f"{name}.json").write_text(done.stdout)
        print(done.stdout, flush=True)
        if done.returncode:
            failed.append(name)
    print(history.write(options.out))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
