"""CPU seconds of ``unroll compare SYSTEM --pretrained`` for every system, task and setting that ships weights, on one
thread, each in a process of its own.

Bars: at most 90 CPU-seconds with ``--quick`` (the default here), 300 without (``--usual``). ``--resume DIR`` keeps what
was measured, so that the same command goes on; ``--pages DIR`` keeps each ``comparison.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.recovery import kept
from benchmarks.run import completed
from tools.site.comparisons import card_settings
from unrolling.systems.catalogue import catalogue
from unrolling.training.weights import read_weights

BARS = {"quick": 90.0, "usual": 300.0}


def shipped() -> list[tuple[str, str, int, tuple[str, ...]]]:
    """(system, task, depth, further settings) of every weights file."""
    found = []
    for name, system in catalogue().items():
        for task in system.recipes:
            for path in system.weights_files(task):
                card = read_weights(path)[2]
                settings = tuple(card_settings(system, task, card))
                found.append((name, task, int(card["depth"]), settings))
    return found


def measure(
    system: str, task: str, depth: int, settings: tuple[str, ...], effort: str, data: str, pages: Path | None = None
) -> dict[str, Any]:
    """One comparison, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "unrolling.cli.main", "compare", system, "--task", task, "--pretrained"]
        command += ["--depth", str(depth), "--threads", "1", "--out", folder, *given]
        command += ["--quick"] if effort == "quick" else []
        command += ["--data", data] if data else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        page = Path(folder) / "comparison.json"
        if done.returncode or not page.is_file():
            return {"seconds": seconds, "failed": (done.stderr.strip().splitlines() or ["no page"])[-1][:300]}
        if pages is not None:
            pages.mkdir(parents=True, exist_ok=True)
            stem = "-".join((*system.split("/"), task, str(depth), *(s.replace("=", "") for s in settings)))
            shutil.copyfile(page, pages / f"{stem}.json")
        headline = json.loads(page.read_text(encoding="utf-8"))["headline"]
        return {"seconds": seconds, "headline": headline}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="systems, by names or parts of them")
    parser.add_argument("--usual", action="store_true", help="without --quick")
    parser.add_argument("--resume", type=Path, help="folder that keeps what was measured")
    parser.add_argument("--pages", type=Path, help="folder that keeps each comparison.json")
    parser.add_argument("--data", default="", help="folder with data, for tasks that have none of their own")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    effort, rows = "usual" if options.usual else "quick", []
    for system, task, depth, settings in shipped():
        if options.only and not any(part in f"{system} {task}" for part in options.only):
            continue
        key = (system, task, depth, " ".join(settings), effort)
        row = kept(
            options.resume,
            key,
            lambda s=system, t=task, d=depth, g=settings: measure(s, t, d, g, effort, options.data, options.pages),
        )
        judged = {"value": row["seconds"], "bar": BARS[effort], "better": "low"}
        rows.append({"system": system, "task": task, "depth": depth, "settings": " ".join(settings), **judged, **row})
        if not options.json:
            verdict = "failed: " + row["failed"] if "failed" in row else row["headline"]
            met = "met" if row["seconds"] <= BARS[effort] else "MISSED"
            name = " ".join((system, task, f"{depth} layers", *settings))
            print(f"{row['seconds']:6.0f} CPU s {met}  {name}: {verdict}", flush=True)
    if options.json:
        record = {"benchmark": "comparisons", "effort": effort, "threads": 1, "rows": rows}
        print(completed(json.dumps(record)), end="")


if __name__ == "__main__":
    main()
