"""How the systems for inpainting are applied to pictures: a second picture says which pixels are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.images.inpainting import Masked, fill_missing
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.imaging._files import facts, reach, read
from unrolling.systems.options import Option

MASK = Option(
    "mask",
    Path,
    "a picture of the same size, white where pixels are missing and black elsewhere; a folder, where it has the name "
    "of the input",
)
RANGE = {"missing": Range(3, 90)}  # % of the pixels
LEAST = 8  # pixels along a side that the network is given


class Content(NamedTuple):
    """A picture and what is known of it."""

    picture: pixels.Picture
    known: Tensor  # (height, width), 1 where a pixel is known, else 0


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    given = options.get("mask")
    if given is None:
        raise ValueError(f"{path}: name the picture that is white where pixels are missing with --mask FILE")
    place = Path(given) / path.name if Path(given).is_dir() else Path(given)
    if place.resolve() == path.resolve():
        raise ValueError(f"--mask {place} is the input itself")
    picture, mask = read(path, options), pixels.read(place)
    (height, width), (rows, columns) = picture.pixels.shape[-2:], mask.pixels.shape[-2:]
    if (rows, columns) != (height, width):
        raise ValueError(
            f"{place} has {rows} x {columns} pixels and {path} has {height} x {width}: the mask is as large as the "
            "picture"
        )
    other = ((mask.pixels != 0) & (mask.pixels != 1)).any(0) | (mask.pixels != mask.pixels[:1]).any(0)
    if bool(other.any()):
        raise ValueError(
            f"{place} has {int(other.sum())} pixels that are neither black nor white; a mask is white where pixels are "
            "missing and black elsewhere (a .jpg is neither: save it as .png)"
        )
    known = 1 - mask.pixels[0]
    if not bool(known.any()):
        raise ValueError(f"{place} is white everywhere: every pixel of {path} is missing")
    return Content(picture, known)


def _inpaint(
    network: Unrolled, task: Any, content: Content, outputs: Sequence[Path], mask: Path | None = None
) -> Mapping[str, Any]:
    picture, known = content
    missing = 100 * float((known == 0).float().mean())
    told: dict[str, Any] = {**facts(picture), "missing": round(missing, 2)}
    told["conditions"] = [
        Condition("missing", round(missing, 2), "given", "% of the pixels", effect="it was measured for these")
    ]
    if missing == 0:
        told["unchanged"] = "the mask is black everywhere, so that no pixel is missing"
        pixels.write(outputs[0], picture)
    else:
        pixels.write(outputs[0], picture.replaced(inpaint(network, reach(network), picture.pixels, known)))
    return told


@torch.no_grad()
def inpaint(network: Unrolled, margin: int, planes: Tensor, known: Tensor) -> Tensor:
    """A picture (1 or 3, height, width) with its missing pixels filled, each colour by itself; known ones stay.

    Args:
        network: on ``Masked``.
        margin: pixels that its results depend on, in each direction.
        planes: the picture; what is missing may hold anything.
        known: (height, width), 1 where a pixel is known, else 0.
    """
    height, width = planes.shape[-2:]
    count = planes.shape[0]
    filled = fill_missing(planes, known.unsqueeze(0))
    stack = torch.cat([filled, known.unsqueeze(0)])
    short = (0, max(0, LEAST - width), 0, max(0, LEAST - height))
    wide = torch.nn.functional.pad(stack.unsqueeze(0), short, mode="replicate")[0] if any(short) else stack

    def run(piece: Tensor) -> Tensor:
        values, mask = piece[:count], piece[count:]
        # Where a whole tile is missing there is nothing but the first filling.
        return network(Masked(values, mask)) if bool(mask.any()) else values

    found = pixels.in_tiles(run, wide, margin=margin)[:, :height, :width]
    return torch.where(known > 0, planes, found)


def inpainting() -> Application:
    """Of pictures, grey and colour, with a mask."""
    return Application(
        pixels.READS + ", and another of its size, --mask, that is white where pixels are missing",
        ("the picture with what was missing filled",),
        _read,
        _inpaint,
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-filled.png",),
        kept=pixels.WRITTEN,
        options=(MASK,),
        check=pixels.check_output,
    )
