"""How the imaging systems are applied to picture files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unrolling.algorithms.images.diffusion import Compressed
from unrolling.algorithms.images.experts import FieldOfExperts
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.systems.base import Application, System
from unrolling.systems.conditions import Condition, Range
from unrolling.tasks.images.deblocking import coefficients_of
from unrolling.training.weights import read_weights

# pixels beyond which groups of similar patches have no effect that could be seen: `python -m benchmarks.nlr_mrf --part
# tiles` measures it
FAR = 64


def shipped_values(system: System, task: str, key: str) -> list[Any]:
    """The values of an option for which weights are shipped.

    Raises:
        ValueError: none are.
    """
    name = system.name.rsplit("/", 1)[-1]
    files = sorted((system.home / "weights").glob(f"{name}-{task}-*.safetensors"))
    found = sorted({read_weights(file)[2]["task"][key] for file in files})
    if not found:
        raise ValueError(
            f"no weights are shipped for {system.name}; train some (unroll train {system.name}) and name "
            "them with --weights"
        )
    return found


def reach(network: Unrolled, extra: int = 0) -> int:
    """Pixels that an output of a denoising network depends on, in each direction: of diffusion in each step half a
    filter there and half a filter back; of convolutions in a prox or a denoiser half of each. Of groups of patches, no
    more than ``FAR``.
    """
    if isinstance(layer := network.layers[0], FieldOfExperts):
        return min(len(network) * (layer.reach + extra), FAR)
    taps: Any = getattr(layer, "filters", None)
    if taps is None:
        convolutions = [part for each in network.layers for part in each.modules() if isinstance(part, nn.Conv2d)]
        return sum(part.kernel_size[0] // 2 + extra for part in convolutions)
    return len(network) * (2 * (taps.taps().shape[-1] // 2) + extra)


def read(path: Path, options: Mapping[str, Any]) -> pixels.Picture:
    """The picture in a file."""
    return pixels.read(path)


def facts(picture: pixels.Picture) -> dict[str, Any]:
    """What is told of every picture."""
    channels, height, width = picture.pixels.shape
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "depth": picture.depth,
        "alpha": picture.alpha is not None,
    }


# Compression artefacts


class Decoded(NamedTuple):
    """What a JPEG file holds."""

    values: np.ndarray  # (height, width) luma, or (height, width, 3) with chroma, float32 in levels
    table: np.ndarray  # (8, 8): the quantisation steps of luma
    orientation: int  # of the Exif standard
    profile: bytes | None


def _open_jpeg(source: Path, options: Mapping[str, Any]) -> Decoded:
    if not source.is_file():
        raise ValueError(f"{source} does not exist; the input is a JPEG file")
    with pixels.opened(source) as file:
        if file is None or file.format != "JPEG":
            kind = "TIFF" if file is None else file.format
            raise ValueError(f"{source} is a {kind} file; what JPEG did to a picture is known from a JPEG file alone")
        if file.mode not in ("L", "RGB"):
            raise ValueError(
                f"{source} is a JPEG file of the kind {file.mode}; only grey and colour (YCbCr) ones can be worked on"
            )
        orientation = int(file.getexif().get(0x0112, 1))
        if file.mode == "RGB":
            file.draft("YCbCr", file.size)
        table = np.asarray(file.quantization[0], dtype=np.float32).reshape(8, 8)
        # Asked for in the file's own colours, they come without a detour through RGB that would round them.
        values = np.array(file.convert("YCbCr") if file.mode == "RGB" else file, dtype=np.float32)
        return Decoded(values, table, orientation, file.info.get("icc_profile"))


# The first row and column of the table for luma in Annex K of the standard (ITU-T T.81), which encoders scale by the
# quality.
STANDARD = np.array([16, 11, 10, 16, 24, 40, 51, 61, 12, 14, 18, 24, 49, 72], dtype=np.float64)


def quality_of(table: np.ndarray) -> int:
    """The quality, 1 to 100, of the Independent JPEG Group's encoder whose table is nearest; of a table that is one of
    its own, that quality (the higher of two with the same table).
    """
    held = np.concatenate([table[0], table[1:7, 0]])
    qualities = np.arange(100, 0, -1)
    scales = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    tables = ((STANDARD * scales[:, None] + 50) // 100).clip(1, 255)
    return int(qualities[np.abs(tables - held).sum(1).argmin()])


# The part of the network's change that is taken, by quality: weights for quality 10 change too much from about 25 on.
# Chosen on training photographs, at qualities from 5 to 95.
PARTS = ((20.0, 1.0), (40.0, 0.75), (80.0, 0.5))
HELPED = Range(5, 80)  # qualities; above, the file is closer to its original than what a part of the change leaves


def part_of(quality: float) -> float:
    """The part of the network's change that is taken at a quality; 0 above 80."""
    if quality > HELPED.high:
        return 0.0
    return float(np.interp(quality, [x for x, _ in PARTS], [part for _, part in PARTS]))


def _check_lossless(path: Path) -> None:
    pixels.check_output(path)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise ValueError(f"{path} would be compressed by JPEG again, and lose what is won; name a .png or .tif")


def _nearest_quality(system: System, task: str, content: Decoded, options: Mapping[str, Any]) -> Mapping[str, Any]:
    quality = quality_of(content.table)
    return {"quality": min(shipped_values(system, task, "quality"), key=lambda value: abs(log(value) - log(quality)))}


class JPEGWay(NamedTuple):
    """How the networks of a system take files of different qualities."""

    part: Callable[[float], float]  # of their change that is taken at a quality
    margin: Callable[[Unrolled], int]  # pixels that their results depend on, in each direction
    trained: Callable[[Any], Any]  # for what qualities, of a task
    tile: int = 512


ONE_QUALITY = JPEGWay(part_of, lambda network: reach(network, extra=7), lambda task: task.quality)


def _deblock(
    network: Unrolled, task: Any, content: Decoded, outputs: Sequence[Path], *, way: JPEGWay
) -> Mapping[str, Any]:
    values, table, orientation, profile = content
    planes = torch.from_numpy(values / 255)
    luma = planes if planes.ndim == 2 else planes[..., 0]
    height, width = luma.shape
    # Blocks at the right and lower border go on beyond the picture, where nothing is known of them.
    padded = torch.nn.functional.pad(luma[None, None], (0, -width % 8, 0, -height % 8), mode="replicate")[0, 0]
    steps = torch.from_numpy(table).unsqueeze(0) / 255
    known = torch.zeros_like(padded)
    known[: height // 8 * 8, : width // 8 * 8] = 1
    stack = torch.stack([padded, coefficients_of(padded.unsqueeze(0), steps)[0], known])

    quality = quality_of(table)
    part = way.part(quality)

    def run(piece: Tensor) -> Tensor:
        return network(Compressed(piece[:1], piece[1:2], steps, piece[2:]))

    clean = luma
    if part > 0:
        # A projection lets a pixel see its whole block.
        found = pixels.in_tiles(run, stack, margin=way.margin(network), tile=way.tile, align=8)[0, :height, :width]
        clean = found if part == 1 else torch.lerp(luma, found, part)
    if planes.ndim == 3:
        clean = rgb(clean, planes[..., 1] - 128 / 255, planes[..., 2] - 128 / 255)
    else:
        clean = clean.unsqueeze(0)
    turned = np.ascontiguousarray(pixels.turned(clean.movedim(0, -1).numpy(), orientation))
    picture = pixels.Picture(torch.from_numpy(turned).movedim(-1, 0), profile=profile)
    pixels.write(outputs[0], picture)
    trained = way.trained(task)
    told: dict[str, Any] = {**facts(picture), "quality": quality, "trained_for": trained, "part": part}
    effect = f"{part:.0%} of the change that they make is taken" if part else "the picture is given back"
    told["conditions"] = [Condition("quality", quality, "read", effect=effect)]
    if part == 0:
        told["unchanged"] = f"at quality {quality} the weights, for {trained}, would change more than JPEG did"
    return told


def rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    """RGB (3, height, width) of luma and chroma about zero (ITU-T T.871)."""
    return torch.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])


def ycbcr(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma and chroma about zero, the inverse of ``rgb``."""
    r, g, b = rgb
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return y, (b - y) / 1.772, (r - y) / 1.402


def deblocking(way: JPEGWay = ONE_QUALITY) -> Application:
    """Of JPEG files, whose luma is worked on."""
    return Application(
        "a JPEG file, grey or colour",
        ("the picture without compression artefacts",),
        _open_jpeg,
        partial(_deblock, way=way),
        suffixes=(".jpg", ".jpeg"),
        default_suffixes=("-deblocked.png",),  # as .jpg, the picture would lose again what was won
        settings=_nearest_quality if way is ONE_QUALITY else None,
        check=_check_lossless,
    )
