"""How systems that stop by themselves are applied to pictures: how many steps is decided on the middle of each colour,
and as many are taken everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.systems.imaging._denoising import find_noise
from unrolling.systems.imaging._files import facts, read

MIDDLE = 512  # pixels along a side of the part that the policy looks at
LEAST = 10  # pixels along a side that the network is given


@torch.no_grad()
def steps_of(network: Unrolled, planes: Tensor) -> Tensor:
    """How many steps the policy wants of each picture (batch, height, width), decided on its middle, (batch,);
    NaN where it cannot decide.
    """
    height, width = planes.shape[-2:]
    top, left = (max(0, (side - MIDDLE) // 2) for side in (height, width))
    taken, spoiled = planes.new_zeros(planes.shape[0]), planes.new_zeros(planes.shape[0])
    for state in network.trajectory(planes[..., top : top + MIDDLE, left : left + MIDDLE].contiguous()):
        taken += state.running
        spoiled = 0 * state.answer.flatten(1).sum(1)  # NaN where a decision was none
    return taken + spoiled


@torch.no_grad()
def restored(network: Unrolled, planes: Tensor) -> tuple[Tensor, Tensor]:
    """A picture (1 or 3, height, width) after the steps that the policy wants of each colour, and how many."""
    height, width = planes.shape[-2:]
    short = (0, max(0, LEAST - width), 0, max(0, LEAST - height))
    wide = torch.nn.functional.pad(planes.unsqueeze(0), short, mode="replicate")[0] if any(short) else planes
    wanted = steps_of(network, wide)
    steps = wanted.nan_to_num().long()
    unit: Any = network.layers[0].unit
    found = wide + 0 * wanted.reshape(-1, 1, 1)
    for k, count in enumerate(steps.tolist()):

        def run(piece: Tensor, count: int = count) -> Tensor:
            for _ in range(count):
                piece = piece + unit(piece)
            return piece

        if count:  # the unit works on pairs of rows and columns
            found[k] = pixels.in_tiles(run, wide[k : k + 1], margin=count * unit.reach, align=2)[0]
    return found[:, :height, :width], steps


def _restore(network: Unrolled, task: Any, picture: pixels.Picture, outputs: Sequence[Path]) -> Mapping[str, Any]:
    clean, steps = restored(network, picture.pixels)
    noise = find_noise(picture.pixels)
    told: dict[str, Any] = {**facts(picture), "steps": steps.tolist()}
    if noise is not None:
        level = round(noise.level, 2)
        effect = "it was not trained for it; the policy stops where it sees fit"
        told["conditions"] = [Condition("noise", level, "estimated", "of 255", effect=effect)]
    if not bool(steps.any()) and bool(clean.isfinite().all()):
        told["unchanged"] = "the policy took no step"
        clean = picture.pixels
    pixels.write(outputs[0], picture.replaced(clean))
    return told


def _read(path: Path, options: Mapping[str, Any]) -> pixels.Picture:
    return read(path, options)


def application() -> Application:
    """Of pictures, grey and colour, each colour by itself."""
    return Application(
        pixels.READS,
        ("the picture restored",),
        _read,
        _restore,
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-restored.png",),
        kept=pixels.WRITTEN,
        check=pixels.check_output,
    )
