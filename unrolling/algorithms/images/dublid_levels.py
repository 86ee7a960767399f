"""DUBLID for cameras: told how strong the noise is, and free to leave a picture as it is."""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.images.blind_deblurring import BlindState, Outcome
from unrolling.algorithms.images.dublid import DUBLID, Cascade
from unrolling.algorithms.sparse.strided import NoisyImage, check_noise
from unrolling.core.arguments import check_numbers

USUAL = 0.01  # the level at which slopes change nothing
LEAST, MOST = 0.001, 0.05  # levels beyond which nothing changes any more: rounding to 8 bits is 0.0011
SPREAD = 0.5  # square pixels: the variance of a kernel, both directions added, at which half is kept at the start
STEEPNESS = 4.0
TINY = 1e-4, 1e-6  # added to variances of kernels, and to powers of differences
SLOPES = {  # of parameters, by name
    "threshold": "threshold_slope",
    "coupling": "coupling_slope",
    "kernel_step": "kernel_step_slope",
    "kernel_threshold": "kernel_threshold_slope",
    "initial_threshold": "initial_slope",
    "final_threshold": "final_slope",
    "retrieval": "retrieval_slope",
}


class LevelProblem(NamedTuple):
    """What ``DUBLIDLevels`` needs of an image."""

    blurred: Tensor  # (batch, 1, height, width)
    features: tuple[Tensor, ...]  # after each filter of the cascade, (batch, channels, height, width)
    level: Tensor  # (batch, 1): log(sigma / 0.01), within the levels that slopes are for


class LevelCascade(Cascade):
    """``Cascade`` of the image of ``NoisyImage``, with its level.

    Parameters: those of ``Cascade``.
    """

    def forward(self, data: NoisyImage) -> LevelProblem:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The features of grey images (batch, height, width), and log(sigma / 0.01)."""
        blurred, features = super().forward(data.image)
        return LevelProblem(blurred, features, (data.sigma.clamp(LEAST, MOST) / USUAL).log().unsqueeze(1))


class DUBLIDLevels(DUBLID):
    """``DUBLID`` that is told the noise, and leaves a picture as it is where it finds no blur; data are ``NoisyImage``.

    With l = log(sigma / 0.01), every positive coefficient p becomes p exp(s_p l), a power of the level, and a becomes a
    + s_a l: a network has one noise in its thresholds, and at another it takes noise for edges or edges for noise. All
    slopes s are zero at the start, where it is DUBLID to the bit but for the last line: the estimate is

        y + c (x - y),    c = 1 / (1 + exp(-w.u)),    u = (1, log v, log n, log(|D x|^2 / |D y|^2), l),

    x the estimate of DUBLID, v the variance of the kernel (both directions added, square pixels), n = 1 / sum k^2 the
    number of pixels that it fills, D differences of neighbours. The kernel of a sharp picture has v = 0, so that it
    comes back; what rings after a wrong kernel has a large |D x|. u is taken as it is: gradients go through c to w
    alone. The powers follow ``StridedISTA``; Li, Tofighi, Geng, Monga and Eldar 2020, doi:10.1109/TCI.2020.2964202
    have neither. Weights of DUBLID are a start.

    Parameters: those of ``DUBLID``; ``threshold_slope``, ``coupling_slope``, ``initial_slope``, ``final_slope`` and
    ``retrieval_slope`` (channels,), ``kernel_step_slope`` and ``kernel_threshold_slope``: s; ``keeping`` w (5,). With
    16 channels and 10 layers, untied, 21,661 numbers.

    Args:
        channels, layers, options: as for ``DUBLID``, for grey images.

    Raises:
        ValueError: colours, and what ``DUBLID`` refuses; when run, levels that are no part of white.
    """

    kind_of_cascade = LevelCascade
    added = (*SLOPES.values(), "keeping")

    def __init__(self, channels: int = 16, layers: int = 10, **options: Any) -> None:
        if options.get("colours", 1) != 1:
            raise ValueError(f"colours is {options['colours']}; DUBLIDLevels is for grey images, colours one by one")
        super().__init__(channels, layers, **options)
        for name, slope in SLOPES.items():
            setattr(self, slope, nn.Parameter(torch.zeros_like(getattr(self, name).detach())))
        self.keeping = nn.Parameter(torch.tensor([-STEEPNESS * log(SPREAD), STEEPNESS, 0.0, 0.0, 0.0]))

    def at(self, name: str, problem: LevelProblem) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A parameter at the level of each image: (batch, channels), or (batch, 1, 1) where it is one number."""
        value, slope = getattr(self, name), getattr(self, SLOPES[name])
        level = problem.level if value.ndim else problem.level.unsqueeze(2)
        return value + slope * level if name == "kernel_threshold" else value * (slope * level).exp()

    def supervised(self, state: BlindState, problem: LevelProblem) -> Outcome:  # pyright: ignore
        """Image and kernel, for losses on both."""
        found = self.restored(state, problem)
        return found._replace(image=blended(problem.blurred.squeeze(1), found.image, self.trust(found, problem)))

    def restored(self, state: BlindState, problem: LevelProblem) -> Outcome:
        """Image and kernel of DUBLID, x and k, whatever is kept of the image."""
        return super().supervised(state, problem)  # pyright: ignore[reportArgumentType]

    def trust(self, found: Outcome, problem: LevelProblem) -> Float[Tensor, " batch"]:
        """c, from an image and its kernel."""
        kernel, image, blurred = found.kernel.detach(), found.image.detach(), problem.blurred.squeeze(1)
        ratio = (_differences(image) / _differences(blurred)).log()
        filled = -kernel.square().sum((-2, -1)).log()
        told = [torch.ones_like(ratio), (variance(kernel) + TINY[0]).log(), filled, ratio, problem.level.squeeze(1)]
        return torch.sigmoid(torch.stack(told, 1) @ self.keeping)

    def check(self, data: NoisyImage) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for name, value in zip(NoisyImage._fields, data, strict=True):
            check_numbers(value, name, "blind deblurring", real=True)
        super().check(data.image)
        check_noise(data)


def blended(blurred: Tensor, restored: Tensor, trust: Tensor) -> Tensor:
    """y + c (x - y), c (batch,) or one number."""
    return torch.lerp(blurred, restored, trust.reshape(-1, *(1,) * (blurred.ndim - 1)).to(blurred.dtype))


def variance(kernel: Float[Tensor, "batch kh kw"]) -> Float[Tensor, " batch"]:
    """Of kernels whose sum is 1, both directions added, in square pixels."""
    y, x = (torch.arange(side, dtype=kernel.dtype, device=kernel.device) for side in kernel.shape[-2:])
    rows, columns = kernel.sum(-1), kernel.sum(-2)
    middle = (rows @ y).square() + (columns @ x).square()
    return (rows @ y.square() + columns @ x.square() - middle).clamp_min(0)


def _differences(images: Tensor) -> Tensor:
    """The mean square of differences of neighbours, (batch,)."""
    rows = (images[..., 1:, :] - images[..., :-1, :]).square().flatten(1).mean(1)
    return rows + (images[..., 1:] - images[..., :-1]).square().flatten(1).mean(1) + TINY[1]
