"""ADMM-CSNet with its one file of weights beside zero-filling, wavelets and total variation: every mask of mri_masks,
from 5 to 50 % of k-space.

--data names a folder with the sets mri_chest, mri_brain and mri_masks. Classical methods are tuned on chests 81 to 90,
for each mask by itself; tested on chests 91 to 100 and on the brains. Brains 1, 11 and 50 of the fifty are not counted
among them: two of them stand by themselves, in higher precision (brain1, brain2), and the weights were chosen on the
third. The PSNR has a peak of 1; estimates are cut to [0, 1].

Bars: with radial_20, brain1 at 35.85 dB and brain2 at 30.67 dB (Yang, Sun, Li and Xu 2016, their fifteen stages); with
radial_10, 30, 40 and 50 total variation and 1 dB.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling import pretrained
from unrolling.algorithms import ADMM, FISTA, ProximalGradient, SampledFourier, Splitting
from unrolling.evaluation.classical import steps_of
from unrolling.operators import FiniteDifferences, KSpace
from unrolling.operators.fourier import fft, ifft
from unrolling.operators.wavelets import Wavelet
from unrolling.prox import IsotropicShrink
from unrolling.prox.orthonormal import OrthonormalShrink
from unrolling.tasks.images import sources
from unrolling.tasks.medical import read_slices

Run = Callable[[KSpace], Tensor]
TUNING = slice(80, 90, 2)  # chests, counted from 0
VARIATION = tuple(5e-5 * 2.0**k for k in range(8))
WAVELETS = tuple(1e-4 * 2.0**k for k in range(7))
STEPS = {"total variation": 300, "wavelets": 100}
KNOWN = (1, 11, 50)  # of the fifty brains


def variation(weight: float) -> ADMM:
    splitting = Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight)
    return ADMM(SampledFourier(real=True), [splitting])


def wavelets(weight: float) -> FISTA:
    return FISTA(ProximalGradient(SampledFourier(real=True), OrthonormalShrink(Wavelet(4)), weight))


def psnr(estimate: Tensor, target: Tensor) -> Tensor:
    """Of each image, (batch,)."""
    return -10 * (estimate.clamp(0, 1) - target).square().mean((-2, -1)).log10()


def measured(images: Tensor, mask: Tensor) -> KSpace:
    return KSpace(mask * fft(images), mask)


def tuned(make: Callable[[float], Any], weights: Sequence[float], steps: int, images: Tensor, mask: Tensor) -> Run:
    """An iteration with the weight that is best on images."""
    data = measured(images, mask)
    best = max(weights, key=lambda weight: float(psnr(steps_of(make(weight), steps // 2)(data), images).mean()))
    return steps_of(make(best), steps)


def methods(images: Tensor, mask: Tensor) -> dict[str, Run]:
    """By name, classical ones tuned on images."""
    network = pretrained("medical/admm_csnet")
    return {
        "zero-filled": lambda data: ifft(data.samples).real,
        "wavelets, FISTA": tuned(wavelets, WAVELETS, STEPS["wavelets"], images, mask),
        "total variation, ADMM": tuned(variation, VARIATION, STEPS["total variation"], images, mask),
        "ADMM-CSNet": network,
    }


def present(root: Path) -> dict[str, Tensor]:
    """Test images by name of the set, (count, height, width); chests that are not tested on under ``tuning``."""
    for name in ("mri_chest", "mri_masks"):
        if not (root / name).is_dir():
            sys.exit(f"{root / name} is not there; it is needed")
    chests = torch.stack(read_slices(root / "mri_chest" / "chest_100.npz"))
    found = {"tuning": chests[TUNING], "chests 91-100": chests[90:]}
    brains = root / "mri_brain"
    if not brains.is_dir():
        print(f"{brains} is not there: left out", file=sys.stderr)
        return found
    with np.load(brains / "brain_mat.npz") as held:
        for name in ("brain1", "brain2"):
            found[name] = torch.from_numpy(held[name].astype(np.float32)).unsqueeze(0)
    fifty = sources.folder(brains / "png50")
    left = [image for name, image in fifty.items() if int(name.split("_")[-1].split(".")[0]) not in KNOWN]
    if left:
        found["47 brains"] = torch.stack(left)
    return found


def rows_of(name: str, mask: Tensor, sets: dict[str, Tensor], every: int) -> list[dict[str, Any]]:
    """The scores of all methods with one mask."""
    rows: list[dict[str, Any]] = []
    for method, run in methods(sets["tuning"], mask).items():
        for which, images in sets.items():
            if which == "tuning":
                continue
            chosen = images[:: every if len(images) > 2 else 1]
            begin = time.perf_counter()
            scores = torch.cat([psnr(run(measured(each, mask)), each) for each in chosen.split(1)])
            rows.append(
                {
                    "mask": name,
                    "rate": float(mask.mean()),
                    "set": which,
                    "method": method,
                    "images": len(chosen),
                    "psnr": float(scores.mean()),
                    "worst": float(scores.min()),
                    "seconds": (time.perf_counter() - begin) / len(chosen),
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Of one mask: sets down, methods across; dB, the mean and the worst image."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    lines = [f"{rows[0]['mask']} ({rows[0]['rate']:.1%})".ljust(24) + "".join(name.rjust(24) for name in names)]
    for which in dict.fromkeys(row["set"] for row in rows):
        cells = [row for row in rows if row["set"] == which]
        texts = [f"{c['psnr']:.2f}" + (f" ({c['worst']:.2f})" if c["images"] > 1 else "") for c in cells]
        lines.append(f"  {which}".ljust(24) + "".join(text.rjust(24) for text in texts))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--masks", nargs="*", help="names of mri_masks; all by default")
    parser.add_argument("--every", type=int, default=1, help="take every so manieth chest and brain")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = present(options.data)
    with np.load(options.data / "mri_masks" / "masks_256.npz") as held:
        masks = {name: torch.from_numpy(held[name].astype(np.float32)) for name in options.masks or held.files}
    rows: list[dict[str, Any]] = []
    with torch.no_grad():
        for name, mask in masks.items():
            found = rows_of(name, torch.fft.ifftshift(mask).unsqueeze(0), sets, max(1, options.every))
            rows += found
            if not options.json:
                print(table(found), flush=True)
    if options.json:
        print(json.dumps({"benchmark": "mri", "torch": torch.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
