"""The part of the benchmark of images on super-resolution: luma of BT.601 from the published small images.

Set5 and Set14, two, three and four times; a border of as many pixels does not count, at two times one of four;
clipped to [0, 1], no rounding. Classical methods use the dictionary that imaging/scn starts from, with weights chosen
on validation photographs. Three and four times imaging/scn doubles twice, and goes back by bicubic interpolation.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, Run, network, psnr, scored
from unrolling.algorithms.images.coupled_dictionary import pursued
from unrolling.algorithms.images.coupled_patches import EnlargingCascade, stages_for
from unrolling.evaluation.classical import steps_of
from unrolling.evaluation.contenders import training
from unrolling.evaluation.generic import train_generic
from unrolling.operators import BicubicReduction
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._coupled import exact, normalised
from unrolling.tasks.baselines import Generic
from unrolling.tasks.images import sources as images

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
    """Of sets that are there."""
    border = 4 if factor == 2 else factor
    rows: list[Row] = []
    for name in sets if methods else ():
        if not (root / name).is_dir():
            print(f"{root / name} is not there: left out", file=sys.stderr)
            continue
        large = images.folder(root / name / "HR", video_luma)
        small = images.folder(root / name / f"LR_x{factor}", video_luma)
        pairs = [(small[key].unsqueeze(0), _whole(x, factor).unsqueeze(0)) for key, x in large.items()]
        rows += scored("enlarging", f"{name} x{factor}", methods, pairs, partial(_inner, border))
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
