"""Rain streaks, drawn: short bright lines that fall in nearly one direction."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count, check_range
from unrolling.operators.convolution import convolve_valid

LONGEST = 61  # pixels
GROUPS = 3  # of streaks in a picture, each of one length, width and angle
ANGLES = (60.0, 120.0)  # degrees from the horizontal; 90 falls straight down


def streak(
    length: float, width: float, angle: float, side: int = LONGEST, *, taper: float = 0.5
) -> Float[Tensor, "side side"]:
    """One streak through the middle of a picture: Gaussian across, constant along with ends that fade; 1 at its
    brightest.

    Args:
        length: pixels from end to end.
        width: standard deviation across, in pixels.
        angle: degrees from the horizontal.
        side: pixels along a side, odd.
        taper: part of the length over which the ends fade, at most 1.

    Raises:
        ValueError: a side that is even or shorter than the streak, a length or width that is not positive.
    """
    check_count(side, "side")
    check_range(length, "length", 0, side, above=True)
    check_range(width, "width", 0, above=True)
    check_range(taper, "taper", 0, 1)
    if side % 2 == 0:
        raise ValueError(f"side is {side}; an odd side has a middle")
    half = (side - 1) / 2
    y, x = torch.meshgrid(torch.arange(side) - half, torch.arange(side) - half, indexing="ij")
    turn = math.radians(angle)
    along = x * math.cos(turn) - y * math.sin(turn)
    across = x * math.sin(turn) + y * math.cos(turn)
    fade = max(taper * length / 2, 0.5)
    profile = ((length / 2 + 0.5 - along.abs()) / fade).clamp(0, 1)
    kernel = torch.exp(-0.5 * (across / width).square()) * profile
    return kernel / kernel.max()


def draw_streaks(
    count: int,
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    angle: float | None = None,
    coverage: float | None = None,
    brightness: float | None = None,
) -> Float[Tensor, "count height width"]:
    """Layers of rain in [0, 1], each of one kind: its angle (60 to 120 degrees), length (5 to 58 pixels), width, how
    much of the picture it covers (2 to 50 percent) and how bright it is (0.1 to 0.9) are random.

    Every layer is made of three groups of streaks whose angles differ by a few degrees; half of them have streaks of
    many brightnesses on a dark ground, as noise that a moving camera smears, the others streaks that are nearly alike.

    Args:
        count: of layers.
        height: pixels.
        width: pixels.
        generator: of the random numbers.
        angle: degrees from the horizontal, for all layers.
        coverage: part of the pixels that streaks lie on, above 0 and at most 1.
        brightness: of the brightest streaks, above 0 and at most 1.
    """
    for value, name in ((count, "count"), (height, "height"), (width, "width")):
        check_count(value, name)
    for value, name in ((coverage, "coverage"), (brightness, "brightness")):
        if value is not None:
            check_range(value, name, 0, 1, above=True)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def layer() -> Tensor:
        main = uniform(*ANGLES)
        length, thickness = uniform(8, 50), uniform(0.4, 1.4)
        covered = math.exp(uniform(math.log(0.02), math.log(0.5)))
        bright, spread, taper = uniform(0.1, 0.9), uniform(0, 5), uniform(0.2, 1)
        smeared = uniform(0, 1) < 0.5
        main = main if angle is None else angle
        covered = covered if coverage is None else coverage
        bright = bright if brightness is None else brightness
        kernels = torch.stack(
            [
                streak(
                    min(length * uniform(0.6, 1.4), LONGEST - 3.0),
                    thickness * uniform(0.7, 1.3),
                    main + uniform(-spread, spread),
                    taper=taper,
                )
                for _ in range(GROUPS)
            ]
        )
        margin = LONGEST - 1
        seeds = torch.rand(GROUPS, height + margin, width + margin, generator=generator)
        shades = torch.rand(seeds.shape, generator=generator)
        share = covered / (GROUPS * kernels.sum((-2, -1)).clamp_min(1)).view(-1, 1, 1)
        shades = -(1 - shades).clamp_min(1e-6).log() if smeared else 0.5 + 0.5 * shades
        rain = convolve_valid((seeds < share) * shades, kernels).sum(0).clamp_min(0)
        top = 3.0 if smeared else 1.0  # exponential shades have a mean of 1: few go beyond 3
        return (bright / top * rain).clamp(0, bright)

    return torch.stack([layer() for _ in range(count)])
