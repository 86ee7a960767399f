"""How the imaging systems are applied to picture files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.images.diffusion import Compressed
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.operators.resize import resize
from unrolling.systems.base import Application, System
from unrolling.systems.options import Option
from unrolling.tasks.images.deblocking import coefficients_of
from unrolling.training.weights import read_weights

# Orthonormal, so that noise of the same strength in red, green and blue is that in all three.
OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.5**0.5, 0.0, -(1.5**0.5)], [0.5**0.5, -(2**0.5), 0.5**0.5]]) / 3**0.5
LEAST_SIGMA = 1.0  # of 255
SIGMA = Option("sigma", float, "standard deviation of the noise", "of 255", "estimated")


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
    """Pixels that an output of a diffusion network depends on, in each direction: in each step half a filter there and
    half a filter back.
    """
    taps: Any = network.layers[0].filters
    return len(network) * (2 * (taps.taps().shape[-1] // 2) + extra)


# Denoising


def estimate_sigma(planes: Tensor) -> float:
    """The standard deviation of white noise in images (channels, height, width), from the median of the finest diagonal
    Haar coefficients.

    Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425. Fine texture counts as noise.
    """
    height, width = (side // 2 * 2 for side in planes.shape[-2:])
    if min(height, width) < 2:
        raise ValueError(
            f"the noise cannot be estimated from {planes.shape[-2]} x {planes.shape[-1]} pixels; say how "
            "strong it is, --sigma"
        )
    x = planes[..., :height, :width]
    detail = (x[..., ::2, ::2] - x[..., ::2, 1::2] - x[..., 1::2, ::2] + x[..., 1::2, 1::2]) / 2
    return float(detail.abs().flatten().median()) / 0.6745


def read(path: Path, options: Mapping[str, Any]) -> pixels.Picture:
    """The picture in a file."""
    return pixels.read(path)


def _sigma(picture: pixels.Picture, options: Mapping[str, Any]) -> float:
    sigma = options.get("sigma")
    if sigma is None:
        sigma = max(LEAST_SIGMA, 255 * estimate_sigma(picture.pixels))
    elif not 0 < sigma < 255:
        raise ValueError(f"--sigma is {sigma:g}; the noise has a standard deviation between 0 and 255")
    return sigma


def _nearest_sigma(system: System, task: str, picture: pixels.Picture, options: Mapping[str, Any]) -> Mapping[str, Any]:
    sigma = _sigma(picture, options)
    return {"sigma": min(shipped_values(system, task, "sigma"), key=lambda value: abs(log(value) - log(sigma)))}


def _denoise(
    network: Unrolled, task: Any, picture: pixels.Picture, outputs: Sequence[Path], sigma: float | None = None
) -> Mapping[str, Any]:
    level = _sigma(picture, {"sigma": sigma})
    # Between two strengths that were trained for: the image is scaled to the strength of its noise.
    ratio = task.sigma / level
    colour = picture.pixels.shape[0] == 3

    def run(piece: Tensor) -> Tensor:
        # Colours are changed tile by tile: of a large picture nothing is held twice.
        planes = torch.einsum("ij,jhw->ihw", OPPONENT, piece) if colour else piece
        clean = network(planes * ratio) / ratio
        return torch.einsum("ji,jhw->ihw", OPPONENT, clean) if colour else clean

    clean = pixels.in_tiles(run, picture.pixels, margin=reach(network))
    pixels.write(outputs[0], picture.replaced(clean))
    return {
        **facts(picture),
        "sigma": round(level, 2),
        "sigma_is": "estimated" if sigma is None else "given",
        "trained_for": task.sigma,
    }


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


def denoising() -> Application:
    """Of pictures, grey and colour, with noise of a given or an estimated strength."""
    return Application(
        pixels.READS,
        ("the picture without noise",),
        read,
        _denoise,
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-denoised.png",),
        kept=pixels.WRITTEN,
        options=(SIGMA,),
        settings=_nearest_sigma,
        check=pixels.check_output,
    )


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


def quality_of(table: np.ndarray) -> float:
    """The quality of the Independent JPEG Group's encoder whose table is nearest, 1 to 100."""
    held = np.concatenate([table[0], table[1:7, 0]])
    scale = float(np.median(100 * held / STANDARD))
    return max(1.0, min(100.0, 5000 / scale if scale > 100 else (200 - scale) / 2))


def _nearest_quality(system: System, task: str, content: Decoded, options: Mapping[str, Any]) -> Mapping[str, Any]:
    quality = quality_of(content.table)
    return {"quality": min(shipped_values(system, task, "quality"), key=lambda value: abs(log(value) - log(quality)))}


def _deblock(network: Unrolled, task: Any, content: Decoded, outputs: Sequence[Path]) -> Mapping[str, Any]:
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

    def run(piece: Tensor) -> Tensor:
        return network(Compressed(piece[:1], piece[1:2], steps, piece[2:]))

    # A projection lets a pixel see its whole block.
    clean = pixels.in_tiles(run, stack, margin=reach(network, extra=7), align=8)[0, :height, :width]
    if planes.ndim == 3:
        clean = _rgb(clean, planes[..., 1] - 128 / 255, planes[..., 2] - 128 / 255)
    else:
        clean = clean.unsqueeze(0)
    turned = np.ascontiguousarray(pixels.turned(clean.movedim(0, -1).numpy(), orientation))
    picture = pixels.Picture(torch.from_numpy(turned).movedim(-1, 0), profile=profile)
    pixels.write(outputs[0], picture)
    return {**facts(picture), "quality": round(quality_of(table)), "trained_for": task.quality}


def _rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    """RGB (3, height, width) of luma and chroma about zero (ITU-T T.871)."""
    return torch.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])


def _ycbcr(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma and chroma about zero, the inverse of ``_rgb``."""
    r, g, b = rgb
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return y, (b - y) / 1.772, (r - y) / 1.402


def deblocking() -> Application:
    """Of JPEG files, whose luma is worked on."""
    return Application(
        "a JPEG file, grey or colour",
        ("the picture without compression artefacts",),
        _open_jpeg,
        _deblock,
        suffixes=(".jpg", ".jpeg"),
        default_suffixes=("-deblocked.png",),  # as .jpg, the picture would lose again what was won
        settings=_nearest_quality,
        check=pixels.check_output,
    )


# Super-resolution


def _enlarge(network: Unrolled, task: Any, picture: pixels.Picture, outputs: Sequence[Path]) -> Mapping[str, Any]:
    factor = task.factor
    colour = picture.pixels.shape[0] == 3
    luma, *chroma = _ycbcr(picture.pixels) if colour else (picture.pixels[0],)
    # A step reaches half a filter there and back, and through reduction and its adjoint four pixels of the small image
    # and more.
    margin = -(-reach(network) // factor) + 6 * len(network)
    large = pixels.in_tiles(network, luma.unsqueeze(0), margin=margin, tile=512 // factor, scale=factor)
    if colour:
        height, width = large.shape[-2:]
        large = _rgb(large[0], *(resize(c, height, width) for c in chroma))
    result = picture.replaced(large)
    pixels.write(outputs[0], result)
    return {**facts(result), "factor": factor}


def super_resolution() -> Application:
    """Of pictures, whose luma the network enlarges; chroma is interpolated."""
    return Application(
        pixels.READS,
        ("the enlarged picture",),
        read,
        _enlarge,
        suffixes=pixels.SUFFIXES,
        default_suffixes=("-enlarged.png",),
        kept=pixels.WRITTEN,
        check=pixels.check_output,
    )
