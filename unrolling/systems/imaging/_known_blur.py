"""How systems for deblurring with a known kernel are applied to pictures: a second file holds the kernel."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.splitting.data_terms import Blurred
from unrolling.core import Unrolled
from unrolling.core.arguments import check_range
from unrolling.files import pictures as pixels
from unrolling.operators.spectral import convolve
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.systems.imaging._files import facts, read
from unrolling.systems.options import Option
from unrolling.tasks.images.noise import noise_levels

LARGEST, MARGIN = 640, 96  # pixels along a side up to which a picture is deblurred as a whole; around a tile
QUIETEST = 0.5 / 255  # noise of a picture of 8 bits, about
KERNEL = Option(
    "kernel",
    Path,
    "the blur kernel, its pixels as large as the input's: a picture, bright where light went, or a .npy array",
)
NOISE = Option("sigma", float, "standard deviation of the noise", "of 255", "it is estimated")


class Content(NamedTuple):
    """A picture and its blur."""

    picture: pixels.Picture
    kernel: Tensor  # (1, height, width), sums to one


def read_kernel(path: Path) -> Tensor:
    """A kernel (1, height, width) that sums to one.

    Raises:
        ValueError: no file, no picture or matrix of numbers, negative ones, or nothing but zeros.
    """
    if path.suffix.lower() == ".npy":
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path} is no file of NumPy: {error}") from error
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise ValueError(f"{path} holds {values.dtype} of shape {values.shape}; a kernel is a real matrix")
        kernel = torch.from_numpy(values.astype(np.float32))
    else:
        kernel = pixels.read(path).pixels.mean(0)
    if not bool(torch.isfinite(kernel).all()) or bool((kernel < 0).any()):
        raise ValueError(f"{path} has numbers that are negative or not finite; a kernel is light, and sums to one")
    if not float(kernel.sum()) > 0:
        raise ValueError(f"{path} is zero everywhere; a kernel sums to one")
    return (kernel / kernel.sum()).unsqueeze(0)


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    given = options.get("kernel")
    if given is None:
        raise ValueError(f"{path}: name the file of the blur kernel with --kernel FILE")
    if Path(given).resolve() == path.resolve():
        raise ValueError(f"--kernel {given} is the input itself")
    picture, kernel = read(path, options), read_kernel(Path(given))
    (height, width), (rows, columns) = picture.pixels.shape[-2:], kernel.shape[-2:]
    if rows >= height or columns >= width:
        raise ValueError(
            f"the kernel {given} has {rows} x {columns} pixels, and {path} has {height} x {width}: a kernel is smaller"
        )
    return Content(picture, kernel)


def tapered(planes: Tensor, kernel: Tensor, margin: int) -> Tensor:
    """Planes (channels, height, width) with a mirrored border of ``margin`` pixels, its edges blurred the more the
    nearer, so that opposite ones fit together: the blur of such a picture is nearly periodic (Reeves 2005,
    doi:10.1109/TIP.2005.854474).
    """
    wide = torch.nn.functional.pad(planes, (margin,) * 4, mode="reflect")
    inner = torch.ones(())
    for dim in (-2, -1):
        size = wide.shape[dim]
        profile = torch.fft.rfft(kernel[0].sum(-1 if dim == -2 else -2), size - 1)
        likeness = torch.fft.irfft(profile.abs().square(), size - 1)
        weight = 1 - torch.cat([likeness, likeness[:1]]) / likeness.max()
        inner = inner * (weight.unsqueeze(1) if dim == -2 else weight)
    return inner * wide + (1 - inner) * convolve(wide, kernel)


def told_noise(network: Unrolled, noise: float, level: float) -> Unrolled:
    """The network for another noise: alpha = (level / noise)^2, level that of its denoiser."""
    own = copy.deepcopy(network)
    for layer in own.layers:
        layer.fidelity = torch.as_tensor((level / noise) ** 2).to(layer.fidelity)  # pyright: ignore
    return own


def _deblur(level: float) -> Any:
    @torch.no_grad()
    def deblur(
        network: Unrolled,
        task: Any,
        content: Content,
        outputs: Sequence[Path],
        kernel: Path | None = None,
        sigma: float | None = None,
    ) -> Mapping[str, Any]:
        picture, blur = content
        if sigma is not None:
            check_range(sigma, "sigma", 0.0, 255.0)
        levels = noise_levels(picture.pixels.mean(0)) if sigma is None else None
        found = sigma / 255 if sigma is not None else task.noise if levels is None else levels.top / 255
        own = told_noise(network, max(found, QUIETEST), level)

        def run(piece: Tensor) -> Tensor:
            margin = min(max(blur.shape[-2:]), min(piece.shape[-2:]) - 1)
            sharp = own(Blurred(tapered(piece, blur, margin), blur))
            return sharp[..., margin:-margin, margin:-margin]

        sharp = pixels.in_tiles(run, picture.pixels, margin=MARGIN, tile=LARGEST - 2 * MARGIN)
        pixels.write(outputs[0], picture.replaced(sharp))
        how = "given" if sigma is not None else "estimated"
        return {
            **facts(picture),
            "kernel": list(blur.shape[-2:]),
            "noise": round(255 * found, 2),
            "conditions": [Condition("noise", round(255 * found, 2), how, "of 255", effect="data count by it")],
        }

    return deblur


def deblurring(level: float) -> Application:
    """Of pictures, grey and colour, each colour by itself, with their kernel.

    Args:
        level: of the noise that the network's denoiser was trained for.
    """
    return Application(
        pixels.READS + ", and its blur kernel, --kernel",
        ("the sharp picture",),
        _read,
        _deblur(level),
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-sharp.png",),
        kept=pixels.WRITTEN,
        options=(KERNEL, NOISE),
        check=pixels.check_output,
    )
