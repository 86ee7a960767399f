"""Stores the tensors of weights files in fewer bits: ``python -m tools.halve_weights FILE...`` in half precision,
with ``--bits 8`` those that have output channels in eight bits with a step for each (``training.eight_bits``).

The validation metric with them is measured first, and a file that would lose more than ``--most`` of it, 0.01 by
default in its own unit, stays as it is. The card then says what the numbers are ``stored`` as, with both values of the
metric, and what the network now does with fixed inputs. Networks calculate in single precision as before. ``--try``
measures and writes nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.convert_weights import built, list_hashes, rebuilt
from unrolling.systems.base import SUMS
from unrolling.tasks.base import evaluate
from unrolling.training import files
from unrolling.training.behaviour import behaviour
from unrolling.training.eight_bits import STEPS, packed
from unrolling.training.fingerprints import fingerprint
from unrolling.training.weights import FORMAT, LARGE

MOST = 0.01  # of the metric, in its unit, that may be lost
NAMES = {16: "float16", 8: "int8"}


def reduced(tensors: Mapping[str, Tensor], bits: int, fixed: bool = False, least: int = LARGE) -> dict[str, Tensor]:
    """Learned tensors of more than ``least`` bytes in half precision, or in eight bits where they have channels;
    ``fixed`` ones, which others may have to the bit, in half precision on request.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        learned = not name.startswith("fixed.")
        if tensor.dtype != torch.float32 or tensor.nbytes <= least or not (learned or fixed):
            found[name] = tensor
        elif bits == 8 and tensor.ndim > 1 and learned:
            found[name], found[name + STEPS] = packed(tensor)
        else:
            found[name] = tensor.half()
    return found


def scored(path: Path) -> tuple[float, Any, Any]:
    """The validation metric of a file, its network and the task."""
    network, task = rebuilt(path)
    return task.metric.value(evaluate(network, task, task.validation)), network, task


def printed(path: Path, prints: Mapping[str, Any]) -> dict[str, Any]:
    """Fingerprints of a card, those of what the parent makes made anew."""
    own = built(path)[0].fixed_tensors()
    anew = {key: own.get(key.removeprefix("fixed.")) for key, each in prints.items() if each["by"] == "parent"}
    return {
        key: {"by": "parent", **fingerprint(tensor)} if (tensor := anew.get(key)) is not None else each
        for key, each in prints.items()
    }


def halve(
    path: Path, bits: int = 16, most: float = MOST, fixed: bool = False, write: bool = True, least: int = LARGE
) -> str:
    """Rewrites a file, unless ``write`` is false; what was measured, in words.

    Raises:
        ValueError: a file that is stored in fewer bits already, numbers beyond the range of half precision, or a metric
            that falls by more than ``most``.
    """
    tensors, card = files.read(path)
    if "stored" in card:
        raise ValueError(f"{path} is stored as {card['stored']['dtype']} already")
    before = scored(path)[0]
    fewer = reduced(tensors, bits, fixed, least)
    for name, tensor in fewer.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{path}: {name} holds numbers that half precision does not")
    card = {**card, "format": FORMAT if bits == 8 else card["format"], "stored": {"dtype": NAMES[bits]}}
    with tempfile.TemporaryDirectory() as folder:
        for beside in path.parent.glob("*.shared"):
            (Path(folder) / beside.name).write_bytes(beside.read_bytes())
        trial = Path(folder) / path.name
        files.write(trial, fewer, card)
        if fixed:  # what the parent makes of them is another, too
            card = {**card, "fingerprints": printed(trial, card.get("fingerprints") or {})}
            files.write(trial, fewer, card)
        after, network, task = scored(trial)
        sizes = f"{path.stat().st_size:,} bytes, {trial.stat().st_size:,} now"
    if not task.metric.gain(after, before) > -most:
        raise ValueError(f"{path}: {task.metric.text(before)} would become {task.metric.text(after)}")
    if write:
        made = {"dtype": NAMES[bits], "metric": after, "metric in single precision": before}
        files.write(path, fewer, {**card, "stored": made, "behaviour": behaviour(network, task.example())})
        if (path.parent / SUMS).is_file():
            list_hashes(path.parent)
    return f"{path}: {before:.4f} {task.metric.unit} on validation data, {after:.4f} as {NAMES[bits]}; {sizes}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--bits", type=int, choices=sorted(NAMES), default=16)
    parser.add_argument("--most", type=float, default=MOST, help=f"{MOST} by default")
    parser.add_argument("--fixed", action="store_true", help="also what was not learned and cannot be made again")
    parser.add_argument("--least", type=int, default=LARGE, help="bytes of a tensor from which on it is worth while")
    parser.add_argument("--try", action="store_true", help="write nothing")
    given = vars(parser.parse_args())
    for path in given["files"]:
        print(halve(path, given["bits"], given["most"], given["fixed"], not given["try"], given["least"]), flush=True)


if __name__ == "__main__":
    main()
