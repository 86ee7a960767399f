"""Exports every system with its shipped weights and records what holds: ``python -m tools.export_catalogue``.

Each file is compared with its network at the ends of the sizes that it states, on silence, gaps, constants, impulses
and samples of its task. What the record has for the weights as they are is not done again; ``--again`` does it all,
``--only NAME`` some. The record is written after every file, so that the command may be stopped; the index of the
systems (``python -m unrolling.systems.index``), which tells what holds, at the end. The formats are ``torch`` and
``onnx``.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tools.convert_weights import rebuilt
from unrolling.export import export, formats
from unrolling.files.whole import write_bytes
from unrolling.systems import exports, index
from unrolling.systems.catalogue import find
from unrolling.systems.exports import Pair, example_of, real_samples

LIMIT = 120  # seconds of the processor that a file may take
TOO_LONG = "it took longer than the limit"


class OutOfTime(BaseException):
    """No ``Exception``: an export takes those that a network raises for its refusal of some sizes, and would go on."""


def network_of(pair: Pair) -> tuple[Any, Any]:
    """The network of a pair, and its task."""
    path = exports.weights_path(pair)
    if path is not None:
        return rebuilt(path)
    system = find(pair.system)
    task = system.task(pair.task)
    return system.network(system.recipes[pair.task], task).eval(), task


def measure(pair: Pair, limit: int) -> dict[str, Any]:
    """The row of a pair."""
    row: dict[str, Any] = {"of": exports.fingerprint(pair)}
    ruled_out = find(pair.system).not_exported.get(pair.task, {}).get(pair.form)
    if ruled_out:
        return row | {"holds": False, "reason": ruled_out}
    network, task = network_of(pair)
    example = example_of(task)
    draw = real_samples(task, example)
    begin = time.process_time()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGPROF, _out_of_time)
        signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        with tempfile.TemporaryDirectory(prefix="unrolling-") as folder:
            path = Path(folder) / f"network{formats[pair.form].suffix}"
            done = export(network, path, example, format=pair.form, draw=draw)
        sizes = {name: [*ends, done.sizes_compared.get(name, [])] for name, ends in done.sizes.items()}
        row |= {"holds": True, "error": float(f"{done.max_relative_error:.2g}"), "sizes": sizes}
        row |= {"own_rounding": float(f"{done.own_rounding:.2g}")} if done.own_rounding else {}
    except (Exception, OutOfTime) as error:  # whatever came between: it is what the row says
        row |= {"holds": False, "reason": f"{type(error).__name__}: {error}"[:600]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return row | {"seconds": round(time.process_time() - begin, 1)}


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTime(TOO_LONG)


def add(pair: Pair, row: Mapping[str, Any]) -> None:
    """A row to the record, which another command may have added to; what is no longer in the catalogue goes."""
    exports.recorded.cache_clear()
    rows = {**exports.recorded(), pair: row}
    lines = [json.dumps({"pair": pair, **rows[pair]}) for pair in exports.pairs() if pair in rows]
    write_bytes(exports.PATH, ("[\n" + ",\n".join(lines) + "\n]\n").encode())


def line(pair: Pair, row: Mapping[str, Any]) -> str:
    """A row in words."""
    name = f"{pair.system} {pair.task} {pair.weights} {pair.form}"
    if not row["holds"]:
        return f"{name}: does not hold: {row['reason']}"
    return f"{name}: holds to {row['error']:.1e}, {row['seconds']:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="systems, by name")
    parser.add_argument("--forms", nargs="*", default=list(exports.FORMS), choices=exports.FORMS)
    parser.add_argument("--again", action="store_true", help="also what the record has already")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"seconds of the processor a file; {LIMIT} by default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for pair in exports.pairs():
        if pair.form not in given.forms or (given.only and pair.system not in given.only):
            continue
        known = exports.recorded().get(pair)
        if known and known["holds"] and known["of"] == exports.fingerprint(pair) and not given.again:
            continue
        row = measure(pair, given.limit)
        if TOO_LONG not in row.get("reason", ""):  # which says nothing of the file
            add(pair, row)
        print(line(pair, row), flush=True)
    index.main()
    every, rows = list(exports.pairs()), exports.recorded()
    print(f"{sum(pair in rows and rows[pair]['holds'] for pair in every)} of {len(every)} hold, {len(rows)} are known")


if __name__ == "__main__":
    main()
