"""Random slices of a head, for magnetic resonance imaging without any data: smooth tissue in sharp outlines, under a
smooth shading.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def head(size: int, generator: torch.Generator) -> Float[Tensor, "size size"]:
    """A random slice in [0, 1]: scalp, skull, brain with folds, ventricles, small structures and texture, all shaded by
    the coil.

    In the manner of Shepp and Logan 1974 (doi:10.1109/TNS.1974.6499235), whose phantom is piecewise constant and always
    the same.

    Args:
        size: pixels along a side.
        generator: of everything.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    axis = (torch.arange(size, dtype=torch.float32) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    sharpness = 1.2 * size  # an edge is about a pixel wide

    def ellipse(cy: float, cx: float, ry: float, rx: float, angle: float, folds: float = 0.0, count: int = 0) -> Tensor:
        c, s = math.cos(angle), math.sin(angle)
        u, v = ((y - cy) * c + (x - cx) * s) / ry, ((x - cx) * c - (y - cy) * s) / rx
        radius = torch.hypot(u, v)
        if folds:
            turn = torch.atan2(u, v)
            radius = radius * (
                1 + folds * torch.sin(count * turn + uniform(0, 6.28)) * torch.sin(3 * turn + uniform(0, 6.28))
            )
        return torch.sigmoid((1 - radius) * min(ry, rx) * sharpness)

    ry, rx, angle = uniform(0.75, 0.9), uniform(0.6, 0.75), uniform(-0.2, 0.2)
    cy, cx = uniform(-0.05, 0.05), uniform(-0.05, 0.05)
    image = uniform(0.6, 0.9) * ellipse(cy, cx, ry, rx, angle)
    image = image * (1 - uniform(0.8, 0.95) * ellipse(cy, cx, ry - 0.06, rx - 0.06, angle))
    brain = ellipse(cy, cx, ry - 0.14, rx - 0.14, angle, uniform(0.01, 0.05), int(uniform(9, 20)))
    grey, white = uniform(0.35, 0.5), uniform(0.5, 0.7)
    image = image * (1 - brain) + grey * brain
    inner = ellipse(cy, cx, ry - 0.3, rx - 0.28, angle, uniform(0.05, 0.15), int(uniform(7, 16)))
    image = image * (1 - inner) + white * inner
    for side in (-1, 1):  # ventricles
        hole = ellipse(
            cy - uniform(0, 0.1),
            cx + side * uniform(0.08, 0.16),
            uniform(0.12, 0.3),
            uniform(0.03, 0.08),
            angle + side * uniform(0, 0.4),
        )
        image = image * (1 - hole) + uniform(0.05, 0.9) * hole
    for _ in range(int(uniform(8, 20))):  # nuclei, vessels, lesions
        spot = (
            ellipse(
                cy + uniform(-0.5, 0.5),
                cx + uniform(-0.4, 0.4),
                uniform(0.01, 0.12),
                uniform(0.01, 0.12),
                uniform(0, 3.14),
            )
            * brain
        )
        image = image + uniform(-0.25, 0.25) * spot
    image = image + brain * (
        uniform(0.02, 0.05) * smooth(size, size / uniform(20, 60), generator)
        + uniform(0.01, 0.02) * smooth(size, size / 100, generator)
    )
    image = image * (1 + 0.3 * smooth(size, size / 2.5, generator)).clamp_min(0.3)
    return image.clamp_min(0) / image.max()


def smooth(size: int, width: float, generator: torch.Generator) -> Float[Tensor, "size size"]:
    """Periodic Gaussian noise of unit variance, blurred to features of about ``width`` pixels."""
    k = torch.fft.fftfreq(size)
    gain = torch.exp(-2 * (math.pi * width / 2.5) ** 2 * (k.unsqueeze(1).square() + k.square()))
    field = torch.fft.ifft2(gain * torch.fft.fft2(torch.randn(size, size, generator=generator))).real
    return field / field.std()


def with_phase(
    image: Float[Tensor, "size size"], generator: torch.Generator, strength: float = 0.7
) -> Complex[Tensor, "size size"]:
    """An image under a smooth random phase, ``strength`` radians strong, as scanners give them."""
    phase = strength * smooth(image.shape[-1], image.shape[-1] / 3, generator)
    return torch.polar(image, phase)
