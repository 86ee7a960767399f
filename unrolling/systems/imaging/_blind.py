"""How the systems for blind deblurring are applied to pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.images.dublid_levels import DUBLIDLevels
from unrolling.algorithms.sparse.strided import NoisyImage
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application, System
from unrolling.systems.conditions import Condition
from unrolling.systems.imaging._files import facts, read, shipped_values
from unrolling.systems.imaging._first import without_noise
from unrolling.systems.options import Option
from unrolling.tasks.images.deblurring import Deblurring
from unrolling.tasks.images.noise import noise_levels

LARGEST = 640  # pixels along a side up to which a picture is deblurred as a whole
MARGIN = 96  # pixels around a tile, twice what the kernel and its inverse reach
ENLARGED = 8  # times, in the picture of a kernel
SHOW_KERNEL = Option("show_kernel", bool, "also write the blur kernel, as a picture beside the output")


LEVEL = 0.01  # of the noise that the weights were trained with, for pictures in [0, 1]
CLEANED = 1.3  # times that level: from there on the noise is taken away first
MISSING = 0.3  # part of that level that may be missing
SHARP = 1.0  # pixels: a kernel that is spread by no more (standard deviation along its longer axis) is no motion
# One that is spread along its shorter axis by no more than so many pixels, or this part of its longer axis, is a
# straight motion: trembling ones were spread by 1.3 and 0.27 at least. Weights for straight motions lose more on those
# than they win on straight ones.
STRAIGHT, SLENDER = 1.0, 0.23
LEAST = 45  # pixels along a side of the kernel
_FOR_ALL: dict[str, Unrolled] = {}  # weights for all motions by system, read once for all files of a command
SEED = 0  # of the noise that is added
EFFECTS = {
    "strong": "it is taken away before, by the weights of imaging/tnrd",
    "weak": "what is missing is added where the kernel is found",
    "weak, trembling": "trembling motions are found as well without it",
}


class Content(NamedTuple):
    """A picture as it is deblurred."""

    picture: pixels.Picture
    planes: Tensor  # of the picture, without noise that is too strong
    noise: float  # of 255, as found


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    picture = read(path, options)
    planes, noise = without_noise(picture.pixels, 255 * CLEANED * LEVEL)
    if noise == 0:
        levels = noise_levels(picture.pixels.mean(0))
        noise = 0.0 if levels is None else levels.top
    return Content(picture, planes, noise)


def spreads(kernel: Tensor) -> tuple[float, float]:
    """The standard deviations of a kernel (height, width) along its shorter and its longer axis, in pixels."""
    weights = kernel.clamp_min(0).double()
    weights = weights / weights.sum()
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in weights.shape)
    y = (rows - (weights.sum(1) * rows).sum()).unsqueeze(1)
    x = columns - (weights.sum(0) * columns).sum()
    mixed = (weights * x * y).sum()
    covariance = torch.stack([(weights * y * y).sum(), mixed, mixed, (weights * x * x).sum()]).reshape(2, 2)
    shorter, longer = torch.linalg.eigvalsh(covariance).clamp_min(0).sqrt().tolist()
    return shorter, longer


def _kind(system: System, task: str, content: Content, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights for straight motions where those for all motions find one, and those themselves elsewhere."""
    shipped = shipped_values(system, task, "kind")
    height, width = content.planes.shape[-2:]
    if not {"linear", "both"} <= set(shipped) or min(height, width) < LEAST:
        return {"kind": shipped[0]} if len(shipped) == 1 else {}
    if system.name not in _FOR_ALL:
        _FOR_ALL[system.name] = system.pretrained(task, kind="both")
    kernel = _kernels(_FOR_ALL[system.name], middle_part(content.planes.mean(0)).unsqueeze(0))[-1][0]
    shorter, longer = spreads(kernel)
    return {"kind": "linear" if shorter <= max(STRAIGHT, SLENDER * longer) and longer > SHARP else "both"}


def _deblur(
    network: Unrolled, task: Deblurring, content: Content, outputs: Sequence[Path], show_kernel: bool = False
) -> Mapping[str, Any]:
    picture, planes, noise = content
    together = bool(task.colour)
    layer: Any = network.layers[0]
    size = layer.kernel_size
    height, width = planes.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"the kernel has {size} x {size} pixels, more than the picture, which has {height} x {width}")
    if together and planes.shape[0] == 1:
        planes = planes.repeat(3, 1, 1)
    luma = planes if together else planes.mean(0)
    straight = task.kind == "linear"
    added = _missing(noise) if straight else 0.0
    kernels = _kernels(network, _noisier(middle_part(luma), added).unsqueeze(0))
    shorter, longer = spreads(kernels[-1][0])
    whole = max(height, width) <= LARGEST

    def run(piece: Tensor) -> Tensor:
        # What a network for grey does for the colours of a picture: each by itself, all with the kernels that their
        # mean has led to. Networks are trained on pictures surrounded by zeros, which darken the border; a mirrored one
        # lies between them and what is kept.
        margin = size // 2
        wide = torch.nn.functional.pad(piece, (margin,) * 4, mode="reflect")
        found = (
            with_kernels(network, wide.unsqueeze(0), kernels)[0] if together else with_kernels(network, wide, kernels)
        )
        return found[..., margin:-margin, margin:-margin]

    told: dict[str, Any] = {
        **facts(picture),
        "kernel_pixels": int((kernels[-1] > 0.01 * kernels[-1].max()).sum()),
        "kernel_spreads": [round(shorter, 2), round(longer, 2)],
        "noise": round(noise, 2),
        "noise_added": round(255 * added, 2),
        "conditions": _conditions(noise, added, straight, longer),
    }
    if longer <= SHARP:
        told["unchanged"] = (
            f"it is sharp: the blur that was found is spread by {longer:.2g} pixels, no more than of sharp pictures"
        )
        pixels.write(outputs[0], picture)
    else:
        with torch.no_grad():
            sharp = run(planes) if whole else pixels.in_tiles(run, planes, margin=MARGIN, tile=LARGEST - 2 * MARGIN)
        pixels.write(outputs[0], picture.replaced(sharp[: picture.pixels.shape[0]]))
    if show_kernel:
        told["more"] = kernel_picture(outputs[0], kernels[-1])
    return told


def kernel_picture(output: Path, kernel: Tensor) -> dict[str, str]:
    """Writes a kernel (1, height, width) beside an output; what was written, by its path."""
    path = output.with_name(f"{output.stem}-kernel.png")
    pixels.check_output(path)
    enlarged = (kernel / kernel.max()).repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
    pixels.write(path, pixels.Picture(enlarged))
    return {str(path): f"the blur kernel, {ENLARGED} times its size"}


def _missing(noise: float) -> float:
    """Standard deviation of the noise that a picture lacks, for pictures in [0, 1]."""
    missing = max(0.0, LEVEL**2 - (noise / 255) ** 2) ** 0.5
    return missing if missing > MISSING * LEVEL and noise < 255 * LEVEL else 0.0


def _noisier(image: Tensor, added: float) -> Tensor:
    if added == 0:
        return image
    return image + added * torch.randn(image.shape, generator=torch.Generator().manual_seed(SEED))


def _conditions(noise: float, added: float, straight: bool, longer: float) -> list[Condition]:
    strong = noise > 255 * CLEANED * LEVEL
    effect = EFFECTS["strong" if strong else "weak" if added or straight else "weak, trembling"]
    return [
        Condition("noise", round(noise, 2), "estimated", "of 255", effect=effect),
        Condition("motion", "straight" if straight else "of all kinds", "estimated"),
        Condition("spread of the blur", round(longer, 2), "estimated", "pixels"),
    ]


def middle_part(luma: Tensor) -> Tensor:
    """The part of a large image that the kernels are found from."""
    height, width = luma.shape[-2:]
    top, left = (max(0, (side - LARGEST) // 2) for side in (height, width))
    return luma[..., top : top + LARGEST, left : left + LARGEST]


@torch.no_grad()
def _kernels(network: Unrolled, image: Tensor) -> list[Tensor]:
    """The kernel after each layer."""
    return [state.kernel for state in network.trajectory(image)]


def with_kernels(network: Unrolled, images: Any, kernels: Sequence[Tensor]) -> Tensor:
    """The estimate where the kernel after each layer is given: pieces of one picture share its kernel. Of a network
    that may keep the picture, what it would be if it kept nothing.
    """
    count = images.image.shape[0] if isinstance(images, NoisyImage) else images.shape[0]
    state: Any = None
    last: Any = None
    problem: Any = None
    for number, ((layer, problem), kernel) in enumerate(zip(network.prepared(images), kernels, strict=True)):
        state = layer.start(problem) if number == 0 else state
        state = layer(state, problem)._replace(kernel=kernel.expand(count, -1, -1))
        last = layer
    if isinstance(last, DUBLIDLevels):
        return last.restored(state, problem).image
    return last.estimate(state, problem)


def application() -> Application:
    """Of blurred pictures, grey and colour."""
    return Application(
        pixels.READS,
        ("the sharp picture",),
        _read,
        _deblur,
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-sharp.png",),
        further_suffixes=("-sharp-kernel.png",),
        kept=pixels.WRITTEN,
        options=(SHOW_KERNEL,),
        settings=_kind,
        check=pixels.check_output,
    )
