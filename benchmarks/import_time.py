"""What `import unrolling` costs beyond `import torch`, in fresh processes. Bar: 0.2 s."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

CODE = (
    "import time; a = time.perf_counter(); import torch; b = time.perf_counter(); import unrolling; print(b - a, "
    "time.perf_counter() - b)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines = [
        subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(options.runs)
    ]
    torch_seconds, ours = (statistics.median(float(line[i]) for line in lines) for i in (0, 1))
    if options.json:
        print(json.dumps({"benchmark": "import_time", "rows": [{"torch": torch_seconds, "unrolling": ours}]}, indent=1))
    else:
        print(f"import torch {torch_seconds:.2f} s, import unrolling {ours:.3f} s more (medians of {options.runs})")


if __name__ == "__main__":
    main()
