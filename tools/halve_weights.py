"""Stores learned tensors of weights files in half precision: ``python -m tools.halve_weights FILE...``.

The validation metric with them is measured first, and a file that would lose more than a hundredth of a decibel, or of
its metric, stays as it is. The card then says ``stored: float16``, with both values of the metric, and what the network
now does with fixed inputs. Networks calculate in single precision as before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tools.convert_weights import rebuilt
from unrolling.tasks.base import evaluate
from unrolling.training import files
from unrolling.training.behaviour import behaviour
from unrolling.training.weights import LARGE

MOST = 0.01  # of the metric, in its unit, that may be lost


def halve(path: Path) -> str:
    """Rewrites a file; what was measured, in words.

    Raises:
        ValueError: numbers beyond the range of half precision, or a metric that falls by more than ``MOST``.
    """
    tensors, card = files.read(path)
    network, task = rebuilt(path)
    before = task.metric.value(evaluate(network, task, task.validation))
    halved = {
        name: tensor.half() if tensor.dtype == torch.float32 and tensor.nbytes > LARGE else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in halved.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{path}: {name} holds numbers that half precision does not")
    values = {name: value.float() for name, value in halved.items() if not name.startswith("fixed.")}
    network.load_learned(values, partial=True)
    after = task.metric.value(evaluate(network, task, task.validation))
    if not task.metric.gain(after, before) > -MOST:
        raise ValueError(f"{path}: {task.metric.text(before)} would become {task.metric.text(after)}")
    made = {"dtype": "float16", "metric": after, "metric in single precision": before}
    files.write(path, halved, {**card, "stored": made, "behaviour": behaviour(network, task.example())})
    return f"{path}: {before:.4f} {task.metric.unit} on validation data, {after:.4f} in half precision"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        print(halve(path))


if __name__ == "__main__":
    main()
