"""Learned D-AMP and LDIT: what their denoisers see, and pictures from a fifth and a quarter of their measurements.

Parts: ``noise`` (layer by layer, for LDAMP and for LDIT told the level and twice the level: the level by state
evolution, the one that the algorithm estimates, the true one and the kurtosis of what is added to the picture),
``quality`` (PSNR of patches: LDAMP, LDIT, D-AMP with BM3D where the package ``bm3d`` is installed, for non-commercial
use, D-AMP with total variation, AMP with wavelets, FISTA with both, the linear estimate; settings from validation
patches), ``whole`` (a whole photograph through random signs and a cosine transform, and by coded diffraction).

Bars: the estimated level within 5 % of the true one and the kurtosis within 0.2 of 3 for LDAMP in every layer, one of
the two broken by LDIT; LDAMP at least 0.5 dB above LDIT and above D-AMP with BM3D.

--denoiser: ``shipped``, that of imaging/ldamp_shipped (eight layers: --depth 8); ``denoise``, imaging/denoise as it
is, with its last step taken twice; ``tied``, that of imaging/ldamp_tied; ``layers``, imaging/ldamp and imaging/ldit
themselves, layer by layer (no part ``whole``). --data names a folder with ``set12``; without it the test photographs of
the task serve. --weights names a folder of weights files, or a file, to use before the shipped ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, Run, chosen, network, psnr
from benchmarks.record import publish
from unrolling.algorithms import (
    DenoisedAMP,
    ModulatedTransform,
    NoisyImage,
    effective_noise,
    effective_noise_table,
    measure_modulated,
)
from unrolling.core import Unrolled, unroll
from unrolling.evaluation.classical import steps_of
from unrolling.prox import DenoiserProx
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Iterative, Method
from unrolling.tasks.images._library import block_matching
from unrolling.tasks.images.compressive_gaussian import CompressiveGaussian, variation_denoiser

NEAR, EXCESS, GAIN = 0.05, 0.2, 0.5  # bars
TASK, DENOISE, SHIPPED, TIED, LAYERED, THRESHOLDING = (
    "compressive_gaussian",
    "imaging/denoise",
    "imaging/ldamp_shipped",
    "imaging/ldamp_tied",
    "imaging/ldamp",
    "imaging/ldit",
)
SHOWN = ("predicted", "estimated", "true", "off", "kurtosis", "psnr", "value")


def denoiser(options: argparse.Namespace) -> DenoiserProx:
    """The one for all levels."""
    if options.denoiser == "denoise":
        found = network(DENOISE, "noise_levels", options.weights)
        if found is None:
            sys.exit(f"no weights of {DENOISE}")
        return DenoiserProx(found, told=NoisyImage, most=75 / 255).eval()
    name = SHIPPED if options.denoiser == "shipped" else TIED
    found = network(name, TASK, options.weights)
    if found is None:
        sys.exit(f"no weights of {name}: train them, or take --denoiser denoise")
    return found.layers[0].denoiser.eval()  # pyright: ignore


def networks(task: CompressiveGaussian, options: argparse.Namespace) -> dict[str, Unrolled[Any]]:
    """LDAMP first, then LDIT."""
    if options.denoiser == "layers":
        found = {name: network(name, TASK, options.weights, ratio=task.ratio) for name in (LAYERED, THRESHOLDING)}
        if None in found.values():
            sys.exit(f"weights of {LAYERED} and {THRESHOLDING} are needed: train them")
        return {"LDAMP": found[LAYERED], "LDIT, told 2 tau": found[THRESHOLDING]}  # pyright: ignore
    prox, term = denoiser(options), task.term()
    variants = {
        "LDAMP": DenoisedAMP(term, prox),
        "LDIT, told 2 tau": DenoisedAMP(term, prox, onsager=False, inflation=2.0),
        "LDIT, told tau": DenoisedAMP(term, prox, onsager=False),
    }
    return {name: unroll(step, options.depth) for name, step in variants.items()}


def batches(task: CompressiveGaussian, options: argparse.Namespace) -> list[Samples]:
    """So many test patches of every picture."""
    found = []
    for number, picture in enumerate(task.photographs["test"].values()):
        patches = task.patches(picture)
        taken = patches[torch.linspace(0, len(patches) - 1, min(options.patches, len(patches))).long()]
        found.append(task.spoil(taken, torch.Generator().manual_seed(number), task.matrix()))
    return found


def of_noise(task: CompressiveGaussian, options: argparse.Namespace) -> list[Row]:
    """Layers of all methods, on the patches of all pictures together."""
    held = batches(task, options)
    matrix = held[0].data.matrix
    data = held[0].data._replace(samples=torch.cat([batch.data.samples for batch in held]), matrix=matrix)
    truth = torch.cat([batch.target for batch in held])
    rows: list[Row] = []
    for name, net in networks(task, options).items():
        found = effective_noise(net, data, truth, noise=task.noise)
        if options.json is None:
            print(f"--- {name}, m/n = {task.ratio:g}\n{effective_noise_table(found)}")
        worst = max(abs(layer.estimated / layer.true - 1) for layer in found)
        far = max(abs(layer.kurtosis - 3) for layer in found)
        last = found[-1]
        base: Row = {"part": "noise", "set": f"m/n {task.ratio:g}", "psnr": last.psnr, "images": len(truth)}
        bars = name == "LDAMP"
        rows.append(
            {**base, "method": f"{name}: estimated level against true, worst layer", "value": worst}
            | ({"bar": NEAR, "better": "low"} if bars else {})
        )
        rows.append(
            {**base, "method": f"{name}: kurtosis less 3, worst layer", "value": far}
            | ({"bar": EXCESS, "better": "low"} if bars else {})
        )
    return rows


def bm3d_step(task: CompressiveGaussian) -> DenoisedAMP:
    """D-AMP with BM3D."""

    def run(images: Tensor, sigma: Tensor) -> Tensor:
        pairs = zip(images.numpy(), sigma.tolist(), strict=True)
        found = [block_matching(np.ascontiguousarray(image, dtype=np.float64), level) for image, level in pairs]
        return torch.from_numpy(np.stack(found)).to(images)

    return DenoisedAMP(task.term(), DenoiserProx(run, told=True))


@torch.no_grad()
def of_quality(task: CompressiveGaussian, options: argparse.Namespace) -> list[Row]:
    """LDAMP, and how far it is above the others."""
    held = batches(task, options)
    validation = [batch._replace(target=batch.target[:4], data=_few(batch.data, 4)) for batch in task.validation]
    task.validation = validation  # pyright: ignore[reportAttributeAccessIssue]

    def score(run: Run) -> float:
        return float(np.mean([psnr(e, t) for b in held for e, t in zip(run(b.data), b.target, strict=True)]))

    scores = {name: score(net) for name, net in networks(task, options).items()}
    if find_spec("bm3d") is not None:
        scores["D-AMP, BM3D"] = score(steps_of(bm3d_step(task), options.bm3d_steps))
    else:
        print("the package bm3d is not installed: D-AMP with BM3D left out", file=sys.stderr)
    for method in task.baselines(1):
        if options.classical == "none" or (options.classical == "amp" and "AMP" not in method.name):
            continue
        if isinstance(method, Iterative):
            if method.settings[1:]:  # the others are steps on the way to these
                iteration, setting = chosen(method, task)
                scores[f"{method.name}, {setting:g} {method.setting}"] = score(steps_of(iteration, method.iterations))
        elif isinstance(method, Method):
            scores[method.name] = score(method.make(None))
    rows: list[Row] = []
    for name, value in scores.items():
        row: Row = {"part": "quality", "set": f"m/n {task.ratio:g}", "method": name, "psnr": value}
        if name != "LDAMP":
            row["value"] = scores["LDAMP"] - value
            if name in ("LDIT, told 2 tau", "D-AMP, BM3D"):
                row |= {"bar": GAIN, "better": "high"}
        rows.append(row)
    return rows


def _few(data: Any, count: int) -> Any:
    return data._replace(samples=data.samples[:count])


@torch.no_grad()
def of_whole(task: CompressiveGaussian, options: argparse.Namespace) -> list[Row]:
    """Whole photographs, which no matrix would fit: predicted and true noise of the last layer, and PSNR."""
    rows: list[Row] = []
    prox = denoiser(options)
    for name, picture in task.photographs["test"].items():
        clean = picture.unsqueeze(0)
        for fourier in (False, True):
            data = measure_modulated(clean, task.ratio, fourier=fourier)
            term = ModulatedTransform(fourier=fourier)
            methods = {
                "LDAMP": DenoisedAMP(term, prox),
                "LDIT, told 2 tau": DenoisedAMP(term, prox, onsager=False, inflation=2.0),
                "D-AMP, total variation": DenoisedAMP(term, variation_denoiser(1.0)),
            }
            for method, step in methods.items():
                last = effective_noise(unroll(step, options.depth), data, clean)[-1]
                kind = "Fourier" if fourier else "cosines"
                row: Row = {"part": "whole", "set": f"{name}, m/n {task.ratio:g}", "method": f"{method}, {kind}"}
                row |= {"predicted": last.predicted, "estimated": last.estimated, "true": last.true}
                rows.append(row | {"kurtosis": last.kurtosis, "psnr": last.psnr})
    return rows


PARTS: dict[str, Callable[[CompressiveGaussian, argparse.Namespace], list[Row]]] = {
    "noise": of_noise,
    "quality": of_quality,
    "whole": of_whole,
}


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    words = " ".join(f"{key} {row[key]:.4g}" for key in SHOWN if key in row)
    return f"{row['part']:8s} {row['set']:24s} {row['method']:52s} {words}"


def tasks(options: argparse.Namespace) -> Sequence[CompressiveGaussian]:
    """One for each rate."""
    data = None if options.data is None else options.data / "set12"
    return [CompressiveGaussian(ratio=ratio, data=data) for ratio in options.ratio or (0.2, 0.25)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="PATH")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument("--denoiser", choices=("shipped", "tied", "denoise", "layers"), default="shipped")
    parser.add_argument("--ratio", type=float, action="append", help="m/n, several may be named; 0.2 and 0.25")
    parser.add_argument("--depth", type=int, default=6, help="layers, of the first two denoisers")
    parser.add_argument("--patches", type=int, default=8, help="of each test picture, at most")
    parser.add_argument("--bm3d-steps", type=int, default=10, help="of D-AMP with BM3D")
    parser.add_argument(
        "--classical", choices=("all", "amp", "none"), default="all", help="with all, FISTA takes most of the time"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE")
    options = parser.parse_args()
    options.device = "cpu"
    torch.set_num_threads(options.threads)
    parts = options.part or [part for part in PARTS if part != "whole" or options.denoiser != "layers"]
    rows = [row for task in tasks(options) for part in parts for row in PARTS[part](task, options)]
    publish("ldamp", options, rows, line)


if __name__ == "__main__":
    main()
