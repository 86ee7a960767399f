"""``python -m tools.fuzz``."""

from __future__ import annotations

import argparse
import collections
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

PARTS = ("files", "folders", "calls")
FOLDER = 50  # files in a folder
SILENCE = 120  # seconds after which a process hangs, whatever its alarm does; a folder takes that long
SHARE = {"files": 0.6, "folders": 0.1, "calls": 0.3}


@dataclass
class Worker:
    """A process and what it has to do."""

    part: str
    seed: int
    begin: int
    end: int
    step: int
    process: Any = None
    last: int = -1  # the input that it is at
    heard: float = 0.0
    rest: bytes = b""

    def start(self) -> None:
        """From ``begin`` on."""
        command = [sys.executable, "-m", "tools.fuzz.worker", self.part]
        command += map(str, (self.seed, self.begin, self.end, self.step))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self.heard, self.last, self.rest = time.monotonic(), -1, b""

    def lines(self, wait: float) -> list[dict[str, Any]] | None:
        """What it has said; None where it has ended."""
        if not select.select([self.process.stdout], [], [], wait)[0]:
            return []
        content = os.read(self.process.stdout.fileno(), 1 << 16)
        if not content:
            return None
        self.heard = time.monotonic()
        *whole, self.rest = (self.rest + content).split(b"\n")
        return [json.loads(line) for line in whole]


@dataclass
class Tally:
    """What has been counted."""

    fates: dict[str, collections.Counter[str]] = field(
        default_factory=lambda: {p: collections.Counter() for p in PARTS}
    )
    taken: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    finds: list[tuple[str, int, list[str]]] = field(default_factory=list)
    seen: collections.Counter[str] = field(default_factory=collections.Counter)

    def add(self, part: str, number: int, find: list[str] | None) -> None:
        """A find, printed the first three times that it comes."""
        if find is None:
            return
        self.finds.append((part, number, find))
        kind = f"{part} {find[0]} {find[1].split()[0]} {find[2].rpartition('[')[2][:60]}"
        self.seen[kind] += 1
        if self.seen[kind] <= 3:
            print(f"{part}: {find[0]}: {find[1]}: {find[2]}", flush=True)


def main() -> None:
    """Runs processes until all inputs are done or the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000, help="inputs in all")
    parser.add_argument("--seconds", type=float, default=600, help="after which no more are begun")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be given twice")
    parser.add_argument("--from", type=int, default=0, dest="begin", help="the first input, to repeat one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    parts = given.only or PARTS
    tally, started = Tally(), time.monotonic()
    total = sum(SHARE[part] for part in parts)
    queue = []
    for part in parts:
        count = round(given.count * SHARE[part] / total)
        count = max(1, count // FOLDER) if part == "folders" else count
        jobs = 1 if part == "folders" else max(1, min(given.jobs, count // 50))
        queue += [Worker(part, given.seed, given.begin + k, given.begin + count, jobs) for k in range(jobs)]
    running: list[Worker] = []
    while queue or running:
        over = time.monotonic() - started > given.seconds
        while queue and len(running) < given.jobs and not over:
            running.append(queue.pop(0))
            running[-1].start()
        if over:
            queue.clear()
        for worker in list(running):
            if not watch(worker, tally, over):
                running.remove(worker)
    sys.exit(report(tally, given.seed, time.monotonic() - started))


def watch(worker: Worker, tally: Tally, over: bool) -> bool:
    """Hears what a process has to say, and starts it anew after an input that ended it; whether it goes on."""
    said = worker.lines(0.05)
    silent = time.monotonic() - worker.heard > SILENCE * (5 if worker.part == "folders" else 1)
    if over or silent:
        worker.process.kill()
        worker.process.wait()
        if silent:
            tally.add(worker.part, worker.last, ["hang", "the process", f"nothing for {SILENCE} s"])
            return _again(worker)
        return False
    if said is None:
        status = worker.process.wait()
        tally.add(worker.part, worker.last, ["crash", "the process", f"ended with status {status}"])
        return _again(worker)
    for line in said:
        if "begin" in line:
            worker.last = line["begin"]
        elif "end" in line:
            worker.process.wait()
            return False
        else:
            tally.fates[worker.part][line["fate"]] += line["count"]
            tally.taken[worker.part] = max(tally.taken[worker.part], line["taken"])
            tally.add(worker.part, line["number"], line["find"])
    return True


def _again(worker: Worker) -> bool:
    if worker.last < 0:  # not even begun
        return False
    worker.begin = worker.last + worker.step
    if worker.begin >= worker.end:
        return False
    worker.start()
    return True


def report(tally: Tally, seed: int, seconds: float) -> int:
    """Prints the table and how each find is repeated; the exit status."""
    print(f"\n{'part':<10}{'inputs':>8}{'done':>8}{'refused':>9}{'finds':>7}{'peak MiB':>10}")
    for part in PARTS:
        fates = tally.fates[part]
        if inputs := sum(fates.values()):
            finds = sum(find[0] == part for find in tally.finds)
            peak = tally.taken[part] >> 20
            print(f"{part:<10}{inputs:>8}{inputs - fates['refused']:>8}{fates['refused']:>9}{finds:>7}{peak:>10}")
    print(f"{seconds:.0f} s, seed {seed}")
    for part, number, find in tally.finds[:40]:
        again = f"python -m tools.fuzz --only {part} --seed {seed} --from {number} --count 1"
        print(f"{again}  # {find[0]}: {find[1]}")
    if not any(sum(fates.values()) for fates in tally.fates.values()):
        print("nothing was tried: the processes did not begin")
        return 1
    return 1 if tally.finds else 0


if __name__ == "__main__":
    main()
