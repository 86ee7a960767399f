"""Learned Primal-Dual, Learned PDHG and Learned Primal beside total variation, filtered back-projection and a U-Net on
that: 30 parallel views of 128 x 128 pixels, 5 % noise.

Bars: Learned Primal-Dual 3 dB above total variation on the phantom of Shepp and Logan and on held-out ellipses, above
Learned PDHG and a U-Net of as many numbers trained as long; on the ten slices of human8bit above total variation.

Settings of the classical methods come from the task's validation data. --data names a folder of slices to test on
besides, in sub-folders or by itself. --unet FILE scores a U-Net that --train-unet STEPS has left there.

``--curve RUN ...`` prints the PSNR on the validation set against the steps of trainings, from their folders.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.image_methods import Row, Run, chosen, direct, methods_of, network, scored
from unrolling.evaluation.classical import steps_of
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Generic, Iterative
from unrolling.tasks.medical.tomography import Tomography
from unrolling.training.fit import fit
from unrolling.training.machine import Machine
from unrolling.training.stages import Cosine, Stage

SYSTEMS = ("medical/learned_primal_dual", "medical/learned_primal", "medical/learned_pdhg")
NUMBERS = 253_220  # of Learned Primal-Dual


def unet(task: Tomography) -> Any:
    """A U-Net of as many numbers as Learned Primal-Dual on the filtered back-projection."""
    torch.manual_seed(0)
    found: Any = next(b for b in task.baselines(NUMBERS) if isinstance(b, Generic))
    return found.network()


def train_unet(task: Tomography, steps: int, path: Path) -> None:
    """Half precision in the products, as the other networks; its weights go to a file."""
    made = unet(task)
    print(f"{sum(p.numel() for p in made.parameters())} numbers")
    schedule = [Stage(steps, rate=1e-3, batch=4, annealing=Cosine(0.02, 1e-3), clip=1.0)]
    history = fit(made, task, schedule, validations=10, machine=Machine(precision="auto"), quiet=True)
    print(history)
    torch.save(made.state_dict(), path)


def curves(runs: list[Path]) -> None:
    """PSNR on the validation set against steps, a column for each run."""
    for run in runs:
        lines = [json.loads(line) for line in (run / "training.jsonl").read_text().splitlines()]
        found = ", ".join(f"{line['step']}: {line['metric']:.2f}" for line in lines if "metric" in line)
        print(f"{run.name:24s} {found}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights to take before the shipped ones")
    parser.add_argument("--unet", type=Path, metavar="FILE")
    parser.add_argument("--train-unet", type=int, metavar="STEPS")
    parser.add_argument("--networks", action="store_true", help="networks alone")
    parser.add_argument("--curve", type=Path, nargs="+", metavar="RUN")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.curve:
        curves(options.curve)
        return
    task: Any = find(SYSTEMS[0]).task("tomography")
    if options.train_unet:
        train_unet(task, options.train_unet, options.unet)
        return
    methods: dict[str, Run] = {} if options.networks else direct(task, "classical")
    for method in [] if options.networks else methods_of(task, Iterative):
        iteration, setting = chosen(method, task)
        methods[f"{method.name}, {setting}"] = steps_of(iteration, method.iterations)
    if options.unet:
        generic = unet(task)
        generic.load_state_dict(torch.load(options.unet, weights_only=True))
        methods["U-Net"] = generic.eval()
    for name in SYSTEMS:
        found = network(name, "tomography", options.weights)
        if found is not None:
            methods[name] = found
    kinds = ("Shepp-Logan", "ellipses")
    sets = [(kind, [batch]) for kind, batch in zip(kinds, task.test, strict=True)]
    sets += [(folder.name, Tomography(data=folder).test) for folder in options.data]
    for name, batches in sets:
        pairs = [
            (batch.data[i : i + 1], batch.target[i : i + 1]) for batch in batches for i in range(len(batch.target))
        ]
        rows: list[Row] = scored("tomography", name, methods, pairs)
        for row in rows:
            print(f"{row['set']:16s} {row['method']:48s} {row['images']:3d} {row['psnr']:7.2f} dB", flush=True)


if __name__ == "__main__":
    main()
