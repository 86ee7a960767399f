"""How ADMM-CSNet is applied to measured k-space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.operators.coil_maps import estimate_maps, root_sum_of_squares
from unrolling.operators.fourier import KSpace, ifft, to_corner
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.medical import _kspace
from unrolling.systems.medical._coils import centred
from unrolling.systems.medical._kspace import Measured, Reconstructed
from unrolling.tasks.medical.mri import MRI
from unrolling.tasks.medical.sampling import mask_kind

# part of the energy of the zero-filled image in its imaginary part from which on an image is taken to be complex
COMPLEX = 0.02
FLAT = 0.3  # part of flat pixels from which on an image counts as piecewise constant
RATES = "python -m benchmarks.found_conditions --part kspace prints what was measured at other rates"
KINDS = "on chests other masks were measured to gain too"
POINTS = "points that thin out from the middle gain; of evenly spread ones total variation was better, on chests too"
DRAWN = "total variation was measured to be better on such ones, at every rate and with every mask"
RANGE = {"measured": Range(10, 50), "mask": ("radial lines", "lines"), "coils": (1,)}


def _reconstruct(network: Unrolled, task: MRI, measured: Measured) -> Reconstructed:
    """Coil by coil, whitened first where the noise is known, and combined."""
    several = len(measured.samples) > 1
    samples, sampled = centred(measured) if several else measured.samples, measured.mask
    zero_filled = ifft(samples)
    peak = float(zero_filled.abs().max())
    share = float(zero_filled.imag.square().sum() / zero_filled.abs().square().sum())
    real = bool(task.real) and share < COMPLEX and samples.shape[0] == 1
    layer: Any
    for layer in network.layers:  # the filters and shrinkages are real; on complex images they act on both parts
        layer.data_term.real = real
    # Not a call, which may have been put in the hands of a copy that was made before.
    data, state = KSpace(samples / peak, sampled.unsqueeze(0)), None
    for layer, problem, state in network.walk(data):  # noqa: B007
        pass
    images = layer.estimate(state, problem) * peak
    rate, kind = float(sampled.mean()), mask_kind(torch.fft.fftshift(sampled))
    combined, how = _combined(images, samples, sampled)
    conditions = _conditions(rate, kind, len(samples), combined.abs() / peak)
    facts = {"image": "real" if real else "complex", **how}
    return Reconstructed(to_corner(combined, measured.origin) if several else combined, facts, conditions)


def _combined(images: Tensor, samples: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, str]]:
    """One image of those of all coils, |sum_c conj(S_c) x_c| with estimated maps S; where the middle of k-space is not
    measured well enough for maps, their root of the sum of squares.
    """
    if len(images) == 1:
        return images[0], {}
    try:
        maps = estimate_maps(samples.unsqueeze(0), mask.unsqueeze(0))[0]
    except ValueError:
        return root_sum_of_squares(images.unsqueeze(0))[0], {"coils combined by": "their root of the sum of squares"}
    return (maps.conj() * images).sum(0).abs(), {"maps": "estimated"}


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
    """Of k-space in files."""
    return _kspace.application(_reconstruct)
