"""Learns the coupled dictionary that imaging/scn starts from: ``python -m tools.coupled_dictionary --data free``.

Writes ``unrolling/systems/imaging/dictionaries/scn.safetensors``: D_y (100, 128) and D_x (25, 128) in half
precision, with a card that says what they were learned from. A minute on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from unrolling.algorithms.images.coupled_dictionary import coupled_dictionaries, patch_pairs
from unrolling.systems.imaging._coupled import ATOMS, START
from unrolling.tasks.images.super_resolution import SuperResolution
from unrolling.training import files

COUNT, WEIGHT, EPOCHS = 40_000, 0.1, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=None, help="folder of photographs, as for `unroll train`")
    parser.add_argument("--out", type=Path, default=START)
    options = parser.parse_args()
    task = SuperResolution(2, data=options.data)
    pairs = []
    for sharp in task.photographs["train"].values():
        batch = task.spoil(sharp.unsqueeze(0), torch.Generator())
        pairs.append((task.operator.enlarge(batch.data)[0], sharp))
    low, high = patch_pairs(pairs, COUNT)
    found = coupled_dictionaries(low, high, ATOMS, WEIGHT, epochs=EPOCHS)
    settings = {"patches": len(low), "weight": WEIGHT, "epochs": EPOCHS}
    files.write(
        options.out,
        {name: values.half() for name, values in zip(("low", "high"), found, strict=True)},
        {"what": "coupled dictionary of imaging/scn", "task": task.identity(), "settings": settings},
    )
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB from {len(low)} patches")


if __name__ == "__main__":
    main()
