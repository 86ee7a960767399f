"""What a policy that stops is worth: imaging/durr and imaging/durr_q on the middle 180 x 180 pixels of 20 pictures of
BSD68, with noise of 15, 25, 35 and 50 grey levels and, unseen in training, 65; beside the same unit stopped after every
fixed number of steps, and by an oracle that knows the clean picture.

Bars: the learned stop within 0.1 dB of the oracle's and above every fixed number of steps in the mean over 15, 25, 35
and 50; Spearman's correlation of the noise and the steps above 0.8; at 65 above the fixed number of steps that is best
in that mean.

--data names a folder with ``bsd68``. Noise is neither clipped nor rounded, estimates are clipped to [0, 1]; numbers are
means of the pictures' PSNR. --weights names a folder of weights files to use before the shipped ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.image_methods import Row, network, psnr
from benchmarks.nlr_mrf import middles
from unrolling import Unrolled
from unrolling.systems.catalogue import find

NAMES, TASK = ("imaging/durr", "imaging/durr_q"), "blind_denoising"
LEVELS, UNSEEN = (15.0, 25.0, 35.0, 50.0), 65.0


@torch.no_grad()
def curves(net: Unrolled, clean: list[Tensor], sigma: float) -> tuple[Tensor, Tensor]:
    """The PSNR of each picture after every number of steps from 0, (pictures, steps + 1), and the policy's stops."""
    rows, stops = [], []
    for number, x in enumerate(clean):
        generator = torch.Generator().manual_seed(1000 + number)
        y = x + sigma / 255 * torch.randn(x.shape, generator=generator)
        row, stop = [psnr(y, x)], 0
        for state in net.trajectory(y):
            row.append(psnr(state.x, x))
            stop += int(state.running)
        rows.append(row)
        stops.append(stop)
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(stops)


def spearman(x: Tensor, y: Tensor) -> float:
    """Of ranks, equal ones shared."""

    def ranks(values: Tensor) -> Tensor:
        below, equal = (f(values.unsqueeze(1), values).double().sum(1) for f in (torch.gt, torch.eq))
        return below + 0.5 * (equal - 1)

    one, two = (r - r.mean() for r in (ranks(x), ranks(y)))
    return float((one * two).sum() / (one.norm() * two.norm()).clamp_min(1e-12))


def rows_of(name: str, net: Unrolled, clean: list[Tensor]) -> list[Row]:
    """One for each level, and the bars."""
    found = {sigma: curves(net, clean, sigma) for sigma in (*LEVELS, UNSEEN)}
    rows: list[Row] = []
    for sigma, (psnrs, stops) in found.items():
        learned = psnrs.gather(1, stops.unsqueeze(1)).mean()
        rows.append(
            {
                "system": name,
                "sigma": sigma,
                "noisy": float(psnrs[:, 0].mean()),
                "learned stop": float(learned),
                "oracle": float(psnrs.amax(1).mean()),
                **{f"{n} steps": float(psnrs[:, n].mean()) for n in range(1, psnrs.shape[1])},
                "mean of the stops": float(stops.double().mean()),
            }
        )
    seen = rows[: len(LEVELS)]

    def mean(key: str) -> float:
        return sum(row[key] for row in seen) / len(seen)

    fixed = max((key for key in rows[0] if key.endswith(" steps")), key=mean)
    levels = torch.cat([torch.full((len(clean),), sigma) for sigma in LEVELS])
    stops = torch.cat([found[sigma][1] for sigma in LEVELS])
    rows.append(
        {
            "system": name,
            "learned stop": mean("learned stop"),
            "below the oracle": mean("oracle") - mean("learned stop"),
            "best fixed number": fixed,
            "above it": mean("learned stop") - mean(fixed),
            "spearman": spearman(levels, stops.double()),
            "above it at 65": rows[-1]["learned stop"] - rows[-1][fixed],
        }
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clean = middles(options.data)
    for name in NAMES:
        net: Any = network(name, TASK, options.weights)
        if net is None:
            continue
        for row in rows_of(find(name).name, net, clean):
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
