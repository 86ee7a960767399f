"""What benchmarks have in common: their options, the device, and the record of a run as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Rows = Sequence[Mapping[str, Any]]


def options(doc: str | None, *, seconds: float, threads: int = 2) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes; it may be given more.

    Args:
        doc: the benchmark's docstring.
        seconds: measured for each row, by default.
        threads: of the processor, by default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=seconds, help=f"measured for each row; {seconds:g} by default")
    parser.add_argument("--threads", type=int, default=threads, help=f"of the processor; {threads} by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--json",
        nargs="?",
        type=Path,
        const=Path("-"),
        metavar="FILE",
        help="write JSON, on the standard output without a file",
    )
    return parser


def start(given: argparse.Namespace) -> torch.device:
    """The device, with the threads set.

    Raises:
        SystemExit: CUDA was asked for, and there is none.
    """
    torch.set_num_threads(given.threads)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch sees no CUDA device here; it was not measured")
    return torch.device(given.device)


def waiter(device: torch.device) -> Callable[[], object] | None:
    """Waits for the device's own work; None where there is nothing to wait for."""
    return torch.cuda.synchronize if device.type == "cuda" else None


def publish(
    name: str, given: argparse.Namespace, rows: Rows, line: Callable[[Mapping[str, Any]], str], **more: Any
) -> None:
    """Print the rows, or write them as JSON with the machine that they were measured on.

    Rows hold plain values. A number that a bar is set for is called ``ratio`` or ``value``, beside ``bar`` and
    ``better`` (``low`` or ``high``).

    Args:
        name: of the benchmark.
        given: its options.
        rows: one per measurement.
        line: a row as text.
        more: what was found out about the run as a whole.
    """
    from unrolling.evaluation.measure import environment

    if given.json is None:
        for key, value in more.items():
            print(f"{key.replace('_', ' ')}: {value}")
        for row in rows:
            print(line(row) + verdict(row))
        return
    record = {
        "benchmark": name,
        "threads": given.threads,
        "torch": torch.__version__,
        "machine": environment(0, given.device),
        **more,
        "rows": list(rows),
    }
    text = json.dumps(record, indent=1)
    if str(given.json) == "-":
        print(text)
    else:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text + "\n")


def met(row: Mapping[str, Any]) -> bool | None:
    """Whether a row meets its bar; None where it has none."""
    if row.get("bar") is None:
        return None
    value = row["value"] if "value" in row else row["ratio"]
    return value <= row["bar"] if row.get("better", "low") == "low" else value >= row["bar"]


def verdict(row: Mapping[str, Any]) -> str:
    """What a line ends with where its row has a bar."""
    if (held := met(row)) is None:
        return ""
    return (
        f"  (bar: {'at most' if row.get('better', 'low') == 'low' else 'at least'} {row['bar']:g}, "
        f"{'met' if held else 'MISSED'})"
    )
