"""Enlarging: luma of BT.601 from the small images of Set5, Set14 and BSD100 as published, two, three and four times,
beside published figures.

Bars, one file of weights for the three factors: Set5 at least 36.9, 33.2 and 30.9 dB (TNRD as published, and a little
more), aims 37.3, 33.6 and 31.3.

A border as wide as the factor does not count; clipped to [0, 1], no rounding. Networks for two times double twice for
three and four times, and go back by bicubic interpolation. ``python -m benchmarks.images --part enlarging`` measures
imaging/scn beside classical methods with the dictionary that it starts from, weights chosen on validation photographs;
there, as its authors have it, the border at two times is four pixels.

--data names a folder with set5, set14 and bsd100, in each HR and LR_x2, LR_x3, LR_x4; what is not there is left out
with a word. --weights names a weights file, or a folder of them, to use before the shipped ones.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, Run, absent, beside, line, network, psnr, scored
from benchmarks.record import options, publish, start
from unrolling.algorithms.images.coupled_dictionary import pursued
from unrolling.algorithms.images.coupled_patches import EnlargingCascade, stages_for
from unrolling.algorithms.images.multiscale_restoration import FACTORS, SmallImage
from unrolling.evaluation.classical import steps_of
from unrolling.evaluation.contenders import training
from unrolling.evaluation.generic import train_generic
from unrolling.operators import BicubicReduction
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._coupled import exact, normalised
from unrolling.tasks.baselines import Generic
from unrolling.tasks.images import sources as images

SETS = ("set5", "set14", "bsd100")
TRAINED = 3  # times, the weights of imaging/tnrd_sr
CONVERGED = 100  # iterations after which ISTA moves by less than 0.02 dB in the next hundred


def enlarging(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """Bicubic interpolation, ISTA and orthogonal matching pursuit with coupled dictionaries, TNRD and SCN."""
    found = {name: network(name, "super_resolution", weights) for name in ("imaging/scn", "imaging/scn_exact")}
    diffusion = network("imaging/tnrd_sr", "super_resolution", weights)
    task: Any = find("imaging/scn").task("super_resolution")
    rows: list[Row] = []
    for factor in (2, 3, 4):
        methods: dict[str, Run] = {"bicubic": BicubicReduction(factor).enlarge}
        classical: dict[str, Run] = {}
        if factor == 2:
            depth = find("imaging/scn").recipes["super_resolution"].depth
            for name, parent in (("normalised", normalised(task)), ("exact", exact(task))):
                classical[f"coupled sparse coding, {name}, ISTA, {depth} iterations"] = steps_of(parent, depth)
                classical[f"coupled sparse coding, {name}, ISTA, converged"] = steps_of(parent, CONVERGED)
            classical["coupled sparse coding, OMP, 3 atoms"] = partial(_pursued, normalised(task))
        if factor == 3 and diffusion is not None:
            methods["imaging/tnrd_sr"] = diffusion
        for name, net in found.items():
            if net is not None:
                methods[name] = net if factor == 2 else EnlargingCascade([net] * stages_for(factor), factor)
        rows += scores(root, factor, classical, ("set5",))  # they take minutes
        rows += scores(root, factor, methods)
        for name in ("set5", "set14"):
            rows += beside({"part": "enlarging", "set": f"{name} x{factor}"}, name, f"x{factor}")
    return rows


def rival(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """SRCNN with as many numbers, trained here on the packages' photographs for as many steps with the better of two
    rates.
    """
    system = find("imaging/scn")
    net = network("imaging/scn", "super_resolution", weights)
    if net is None:
        return []
    recipe, task = system.recipes["super_resolution"], system.task("super_resolution")
    methods: dict[str, Run] = {"imaging/scn": net}
    for generic in system.baselines["super_resolution"](system, task):
        if isinstance(generic, Generic):
            methods[generic.name] = train_generic(task, generic, *training(recipe.schedule(len(net)))).run
    return scores(root, 2, methods)


def scores(root: Path, factor: int, methods: dict[str, Run], sets: tuple[str, ...] = ("set5", "set14")) -> list[Row]:
    """Of sets that are there, as the authors of SCN count."""
    rows: list[Row] = []
    for name in sets if methods else ():
        if not absent(root / name):
            score = partial(_inner, 4 if factor == 2 else factor)
            rows += scored("enlarging", f"{name} x{factor}", methods, pairs_of(root / name, factor), score)
    return rows


def pairs_of(folder: Path, factor: int) -> list[tuple[Tensor, Tensor]]:
    """The small pictures of a set and the large ones, batches of one."""
    large = images.folder(folder / "HR", video_luma)
    small = images.folder(folder / f"LR_x{factor}", video_luma)
    return [(small[key].unsqueeze(0), _whole(x, factor).unsqueeze(0)) for key, x in large.items()]


def of_sets(root: Path, weights: Path | None, every: int = 1) -> list[Row]:
    """The published sets, of large ones every so many pictures."""
    any_factor = network("imaging/enlarge", "enlarging", weights)
    doubling = network("imaging/scn", "super_resolution", weights)
    thrice = network("imaging/tnrd_sr", "super_resolution", weights)
    rows: list[Row] = []
    for name in SETS:
        if absent(root / name):
            continue
        for factor in FACTORS:
            methods: dict[str, Run] = {"bicubic": BicubicReduction(factor).enlarge}
            if any_factor is not None:
                methods["imaging/enlarge"] = lambda f, factor=factor: any_factor(SmallImage(f, factor))
            if doubling is not None:
                twice = factor == 2
                methods["imaging/scn"] = (
                    doubling if twice else EnlargingCascade([doubling] * stages_for(factor), factor)
                )
            if thrice is not None and factor == TRAINED:
                methods["imaging/tnrd_sr"] = thrice
            pairs = pairs_of(root / name, factor)[::every]
            rows += scored("sets", f"{name} x{factor}", methods, pairs, partial(_inner, factor))
            row = {"part": "sets", "set": f"{name} x{factor}", "images": len(pairs)}
            if any_factor is None:
                rows.append({**row, "method": "imaging/enlarge, no weights"})
            rows += beside(row, name, f"x{factor}") if every == 1 else []
    return rows


def video_luma(picture: np.ndarray) -> Tensor:
    """Y of BT.601 of 8-bit RGB or grey, on the scale of 255 levels as one."""
    colours = picture[..., :3] if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    y = colours.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16
    return torch.from_numpy((y / 255).astype(np.float32))


def _whole(x: Tensor, factor: int) -> Tensor:
    return x[: x.shape[0] // factor * factor, : x.shape[1] // factor * factor]


def _inner(border: int, estimate: Tensor, target: Tensor) -> float:
    inner = slice(border, -border)
    return psnr(estimate[..., inner, inner], target[..., inner, inner])


def _pursued(coding: Any, data: Tensor) -> Tensor:
    return pursued(coding, data, 3)


def main() -> None:
    parser = options(__doc__, seconds=5.0, threads=1)
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth picture alone")
    given = parser.parse_args()
    start(given)
    publish("image_enlarging", given, of_sets(given.data, given.weights, given.every), line)


if __name__ == "__main__":
    main()
