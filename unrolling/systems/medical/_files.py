"""How the systems for magnetic resonance are applied to measured k-space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.files.kspace import READS, check_output, is_centred, read_kspace, write_image
from unrolling.files.kspace import image_origin as find_origin
from unrolling.operators.fourier import KSpace, check_origins, from_corner, ifft
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.options import Option
from unrolling.tasks.medical.mri import MRI, read_mask
from unrolling.tasks.medical.sampling import mask_kind

MASK = Option("mask", Path, "a .npy file with what was measured of k-space, zero frequency in its middle")
ORIGIN = Option(
    "image_origin",
    str,
    "corner or centre, the pixel that the transform counts from: centre in fftshift(fft2(ifftshift(image)))",
    default="what the borders of the image say",
)
# part of the energy of the zero-filled image in its imaginary part from which on an image is taken to be complex
COMPLEX = 0.02
FLAT = 0.3  # part of flat pixels from which on an image counts as piecewise constant
RATES = "python -m benchmarks.found_conditions --part kspace prints what was measured at other rates"
KINDS = "on chests other masks were measured to gain too"
POINTS = "where single points are measured, total variation was better, on chests too"
DRAWN = "total variation was measured to be better on such ones, at every rate and with every mask"
RANGE = {"measured": Range(10, 33), "mask": ("radial lines", "lines"), "coils": (1,)}


KNOWN: dict[str, Any] = {"given": "given", "found": "estimated", "assumed": "estimated"}


def _read(path: Path, options: Mapping[str, Any]) -> Tensor:
    return read_kspace(path)


def _reconstruct(
    network: Unrolled,
    task: MRI,
    samples: Tensor,
    outputs: Sequence[Path],
    mask: Path | None = None,
    image_origin: str | None = None,
) -> Mapping[str, Any]:
    if image_origin is not None:
        check_origins(image_origin=image_origin)
    shape = (int(samples.shape[1]), int(samples.shape[2]))
    centred = is_centred(samples)
    if centred:
        samples = torch.fft.ifftshift(samples, (-2, -1))
    if mask is None:
        sampled = (samples != 0).any(0).float()
    else:
        drawn = read_mask(mask, shape)
        shifted = torch.fft.ifftshift(drawn)
        # Masks are drawn with the zero frequency in the middle; of one that is not, the measured energy would lie
        # outside.
        energy = samples.abs().square().sum(0)
        sampled = shifted if float((energy * shifted).sum()) >= float((energy * drawn).sum()) else drawn
    samples = sampled * samples
    zero_filled = ifft(samples)
    origin: Any = image_origin
    how = "given"
    if origin is None:
        origin, how = find_origin(zero_filled), "found"
    if origin is None:
        # Who puts the zero frequency into the middle mostly puts the image's origin there too.
        origin, how = "centre" if centred else "corner", "assumed"
    peak = float(zero_filled.abs().max())
    if peak == 0:
        raise ValueError(f"the mask {mask} leaves nothing of the k-space")
    share = float(zero_filled.imag.square().sum() / zero_filled.abs().square().sum())
    real = bool(task.real) and share < COMPLEX and samples.shape[0] == 1
    layer: Any
    for layer in network.layers:  # the filters and shrinkages are real; on complex images they act on both parts
        layer.data_term.real = real
    with torch.no_grad():
        # Not a call, which may have been put in the hands of a copy that was made before.
        data, state = KSpace(samples / peak, sampled.unsqueeze(0)), None
        for layer, problem, state in network.walk(data):  # noqa: B007
            pass
        # The filters are the same everywhere and the image is periodic: it may be rolled into its place afterwards.
        images = from_corner(layer.estimate(state, problem) * peak, origin)
    rate, kind = float(sampled.mean()), mask_kind(torch.fft.fftshift(sampled))
    combined = images[0] if len(images) == 1 else torch.linalg.vector_norm(images, dim=0)
    write_image(outputs[0], combined)
    return {
        "height": shape[0],
        "width": shape[1],
        "coils": len(samples),
        "measured": round(rate, 4),
        "zero_frequency": "in the middle" if centred else "at (0, 0)",
        "image": "real" if real else "complex",
        "image_origin": ("in the middle" if origin == "centre" else "at (0, 0)") + f", {how}",
        "conditions": [
            Condition("image origin", "in the middle" if origin == "centre" else "at (0, 0)", KNOWN[how]),
            *_conditions(rate, kind, len(samples), combined.abs() / peak),
        ],
    }


def _conditions(rate: float, kind: str, coils: int, image: Tensor) -> list[Condition]:
    found = [
        Condition("measured", round(100 * rate, 1), "read", "%", effect=RATES),
        Condition("mask", kind, "estimated", effect=POINTS if kind == "points" else KINDS),
        Condition("coils", coils, "read", effect="each is reconstructed by itself"),
    ]
    if flat_share(image) > FLAT:
        found.append(Condition("image", "piecewise constant", "estimated", trained=("textured",), effect=DRAWN))
    return found


def flat_share(image: Tensor) -> float:
    """The part of an image's bright pixels, above a tenth of its largest value, that differ from their neighbours below
    and to the right by less than a two-hundredth of it; 0 for an image without such pixels.
    """
    peak = float(image.max())
    inside = image[:-1, :-1]
    steps = (image[1:, :-1] - inside).abs().maximum((image[:-1, 1:] - inside).abs())
    bright = inside > peak / 10
    return float((steps[bright] < peak / 200).float().mean()) if bool(bright.any()) else 0.0


def application() -> Application:
    """Of k-space in ``.npy`` files."""
    return Application(
        READS,
        ("the image: its magnitude as a picture, or all of it as .npy",),
        _read,
        _reconstruct,
        suffixes=(".npy", ".npz"),
        default_suffixes=("-image.png",),
        options=(MASK, ORIGIN),
        check=check_output,
    )
