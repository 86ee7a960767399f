"""What a policy that stops is worth: imaging/durr and imaging/durr_q on the middle 180 x 180 pixels of 20 pictures of
BSD68, with noise of 15, 25, 35 and 50 grey levels and, unseen in training, 65; or on the middle 176 x 176 as JPEG of
quality 40, 30, 20 and 10 and, unseen, 6 (--task blind_deblocking); beside the same unit stopped after every fixed
number of steps, and by an oracle that knows the clean picture.

Bars, of noise: the learned stop within 0.1 dB of the oracle's and above every fixed number of steps in the mean over
15, 25, 35 and 50; Spearman's correlation of the noise and the steps above 0.8; at 65 above the fixed number of steps
that is best in that mean.

--data names a folder with ``bsd68``. Noise is neither clipped nor rounded, estimates are clipped to [0, 1]; of JPEG
both sides have 8 bits. Numbers are means of the pictures' PSNR. --weights names a folder of weights files to use before
the shipped ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.image_methods import Row, network, psnr
from benchmarks.nlr_mrf import middles
from unrolling import Unrolled
from unrolling.systems.catalogue import find
from unrolling.tasks.images.deblocking import compress

NAMES = ("imaging/durr", "imaging/durr_q")
Spoiled = tuple[Any, Tensor, Tensor]  # data, the picture in them, the target


class Case(NamedTuple):
    """What pictures are spoilt by, from the mildest on."""

    name: str
    values: tuple[float, ...]
    unseen: float
    spoil: Callable[[Tensor, float, int], Spoiled]
    bits: bool  # whether estimates are rounded to eight


def noisy(x: Tensor, sigma: float, number: int) -> Spoiled:
    """Noise of its own on each picture."""
    generator = torch.Generator().manual_seed(1000 + number)
    y = x + sigma / 255 * torch.randn(x.shape, generator=generator)
    return y, y, x


def compressed(x: Tensor, quality: float, number: int) -> Spoiled:
    """Whole blocks of the middle."""
    target = (x[:, 2:-2, 2:-2] * 255).round() / 255
    data = compress(target, int(quality))
    return data, data.image, target


CASES = {
    "blind_denoising": Case("sigma", (15.0, 25.0, 35.0, 50.0), 65.0, noisy, False),
    "blind_deblocking": Case("quality", (40.0, 30.0, 20.0, 10.0), 6.0, compressed, True),
}


@torch.no_grad()
def curves(net: Unrolled, clean: list[Tensor], case: Case, value: float) -> tuple[Tensor, Tensor]:
    """The PSNR of each picture after every number of steps from 0, (pictures, steps + 1), and the policy's stops."""
    rows, stops = [], []
    for number, x in enumerate(clean):
        data, before, target = case.spoil(x, value, number)
        row, stop = [psnr(before, target)], 0
        for state in net.trajectory(data):
            found = (state.x.clamp(0, 1) * 255).round() / 255 if case.bits else state.x
            row.append(psnr(found, target))
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


def rows_of(name: str, net: Unrolled, clean: list[Tensor], case: Case) -> list[Row]:
    """One for each level, and the bars."""
    found = {value: curves(net, clean, case, value) for value in (*case.values, case.unseen)}
    rows: list[Row] = []
    for value, (psnrs, stops) in found.items():
        learned = psnrs.gather(1, stops.unsqueeze(1)).mean()
        rows.append(
            {
                "system": name,
                case.name: value,
                "before": float(psnrs[:, 0].mean()),
                "learned stop": float(learned),
                "oracle": float(psnrs.amax(1).mean()),
                **{f"{n} steps": float(psnrs[:, n].mean()) for n in range(1, psnrs.shape[1])},
                "mean of the stops": float(stops.double().mean()),
            }
        )
    seen = rows[: len(case.values)]

    def mean(key: str) -> float:
        return sum(row[key] for row in seen) / len(seen)

    fixed = max((key for key in rows[0] if key.endswith(" steps")), key=mean)
    harder = torch.arange(len(case.values)).repeat_interleave(len(clean))
    stops = torch.cat([found[value][1] for value in case.values])
    rows.append(
        {
            "system": name,
            "learned stop": mean("learned stop"),
            "below the oracle": mean("oracle") - mean("learned stop"),
            "best fixed number": fixed,
            "above it": mean("learned stop") - mean(fixed),
            "spearman": spearman(harder, stops.double()),
            f"above it at {case.unseen:g}": rows[-1]["learned stop"] - rows[-1][fixed],
        }
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--task", choices=CASES, default="blind_denoising")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clean = middles(options.data)
    for name in NAMES:
        net: Any = network(name, options.task, options.weights)
        if net is None:
            continue
        for row in rows_of(find(name).name, net, clean, CASES[options.task]):
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
