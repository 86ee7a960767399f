"""How the systems for blind deblurring are applied to pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application
from unrolling.systems.imaging._files import facts, read
from unrolling.systems.options import Option
from unrolling.tasks.images.deblurring import Deblurring

LARGEST = 640  # pixels along a side up to which a picture is deblurred as a whole
MARGIN = 96  # pixels around a tile, twice what the kernel and its inverse reach
ENLARGED = 8  # times, in the picture of a kernel
SHOW_KERNEL = Option("show_kernel", bool, "also write the blur kernel, as a picture beside the output")


def _deblur(
    network: Unrolled, task: Deblurring, picture: pixels.Picture, outputs: Sequence[Path], show_kernel: bool = False
) -> Mapping[str, Any]:
    planes = picture.pixels
    together = bool(task.colour)
    layer: Any = network.layers[0]
    size = layer.kernel_size
    height, width = planes.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"the kernel has {size} x {size} pixels, more than the picture, which has {height} x {width}")
    if together and planes.shape[0] == 1:
        planes = planes.repeat(3, 1, 1)
    luma = planes if together else planes.mean(0)
    kernels = _kernels(network, _middle(luma).unsqueeze(0))
    whole = max(height, width) <= LARGEST

    def run(piece: Tensor) -> Tensor:
        # What a network for grey does for the colours of a picture: each by itself, all with the kernels that their
        # mean has led to. Networks are trained on pictures surrounded by zeros, which darken the border; a mirrored one
        # lies between them and what is kept.
        margin = size // 2
        wide = torch.nn.functional.pad(piece, (margin,) * 4, mode="reflect")
        found = (
            _with_kernels(network, wide.unsqueeze(0), kernels)[0] if together else _with_kernels(network, wide, kernels)
        )
        return found[..., margin:-margin, margin:-margin]

    with torch.no_grad():
        sharp = run(planes) if whole else pixels.in_tiles(run, planes, margin=MARGIN, tile=LARGEST - 2 * MARGIN)
    sharp = sharp[: picture.pixels.shape[0]]
    pixels.write(outputs[0], picture.replaced(sharp))
    found: dict[str, Any] = {**facts(picture), "kernel_pixels": int((kernels[-1] > 0.01 * kernels[-1].max()).sum())}
    if show_kernel:
        path = outputs[0].with_name(f"{outputs[0].stem}-kernel.png")
        pixels.check_output(path)
        enlarged = (kernels[-1] / kernels[-1].max()).repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
        pixels.write(path, pixels.Picture(enlarged))
        found["more"] = {str(path): f"the blur kernel, {ENLARGED} times its size"}
    return found


def _middle(luma: Tensor) -> Tensor:
    """The part of a large image that the kernels are found from."""
    height, width = luma.shape[-2:]
    top, left = (max(0, (side - LARGEST) // 2) for side in (height, width))
    return luma[..., top : top + LARGEST, left : left + LARGEST]


@torch.no_grad()
def _kernels(network: Unrolled, image: Tensor) -> list[Tensor]:
    """The kernel after each layer."""
    return [state.kernel for state in network.trajectory(image)]


def _with_kernels(network: Unrolled, images: Tensor, kernels: Sequence[Tensor]) -> Tensor:
    """The estimate where the kernel after each layer is given: pieces of one picture share its kernel."""
    state: Any = None
    last: Any = None
    problem: Any = None
    for number, ((layer, problem), kernel) in enumerate(zip(network.prepared(images), kernels, strict=True)):
        state = layer.start(problem) if number == 0 else state
        state = layer(state, problem)._replace(kernel=kernel.expand(images.shape[0], -1, -1))
        last = layer
    return last.estimate(state, problem)


def application() -> Application:
    """Of blurred pictures, grey and colour."""
    return Application(
        pixels.READS,
        ("the sharp picture",),
        read,
        _deblur,
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-sharp.png",),
        further_suffixes=("-sharp-kernel.png",),
        kept=pixels.WRITTEN,
        options=(SHOW_KERNEL,),
        check=pixels.check_output,
    )
