"""How the systems for rain removal are applied to pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.imaging._files import facts, read
from unrolling.systems.options import Option

LEAST = 16  # pixels along a side that the network is given
RAIN = Option("rain", Path, "a picture file for the rain, or a folder for those of several inputs")
NAMED = "-rain.png"
BLOCK = 32  # pixels along a side: rain falls everywhere, what only looks like it stands here and there
# Of ``detail_taken``: a photograph of which no more is taken counts as dry. The smallest bounds that change at most 5 %
# of the dry crops of training and validation photographs (python -m benchmarks.rain --part guard).
RAINY = {"imaging/derain": 0.35, "imaging/rcdnet": 0.25}
LEAST_DETAIL = 0.5 / 255  # half a step of 8 bits
RANGE = {"rain": Range(0, 44)}  # of 255, root mean square: of 95 in 100 training pictures


def reach(network: Unrolled) -> int:
    """Pixels that an output depends on, in each direction: half of every convolution in every layer, those of streaks
    twice, there and back.
    """
    total = sum(m.kernel_size[0] // 2 for m in network.modules() if isinstance(m, torch.nn.Conv2d))
    layer: Any = network.layers[0]
    kernels = getattr(layer, "kernels", None)
    return total + (0 if kernels is None else 2 * len(network) * (kernels.shape[-1] // 2))


@torch.no_grad()
def take_apart(network: Unrolled, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Background and rain of a picture (1 or 3, height, width), of its kind: grey ones are given as three equal
    colours, and the answers averaged.
    """
    count, height, width = planes.shape
    colours = planes.expand(3, -1, -1)
    short = (0, max(0, LEAST - width), 0, max(0, LEAST - height))
    wide = functional.pad(colours.unsqueeze(0), short, mode="replicate")[0] if any(short) else colours

    def run(piece: Tensor) -> Tensor:
        return torch.cat(list(network.supervised(piece.unsqueeze(0))), 1)[0]

    both = pixels.in_tiles(run, wide, margin=reach(network))[:, :height, :width]
    clean, rain = both[:3], both[3:]
    return (clean, rain) if count == 3 else (clean.mean(0, keepdim=True), rain.mean(0, keepdim=True))


def detail_taken(clean: Tensor, taken: Tensor) -> float:
    """How large what was taken (1 or 3, height, width) is beside the detail of what stays: the root mean squares of
    the differences of neighbours in a row, of the mean of the colours, in the middle one by size of blocks of 32 x 32
    pixels, one over the other.

    Rain falls everywhere and crosses rows; of textures, leaves and hair networks take some, and leave more.
    """
    return _row_detail(taken) / (_row_detail(clean) + LEAST_DETAIL)


def _row_detail(planes: Tensor) -> float:
    steps = planes.mean(0, keepdim=True).diff(dim=-1)
    if steps.numel() == 0:
        return 0.0
    return float(functional.adaptive_avg_pool2d(steps.square().unsqueeze(0), _blocks(planes)).sqrt().median())


def _blocks(planes: Tensor) -> tuple[int, int]:
    height, width = (max(1, round(side / BLOCK)) for side in planes.shape[-2:])
    return height, width


def _read(path: Path, options: Mapping[str, Any]) -> pixels.Picture:
    rain = options.get("rain")
    if rain is not None:
        rain = _rain_path(Path(rain), path)
        if rain.resolve() == path.resolve():
            raise ValueError(f"--rain {rain} is the input; name another file")
        pixels.check_output(rain)
    return read(path, options)


def _rain_path(given: Path, source: Path) -> Path:
    """Where the rain of an input goes: into a folder under the input's name."""
    return given / f"{source.stem}{NAMED}" if given.is_dir() else given


def _derain(
    network: Unrolled,
    task: Any,
    picture: pixels.Picture,
    outputs: Sequence[Path],
    rain: Path | None = None,
    *,
    system: str,
) -> Mapping[str, Any]:
    clean, streaks = take_apart(network, picture.pixels)
    taken = 255 * float((picture.pixels - clean).square().mean().sqrt())
    told: dict[str, Any] = {**facts(picture), "rain": round(taken, 2)}
    # NaN is below no bound: it goes on to the writer, which refuses it.
    if detail_taken(clean, picture.pixels - clean) <= RAINY[system]:
        told["unchanged"] = "no more was found than there is in photographs without rain"
        clean, streaks = picture.pixels, torch.zeros_like(picture.pixels)
    told["conditions"] = [
        Condition("rain", round(taken, 2), "estimated", "of 255, root mean square", effect="some of it may stay")
    ]
    if rain is not None:
        path = _rain_path(Path(rain), outputs[0])
        if path.resolve() == outputs[0].resolve():
            raise ValueError(f"--rain {path} is the output; name another file")
        pixels.check_output(path)
    pixels.write(outputs[0], picture.replaced(clean))
    if rain is not None:
        path = _rain_path(Path(rain), outputs[0])
        pixels.write(path, pixels.Picture(streaks.clamp(0, 1), depth=picture.depth))
        told["more"] = {str(path): "the rain"}
    return told


def application(system: str) -> Application:
    """Of pictures, grey and colour, with or without alpha.

    Args:
        system: by name, whose bound decides which photographs count as dry and stay as they are.
    """
    return Application(
        pixels.READS,
        ("the picture without rain",),
        _read,
        partial(_derain, system=system),
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-clean.png",),
        further_suffixes=("-clean" + NAMED,),
        kept=pixels.WRITTEN,
        options=(RAIN,),
        check=pixels.check_output,
    )
