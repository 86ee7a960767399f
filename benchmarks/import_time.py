"""What `import unrolling` and its engine cost beyond `import torch`, and what the command line takes to answer, each in
fresh processes. Bars: 0.05 s; 0.5 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

CODE = (
    "import time; a = time.perf_counter(); import torch; b = time.perf_counter(); import unrolling; "
    "c = time.perf_counter(); unrolling.unroll; print(b - a, c - b, time.perf_counter() - b)"
)
START = "import sys; sys.argv[0] = 'unroll'; from unrolling.cli.main import main; main()"
COMPLETE = {"_UNROLL_COMPLETE": "complete_bash", "COMP_WORDS": "unroll show lis", "COMP_CWORD": "2"}
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "unroll --help": (["--help"], {}),
    "unroll list": (["list"], {}),
    "completion": ([], COMPLETE),
}


def seconds_of(words: list[str], environment: dict[str, str]) -> float:
    """Of a command in a fresh process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", START, *words], capture_output=True, check=True, env={**os.environ, **environment}
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines = [
        subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(options.runs)
    ]
    torch_seconds, ours, engine = (statistics.median(float(line[i]) for line in lines) for i in range(3))
    commands = {
        name: statistics.median(seconds_of(*command) for _ in range(options.runs)) for name, command in COMMANDS.items()
    }
    if options.json:
        row = {"torch": torch_seconds, "unrolling": ours, "engine": engine, **commands}
        print(json.dumps({"benchmark": "import_time", "rows": [row]}, indent=1))
        return
    print(f"import torch {torch_seconds:.2f} s, import unrolling {ours:.3f} s more, its engine {engine:.3f} s")
    for name, seconds in commands.items():
        print(f"{name}: {seconds:.2f} s")
    print(f"medians of {options.runs}")


if __name__ == "__main__":
    main()
