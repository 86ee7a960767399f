"""The page of LISTA on real patches: how much it weighs and how long a browser takes to open it.

Bars: under 3 MB, under a second. Uses headless Chromium where there is one; the time of an empty page is taken off,
which is the browser's own start.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGES = (("sparse_coding/lista", "codes"), ("sparse_coding/lista", "photographs"))


def opened(chromium: str, page: Path, profile: Path) -> float:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    begin = time.perf_counter()
    subprocess.run(
        [chromium, *flags, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()], capture_output=True, check=True
    )
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    rows = []
    with tempfile.TemporaryDirectory() as root:
        empty = Path(root) / "empty.html"
        empty.write_text("<!doctype html><title>empty</title>")
        for system, task in PAGES:
            folder = Path(root) / task
            command = [
                sys.executable,
                "-m",
                "unrolling.cli.main",
                "compare",
                system,
                "--task",
                task,
                "--pretrained",
                "--out",
                str(folder),
                "--json",
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            page = folder / "index.html"
            row: dict[str, object] = {"system": system, "task": task, "megabytes": page.stat().st_size / 1e6}
            if chromium is not None:
                pairs = [
                    (opened(chromium, page, Path(root) / "p"), opened(chromium, empty, Path(root) / "p"))
                    for _ in range(options.rounds)
                ]
                row |= {
                    "seconds": statistics.median(a - b for a, b in pairs),
                    "with_start": statistics.median(a for a, _ in pairs),
                }
            rows.append(row)
    if options.json:
        print(json.dumps({"benchmark": "page", "rows": rows}, indent=1))
        return
    for row in rows:
        print(
            ", ".join(
                f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )


if __name__ == "__main__":
    main()
