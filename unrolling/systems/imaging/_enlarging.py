"""How the systems for super-resolution are applied to pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.operators.resize import resize
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.imaging._files import facts, reach, read, rgb, ycbcr
from unrolling.systems.imaging._first import without_noise
from unrolling.systems.options import Option
from unrolling.tasks.images.noise import noise_levels

FACTORS = (2, 3, 4)
NOISE = 2.5  # level of 255 up to which noise is enlarged with the picture and the network still helps
# Blocks of JPEG: the step across borders of blocks over that elsewhere, and the part of what the network adds to the
# bicubic enlargement that is taken. Chosen on training photographs at qualities 20 to 95.
PARTS = ((1.03, 1.0), (1.1, 0.75), (1.2, 0.4), (1.3, 0.25), (1.42, 0.0))
BLOCKY = 1.1  # pictures that were not compressed have up to that
TRAINED = {"noise": Range(0, NOISE), "steps at blocks": Range(0, BLOCKY)}


def blockiness(plane: Tensor) -> float:
    """The mean step across the borders of blocks of 8 x 8 pixels over that elsewhere, of both directions; 1 for a
    picture that was not compressed by JPEG, and for one with fewer than two blocks.
    """
    ratios = []
    for values in (plane, plane.T):
        steps = (values[:, 1:] - values[:, :-1]).abs().mean(0)
        border = torch.arange(len(steps)) % 8 == 7
        if bool(border.any()):
            ratios.append(float(steps[border].mean()) / max(float(steps[~border].mean()), 0.1 / 255))
    return sum(ratios) / len(ratios) if ratios else 1.0


def _part(blocks: float) -> float:
    return float(np.interp(blocks, [x for x, _ in PARTS], [part for _, part in PARTS]))


# (network, task, luma (height, width), factor) -> luma enlarged, (1, factor height, factor width)
Enlarger = Callable[[Any, Any, Tensor, int], Tensor]


def _by_diffusion(network: Unrolled, task: Any, luma: Tensor, factor: int) -> Tensor:
    # A step reaches half a filter there and back, and through reduction and its adjoint four pixels of the small
    # image and more.
    margin = -(-reach(network) // factor) + 6 * len(network)
    return pixels.in_tiles(network, luma.unsqueeze(0), margin=margin, tile=512 // factor, scale=factor)


def _enlarge(
    network: Unrolled,
    task: Any,
    picture: pixels.Picture,
    outputs: Sequence[Path],
    factor: int | None = None,
    *,
    enlarger: Enlarger,
) -> Mapping[str, Any]:
    factor = getattr(task, "factor", FACTORS[0]) if factor is None else factor
    if factor not in FACTORS:
        raise ValueError(f"--factor is {factor}; it is 2, 3 or 4")
    clean, noise = without_noise(picture.pixels, NOISE)
    colour = clean.shape[0] == 3
    luma, *chroma = ycbcr(clean) if colour else (clean[0],)
    blocks = blockiness(luma)
    part = _part(blocks)
    height, width = (factor * side for side in luma.shape)
    large = resize(luma.unsqueeze(0), height, width) if part < 1 else luma.new_zeros(1, 1, 1)
    if part > 0:
        found = enlarger(network, task, luma, factor)
        large = found if part == 1 else torch.lerp(large, found, part)
    if colour:
        large = rgb(large[0], *(resize(c, height, width) for c in chroma))
    result = picture.replaced(large)
    pixels.write(outputs[0], result)
    told: dict[str, Any] = {**facts(result), "factor": factor, "part": part}
    levels = noise_levels(luma)
    told["conditions"] = [
        Condition("enlarged", factor, "given", "times, as if reduced by antialiased bicubic interpolation"),
        Condition(
            "noise",
            round(noise if noise else 0.0 if levels is None else levels.top, 2),
            "estimated",
            "of 255",
            effect="it is taken away before, by the weights of imaging/tnrd",
        ),
        Condition(
            "steps at blocks",
            round(blocks, 2),
            "estimated",
            "times those elsewhere, as JPEG leaves them,",
            effect=f"{part:.0%} of what the weights add is taken"
            if part
            else "the weights would enlarge the blocks; the picture is enlarged by bicubic interpolation",
        ),
    ]
    return told


def super_resolution(enlarger: Enlarger = _by_diffusion, options: tuple[Option, ...] = ()) -> Application:
    """Of pictures, whose luma the network enlarges; chroma is interpolated.

    Args:
        enlarger: how luma is enlarged.
        options: ``factor`` among them where that may be another than the network's.
    """
    return Application(
        pixels.READS,
        ("the enlarged picture",),
        read,
        partial(_enlarge, enlarger=enlarger),
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-enlarged.png",),
        kept=pixels.WRITTEN,
        options=options,
        check=pixels.check_output,
    )
