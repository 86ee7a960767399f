"""How networks for several receive coils are applied to measured k-space, and what they alone are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.conjugate_gradient import ConjugateGradient
from unrolling.algorithms.splitting.data_terms import CoilSampling
from unrolling.core import solve
from unrolling.operators.coil_maps import estimate_maps, prewhiten, root_sum_of_squares
from unrolling.operators.fourier import CoilData, KSpace, fft, from_corner, ifft, to_corner
from unrolling.systems.base import Application, System
from unrolling.systems.conditions import Condition
from unrolling.systems.medical import _kspace
from unrolling.systems.medical._kspace import Measured, Reconstructed
from unrolling.tasks.baselines import Baseline, Method
from unrolling.tasks.medical.sampling import mask_kind

FIRST = (0.01, 12)  # weight and iterations of the CG-SENSE image that the scale is taken of
BRIGHT = 0.999  # quantile of its magnitude that becomes 1
RAYLEIGH = 1.1774  # median of the magnitude of complex noise, in standard deviations of its parts
OUTER = 0.8  # of the largest frequency, from which on what is measured counts as noise
SEEN = "python -m benchmarks.parallel_mri --shifts prints what was measured at others"


def combine(network: Callable[[Any], Tensor], task: Any, measured: Measured) -> Reconstructed:
    """Through maps that are estimated from the auto-calibration lines; whitened first where the noise is known.

    The network sees images that lie in the middle and are 1 at their brightest.
    """
    samples = centred(measured)
    mask = measured.mask.unsqueeze(0)
    maps = estimate_maps(samples.unsqueeze(0), mask)
    data = CoilData(samples.unsqueeze(0), mask, maps)
    weight, iterations = FIRST
    first = solve(ConjugateGradient(CoilSampling(), weight), data, tolerance=0.0, max_iterations=iterations).estimate
    bright = _bright(first)
    if not bool(bright > 0):
        raise ValueError("the maps that were estimated from the k-space see nothing of it")
    image = network(data._replace(samples=data.samples / bright))[0] * bright
    facts = {"maps": "estimated"}
    return Reconstructed(to_corner(image, measured.origin), facts, _conditions(samples / bright, measured.mask))


def combine_unmapped(network: Callable[[Any], Tensor], task: Any, measured: Measured) -> Reconstructed:
    """``combine`` for a network that finds the maps itself, and whose image is as large as its data are."""
    samples = centred(measured)
    image = network(KSpace(samples.unsqueeze(0), measured.mask.unsqueeze(0)))[0]
    bright = _bright(image)
    bright = torch.where(bright > 0, bright, 1)
    facts = {"maps": "found by the network"}
    return Reconstructed(to_corner(image, measured.origin), facts, _conditions(samples / bright, measured.mask))


def centred(measured: Measured) -> Tensor:
    """The samples of an image that lies in the middle, whitened where the noise is known."""
    samples = measured.samples
    if measured.noise is not None:
        samples = prewhiten(samples, measured.noise)
    return measured.mask * fft(from_corner(ifft(samples), measured.origin))


def _bright(image: Tensor) -> Tensor:
    """How bright an image is where it is brightest, a few pixels left out."""
    return image.abs().flatten().kthvalue(max(1, int(BRIGHT * image.numel()))).values


def _conditions(samples: Tensor, mask: Tensor) -> list[Condition]:
    """What was found out about samples of an image whose brightest pixels are 1."""
    return [
        Condition("acceleration", round(1 / float(mask.mean()), 1), "read", effect=SEEN),
        Condition("mask", mask_kind(torch.fft.fftshift(mask)), "estimated", effect=SEEN),
        Condition("coils", len(samples), "read", effect=SEEN),
        Condition("noise", _noise(samples, mask), "estimated", effect=SEEN),
    ]


def _noise(samples: Tensor, mask: Tensor) -> float:
    """Standard deviation of the parts of what is measured at the outermost frequencies: of the noise, or above it where
    the image reaches as far.
    """
    height, width = mask.shape
    far = torch.maximum(
        torch.fft.fftfreq(height).abs().unsqueeze(1).expand(height, width), torch.fft.fftfreq(width).abs()
    )
    outer = samples[:, (mask != 0) & (far > 0.5 * OUTER)]
    return round(float(outer.abs().median() / RAYLEIGH), 4) if outer.numel() else 0.0


def application(reconstruct: Callable[..., Reconstructed] = combine) -> Application:
    """Of k-space from several coils, or one, in files."""
    return _kspace.application(reconstruct)


def coil_by_coil(system: System, task: Any) -> Sequence[Baseline]:
    """ADMM-CSNet with its shipped weights on each coil by itself, and the root of the sum of squares."""

    def made(_: Any) -> Callable[[CoilData], Tensor]:
        from unrolling.systems.catalogue import find

        network = find("medical/admm_csnet").pretrained("mri")
        for layer in network.layers:
            layer.data_term.real = False  # pyright: ignore

        def run(data: CoilData) -> Tensor:
            found = []
            for samples, mask in zip(data.samples, data.mask.expand(len(data.samples), -1, -1), strict=True):
                whole = mask.expand(samples.shape[-2:])
                # each coil at the scale of the images that the weights were trained on
                peak = ifft(samples).abs().amax((-2, -1), keepdim=True)
                scale = torch.where(peak > 0, peak, 1)
                state, problem, layer = None, None, None
                with torch.no_grad():
                    scaled = KSpace(samples / scale, whole.unsqueeze(0))
                    for layer, problem, state in network.walk(scaled):  # noqa: B007
                        pass
                    found.append(root_sum_of_squares(layer.estimate(state, problem) * scale))  # pyright: ignore
            return torch.stack(found)

        return run

    return [
        Method("ADMM-CSNet, coil by coil", made, note="weights of medical/admm_csnet; root of the sum of squares"),
    ]
