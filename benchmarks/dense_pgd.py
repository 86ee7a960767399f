"""What a memory of earlier steps is worth: densely connected proximal gradient descent against the plain one and a
learned momentum, trained alike with several seeds, on simulated coils.

Bar: the dense network above the plain one, with a 95 % interval that excludes 0. Training is by

    unroll train medical/dense_pgd --data mri_chest/chest_100.npz --precision bf16-mixed --seed 0 --out RUNS/dense_pgd_0

and the same with plain_pgd and momentum_pgd, seeds 0, 1 and 2. --runs names that folder, --data one with the sets
mri_chest and mri_brain. All networks see the same images with the same maps, masks, phases and noise, drawn anew for
each seed. An interval resamples seeds, and images within them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.parallel_mri import measured, score, sets
from unrolling.core import Unrolled
from unrolling.systems.catalogue import find
from unrolling.tasks.medical.coils import Coils
from unrolling.training.weights import load_weights, read_weights

TASK, KINDS = "multicoil", ("dense", "momentum", "plain")
PAIRS = (("dense", "plain"), ("momentum", "plain"), ("dense", "momentum"))


def trained(path: Path, kind: str, task: Coils) -> Unrolled:
    """A network with the weights of a run."""
    system = find(f"medical/{kind}_pgd")
    network = system.network(system.recipes[TASK], task, read_weights(path)[2]["depth"])
    load_weights(network, path, system=system.name)
    return network.eval()


def interval(gains: Tensor, draws: int = 5000) -> list[float]:
    """The mean of gains (seeds, images), and the ends of its 95 % interval: seeds are resampled, and images, the same
    ones for all seeds.
    """
    generator = torch.Generator().manual_seed(0)
    seeds, images = gains.shape
    rows = torch.randint(seeds, (draws, seeds), generator=generator)
    columns = torch.randint(images, (draws, images), generator=generator)
    means = gains[rows.unsqueeze(2), columns.unsqueeze(1)].mean((1, 2)).sort().values
    ends = means[int(0.025 * draws)], means[int(0.975 * draws)]
    return [round(float(value), 3) for value in (gains.mean(), *ends)]


def pairs(kinds: Sequence[str]) -> list[tuple[str, str]]:
    """What of ``kinds`` is compared."""
    return [pair for pair in PAIRS if {*pair} <= {*kinds}]


def compared(
    runs: Path, seeds: Sequence[int], task: Coils, images: Sequence[Tensor], kinds: Sequence[str] = KINDS
) -> dict[str, Any]:
    """PSNR by kind and seed, and the differences with their intervals."""
    levels: dict[str, Tensor] = {}
    for kind in kinds:
        each = []
        for seed in seeds:
            network = trained(runs / f"{kind}_pgd_{seed}" / "weights.safetensors", kind, task)
            each.append(score(network, task, measured(task, images, seed)))
        levels[kind] = torch.stack(each)
    rows: dict[str, Any] = {
        kind: {"psnr": round(float(v.mean()), 2), "by seed": [round(float(s.mean()), 2) for s in v]}
        for kind, v in levels.items()
    }
    for ours, theirs in pairs(kinds):
        rows[f"{ours} minus {theirs}"] = interval(levels[ours] - levels[theirs])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--images", type=int, default=100, help="of each set, at most")
    parser.add_argument("--accelerations", nargs="*", type=float, default=[4.0, 8.0])
    parser.add_argument("--every", type=int, default=10, help="of the brains")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    missing = [
        str(path)
        for kind in options.kinds
        for seed in options.seeds
        if not (path := options.runs / f"{kind}_pgd_{seed}" / "weights.safetensors").is_file()
    ]
    if missing:
        sys.exit(f"{missing[0]} is missing; --help says how it is trained")
    found: dict[str, Any] = {}
    for acceleration in options.accelerations:
        task = Coils(acceleration=acceleration)
        for name, images in sets(options.data, options.every):
            title = f"{name}, acceleration {acceleration:g}"
            found[title] = rows = compared(options.runs, options.seeds, task, images[: options.images], options.kinds)
            print(f"\n{title}")
            for kind in options.kinds:
                print(f"  {kind:24}{rows[kind]['psnr']:8.2f} dB   by seed {rows[kind]['by seed']}")
            for ours, theirs in pairs(options.kinds):
                mean, low, high = rows[f"{ours} minus {theirs}"]
                verdict = "" if (ours, theirs) != ("dense", "plain") else "   bar met" if low > 0 else "   bar MISSED"
                print(f"  {ours + ' minus ' + theirs:24}{mean:+8.3f} dB   95 % [{low:.3f}, {high:.3f}]{verdict}")
            sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
