"""Denoising at any level: the networks that are told the level, on the published test sets beside classical methods,
published figures and their own parents.

Bars, one file of at most 100,000 numbers: BSD68 at sigma 25 at least 28.92 dB (TNRD as published), Set12 at least 30.0
(above BM3D), aims 29.15 and 30.3; BSD68 at 15 and 50 at least 31.42 and 25.97; CBSD68 at 25 at least 30.7 (CBM3D);
clean pictures given sigma 0 at least 45 dB, and the estimate of sigma on them at most 1.

Parts: ``sets`` (Set12, BSD68 and CBSD68 at 15, 25 and 50: whole pictures, noise in floating point, neither clipped nor
rounded, seed 1; estimates clipped), ``levels`` (Set12 from 0 to 100), ``parents`` (Set12 at 25: imaging/cscnet, the
same steps with the values before training, FISTA with the learned dictionary to the end, one position of the grid),
``clean`` (pictures without noise), ``pieces`` (large pictures in pieces against the whole), ``time`` (of a picture of
512 x 512 pixels).

--data names a folder with set12, bsd68 and cbsd68; what is not there is left out with a word. --weights names a folder
of weights files to use before the shipped ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, beside, direct, line, network, psnr, sets
from benchmarks.record import options, publish, start
from benchmarks.timing import alternate, compared
from unrolling import Unrolled, solve
from unrolling.algorithms import FISTA
from unrolling.algorithms.sparse.strided import NoisyImage, StridedISTA
from unrolling.operators.strided import StridedDictionary
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._denoising import Found, denoise, find_noise, told_levels
from unrolling.systems.imaging._multiscale import MARGIN, TILE
from unrolling.systems.imaging.cscnet import STRIDE
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.known_noise import level_denoisers

LEVELS = (15.0, 25.0, 50.0)
OURS = ("imaging/denoise", "imaging/cscnet", "imaging/tnrd_7x7")
GREY, COLOUR = ("set12", "bsd68"), ("cbsd68",)


def noisy(pictures: dict[str, Tensor], sigma: float) -> list[tuple[Tensor, Tensor]]:
    """Pairs of a set at a level, one noise after the other."""
    generator = torch.Generator().manual_seed(1)
    return [(x + sigma / 255 * torch.randn(x.shape, generator=generator), x) for x in pictures.values()]


@cache
def shipped(weights: Path | None) -> Unrolled | None:
    """imaging/denoise."""
    return network("imaging/denoise", "noise_levels", weights)


def cleaned(found: Unrolled, planes: Tensor, sigma: float) -> Tensor:
    """What ``unroll apply imaging/denoise --sigma`` makes of a picture (height, width) or (3, height, width)."""
    stack = planes.unsqueeze(0) if planes.ndim == 2 else planes
    count = stack.shape[0]
    way, task = told_levels(MARGIN, TILE), find("imaging/denoise").task("noise_levels")
    level = Found(("white",) * count, (sigma,) * count, (None,) * count, 0.0, 0.0)
    return denoise(way.clean(found, task), MARGIN, stack, level, TILE).reshape(planes.shape)


@cache
def coded(weights: Path | None) -> Unrolled | None:
    """imaging/cscnet."""
    return network("imaging/cscnet", "noise_levels", weights)


@cache
def libraries() -> dict[str, Callable[[NoisyImage], Tensor]]:
    """Other libraries' methods, each with the setting that is best on the task's validation photographs."""
    return direct(find("imaging/denoise").task("noise_levels"), "library")


def of_sets(root: Path, weights: Path | None, every: int = 1, only: Sequence[str] = ()) -> list[Row]:
    """The published sets; of large ones every so many pictures. ``only`` names methods, all by default."""
    rows: list[Row] = []
    found = shipped(weights)
    for name, whole in (sets(root, *GREY) | colours(root)).items():
        pictures = whole if name == "set12" else dict(list(whole.items())[::every])
        for sigma in LEVELS:
            pairs = noisy(pictures, sigma)
            methods: dict[str, Callable[[Tensor], Tensor]] = {"noisy": lambda y: y}
            if found is not None:
                methods["imaging/denoise"] = lambda y, sigma=sigma: cleaned(found, y, sigma)
            coding = coded(weights) if name == "set12" else None  # it takes its time
            if coding is not None:
                methods["imaging/cscnet"] = lambda y, sigma=sigma, coding=coding: cleaned(coding, y, sigma)
            own = only and set(only) <= {"noisy", *OURS}  # others need their settings chosen
            for title, run in () if own else libraries().items():
                if title != "BM3D" or name == "set12":  # a minute a picture
                    methods[title] = lambda y, run=run, sigma=sigma: run(
                        NoisyImage(y.unsqueeze(0), torch.tensor([sigma / 255]))
                    )[0]
            tnrd = network("imaging/tnrd_7x7", "denoising", weights) if sigma == 25 and name in GREY else None
            if tnrd is not None:
                methods["imaging/tnrd_7x7"] = lambda y, tnrd=tnrd: tnrd(y.unsqueeze(0))[0]
            methods = {title: run for title, run in methods.items() if not only or title in only}
            row = {"part": "sets", "set": f"{name}, sigma {sigma:g}", "images": len(pairs)}
            with torch.no_grad():
                rows += [
                    {**row, "method": title, "psnr": float(np.mean([psnr(run(y), x) for y, x in pairs]))}
                    for title, run in methods.items()
                ]
            if len(pictures) == len(whole):
                rows += beside(row, name, f"{sigma:g}")
    return rows


def colours(root: Path) -> dict[str, dict[str, Tensor]]:
    """Sets in colour that are there."""
    return {name: images.folder(root / name, images.colours) for name in COLOUR if (root / name).is_dir()}


def of_levels(root: Path, weights: Path | None) -> list[Row]:
    """Weak and strong noise, and none."""
    found = shipped(weights)
    if found is None:
        return []
    rows: list[Row] = []
    for name, pictures in sets(root, "set12").items():
        for sigma in (0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0, 75.0, 100.0):
            pairs = noisy(pictures, sigma)
            with torch.no_grad():
                each = [psnr(cleaned(found, y, sigma), x) for y, x in pairs]
            row = {"part": "levels", "set": f"{name}, sigma {sigma:g}", "method": "imaging/denoise"}
            rows.append({**row, "psnr": float(np.mean(each)), "worst": min(each)})
    return rows


def of_parents(root: Path, weights: Path | None) -> list[Row]:
    """What training is worth to imaging/cscnet, with the learned dictionary and without."""
    found = coded(weights)
    if found is None:
        return []
    rows: list[Row] = []
    layer: Any = found.layers[-1]
    learned = StridedDictionary(layer.decoder.atoms(), STRIDE)
    scale = 1 / learned.norm(1e-4, shape=(learned.kernel.shape[0], 12, 12))
    own = StridedDictionary(scale * learned.atoms(), STRIDE)
    validation = find("imaging/denoise").task("noise_levels").validation

    def parent(weight: float) -> FISTA:
        return FISTA(StridedISTA(own, weight, step_size=1.0))

    def score(weight: float) -> float:
        held = [b for b in validation if abs(255 * float(b.data.sigma) - 25) < 1]
        run = solve_to(parent(weight), 100)
        return float(np.mean([psnr(run(b.data), b.target) for b in held]))

    with torch.no_grad():
        best = max((0.2, 0.3, 0.45, 0.65, 0.9), key=score)
        for name, pictures in sets(root, "set12").items():
            pairs = noisy(pictures, 25)
            depth, untrained = len(found), find("imaging/cscnet").recipes["noise_levels"].parent(None)
            runs = {
                f"imaging/cscnet, {depth} steps": found,
                f"ISTA, cosines, {depth} steps": solve_to(untrained, depth),
                f"ISTA, learned dictionary, weight {best:g}, {depth} steps": solve_to(parent(best).ista, depth),
                f"FISTA, learned dictionary, weight {best:g}, 100 steps": solve_to(parent(best), 100),
            }
            for title, run in runs.items():
                each = [psnr(run(NoisyImage(y.unsqueeze(0), torch.tensor([25 / 255])))[0], x) for y, x in pairs]
                rows.append({"part": "parents", "set": f"{name}, sigma 25", "method": title, "psnr": np.mean(each)})
            for each in found.layers:
                each.shifts = 1.0
            alone = [psnr(found(NoisyImage(y.unsqueeze(0), torch.tensor([25 / 255])))[0], x) for y, x in pairs]
            for each in found.layers:
                each.shifts = float(STRIDE)
            title = "imaging/cscnet, one position of the grid"
            rows.append({"part": "parents", "set": f"{name}, sigma 25", "method": title, "psnr": np.mean(alone)})
    return rows


def solve_to(iteration: Any, count: int) -> Callable[[NoisyImage], Tensor]:
    """So many steps."""
    return lambda data: solve(iteration, data, tolerance=0.0, max_iterations=count).estimate


def of_clean(root: Path, weights: Path | None) -> list[Row]:
    """Pictures without noise: given sigma 0, and what is estimated on them."""
    found = shipped(weights)
    if found is None:
        return []
    rows: list[Row] = []
    for name, pictures in sets(root, *GREY).items():
        given, estimated = [], []
        for picture in pictures.values():
            with torch.no_grad():
                given.append(psnr(found(NoisyImage(picture.unsqueeze(0), torch.zeros(1)))[0], picture))
            noise = find_noise(picture.unsqueeze(0))
            estimated.append(noise.level if noise is not None and noise.kind != "none" else 0.0)
        row = {"part": "clean", "set": name, "images": len(pictures)}
        rows.append({**row, "method": "sigma 0 is given", "psnr": float(np.mean(given)), "worst": min(given)})
        rows.append({**row, "method": "taken away without being asked, of 255", "worst": max(estimated)})
    return rows


def of_pieces(root: Path, weights: Path | None) -> list[Row]:
    """The largest difference between a picture in pieces and the whole, of 255."""
    found = shipped(weights)
    if found is None:
        return []
    rows: list[Row] = []
    way, task = told_levels(MARGIN, TILE), find("imaging/denoise").task("noise_levels")
    picture = images.photograph("astronaut")
    for sigma in (5.0, 25.0, 75.0):
        y = picture + sigma / 255 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
        level = Found(("white",), (sigma,), (None,), 0.0, 0.0)
        clean = way.clean(found, task)
        with torch.no_grad():
            whole = denoise(clean, MARGIN, y.unsqueeze(0), level, 10_000)
            for margin in (16, 32, 48, 64, 96):
                parts = denoise(clean, margin, y.unsqueeze(0), level, 128)
                apart = 255 * float((parts - whole).abs().max())
                rows.append({"part": "pieces", "set": f"sigma {sigma:g}", "method": f"margin {margin}", "most": apart})
    return rows


def of_time(root: Path, weights: Path | None) -> list[Row]:
    """One picture of 512 x 512 pixels."""
    found = shipped(weights)
    if found is None:
        return []
    y = torch.rand(512, 512, generator=torch.Generator().manual_seed(0))
    data = NoisyImage(y.unsqueeze(0), torch.tensor([25 / 255]))
    runs: dict[str, Callable[[], Any]] = {"imaging/denoise": lambda: cleaned(found, y, 25.0)}
    runs |= {name: lambda run=run: run(data) for name, run in libraries().items()}
    with torch.no_grad():
        times = alternate(runs, seconds=5.0, least=3)
    return [
        {"part": "time", "set": "512 x 512", "method": name, **compared(times, name, "imaging/denoise")}
        for name in runs
        if name != "imaging/denoise"
    ] + [
        {
            "part": "time",
            "set": "512 x 512",
            "method": "imaging/denoise",
            "seconds": float(np.median(times["imaging/denoise"])),
        }
    ]


PARTS: dict[str, Callable[[Path, Path | None], list[Row]]] = {
    "sets": of_sets,
    "levels": of_levels,
    "parents": of_parents,
    "clean": of_clean,
    "pieces": of_pieces,
    "time": of_time,
}


def main() -> None:
    parser = options(__doc__, seconds=5.0, threads=1)
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, action="append")
    names = ["noisy", *OURS, *(method.name for method in level_denoisers())]
    parser.add_argument("--only", nargs="+", default=(), choices=names, metavar="METHOD", help=", ".join(names))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of bsd68 and cbsd68 every Nth picture")
    given = parser.parse_args()
    start(given)
    parts = {**PARTS, "sets": partial(of_sets, every=given.every, only=given.only)}
    rows = [row for name in given.part or PARTS for row in parts[name](given.data, given.weights)]
    publish("denoising", given, rows, line)


if __name__ == "__main__":
    main()
