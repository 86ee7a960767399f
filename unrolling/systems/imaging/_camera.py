"""How weights that are told the noise are applied to blurred pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.images.dublid_levels import MOST, DUBLIDLevels, blended
from unrolling.algorithms.sparse.strided import NoisyImage
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.systems.imaging._blind import (
    LARGEST,
    MARGIN,
    SHOW_KERNEL,
    kernel_picture,
    middle_part,
    spreads,
    with_kernels,
)
from unrolling.systems.imaging._files import facts, read
from unrolling.systems.imaging._first import without_noise
from unrolling.systems.options import Option
from unrolling.tasks.images.camera_blur import CameraBlur
from unrolling.tasks.images.noise import noise_of

SIGMA = Option("sigma", float, "standard deviation of the noise", "of 255", "estimated")
LEAST_TRUST = 0.5  # what the network would change less of than this part is given back: it finds no blur
TOO_STRONG = "what is above that is taken away before, by the weights of imaging/tnrd"


class Content(NamedTuple):
    """A picture as it is deblurred."""

    picture: pixels.Picture
    planes: Tensor  # of the picture, without noise that is too strong
    levels: Tensor  # of the noise in each of them, for pictures in [0, 1]
    grey: float  # of the noise in their mean
    noise: float  # of 255, in the picture, given or as it was found
    strong: bool  # whether some of it was taken away


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    sigma = options.get("sigma")
    if sigma is not None and not 0 <= sigma < 255:
        raise ValueError(f"--sigma is {sigma:g}; the noise has a standard deviation from 0 to below 255")
    picture = read(path, options)
    planes, found = (picture.pixels, 0.0) if sigma is not None else without_noise(picture.pixels, 255 * MOST)
    levels = torch.tensor([_level(plane) for plane in planes])
    grey = _level(planes.mean(0))
    noise = found or 255 * float(levels.square().mean().sqrt())
    if sigma is not None:
        # What the colours have in common of it stays in their mean; of independent noise 1 / sqrt(3).
        mean = float(levels.square().mean().sqrt())
        share = min(1.0, max(len(levels) ** -0.5, grey / mean)) if mean > 0 else 1.0
        levels, grey, noise = torch.full((len(levels),), sigma / 255), share * sigma / 255, sigma
    return Content(picture, planes, levels.clamp(0, 1), grey, noise, bool(found))


def _level(plane: Tensor) -> float:
    """Of noise that can be told from texture, or what there is of it at most; 0 in a picture too small to tell."""
    found = noise_of(plane)
    return 0.0 if found is None else found.level / 255


@torch.no_grad()
def _deblur(
    network: Unrolled,
    task: CameraBlur,
    content: Content,
    outputs: Sequence[Path],
    show_kernel: bool = False,
    sigma: float | None = None,
) -> Mapping[str, Any]:
    picture, planes = content.picture, content.planes
    height, width = planes.shape[-2:]
    first: Any = network.layers[0]
    size = first.kernel_size
    if min(height, width) < size:
        raise ValueError(f"the kernel has {size} x {size} pixels, more than the picture, which has {height} x {width}")
    kernels, trust = found_blur(network, middle_part(planes.mean(0)), content.grey)
    shorter, longer = spreads(kernels[-1][0])

    def run(piece: Tensor) -> Tensor:
        margin = size // 2
        wide = torch.nn.functional.pad(piece, (margin,) * 4, mode="reflect")
        sharp = with_kernels(network, NoisyImage(wide, content.levels), kernels)[..., margin:-margin, margin:-margin]
        return blended(piece, sharp, trust)

    how = "estimated" if sigma is None else "given"
    told: dict[str, Any] = {
        **facts(picture),
        "kernel_pixels": int((kernels[-1] > 0.01 * kernels[-1].max()).sum()),
        "kernel_spreads": [round(shorter, 2), round(longer, 2)],
        "noise": round(content.noise, 2),
        "trust": round(float(trust), 3),
        "conditions": [
            Condition("noise", round(content.noise, 2), how, "of 255", effect=TOO_STRONG if content.strong else ""),
            Condition("spread of the blur", round(longer, 2), "estimated", "pixels"),
        ],
    }
    if float(trust) < LEAST_TRUST:
        told["unchanged"] = f"it is sharp: no blur was found that would change it (trust {float(trust):.2g})"
        pixels.write(outputs[0], picture)
    else:
        whole = max(height, width) <= LARGEST
        sharp = run(planes) if whole else pixels.in_tiles(run, planes, margin=MARGIN, tile=LARGEST - 2 * MARGIN)
        pixels.write(outputs[0], picture.replaced(sharp))
    if show_kernel:
        told["more"] = kernel_picture(outputs[0], kernels[-1])
    return told


@torch.no_grad()
def found_blur(network: Unrolled, grey: Tensor, level: float) -> tuple[list[Tensor], Tensor]:
    """The kernel after each layer from an image (height, width) with a level of noise, and how far what follows from
    them is to be trusted, (1,).
    """
    kernels: list[Tensor] = []
    trust = grey.new_zeros(1)
    last: Any = network.layers[-1]
    for layer, problem, state in network.walk(NoisyImage(grey.unsqueeze(0), torch.tensor([min(1.0, level)]))):
        kernels.append(state.kernel)
        if layer is last and isinstance(layer, DUBLIDLevels):
            trust = layer.trust(layer.restored(state, problem), problem)
    return kernels, trust


def camera_application() -> Application:
    """Of blurred pictures, grey and colour, with noise of a given or an estimated strength."""
    return Application(
        pixels.READS,
        ("the sharp picture",),
        _read,
        _deblur,
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-sharp.png",),
        further_suffixes=("-sharp-kernel.png",),
        kept=pixels.WRITTEN,
        options=(SHOW_KERNEL, SIGMA),
        check=pixels.check_output,
    )
