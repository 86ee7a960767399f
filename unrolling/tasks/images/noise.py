"""What noise a picture holds, told from the picture alone: how strong it is, whether it is white, and how it depends on
brightness.

Levels are standard deviations in grey levels of 255 that white noise of that power in a band of frequencies would have.
They come from the cosine coefficients of the flattest blocks of 8 x 8 pixels (after Ponomarenko et al. 2007): half of
the coefficients choose the blocks, the other half are measured there, so that the choice does not bias what is
measured. Of white noise all levels are equal; noise that passed through an interpolation or through JPEG has lower
ones at higher frequencies; of texture they fall everywhere.

Texture is told from noise by what it does not share with it: noise is as strong in a quarter of the blocks as in the
flattest hundredth, texture is not. What texture leaves at the highest frequencies is a part of what it leaves at the
middle ones; that part is taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.operators.dct import dct2

SIDE = 8
MOST, LEAST = 40_000, 64  # blocks that are looked at, and that are needed to tell the levels
FLATTEST = 0.05  # part of the blocks that is measured
FEW, MANY = 0.01, 0.25  # parts whose levels are compared
SATURATED = 0.05  # part of a block's pixels up to which these may be black or white
BINS, IN_BIN, SHARE = 8, 320, 0.15  # of brightness; blocks in each that are needed; part that is measured there
QUIET = 1.5  # level from which on noise is taken away
# Power of texture at the highest frequencies over that at the middle ones: at least what is taken off, by the level at
# the highest, and at most. Photographs have 0.05 to 0.3, grass 0.3; few have such a level above 5. All of these were
# chosen on crops of photographs, half of them with texture everywhere, so that none became worse at any level.
TEXTURE, STEEP = ((6.0, 0.35), (9.0, 0.2)), 0.5
CLEAR = 0.5  # part of the highest level that is left of it by that, from which on noise is white
EVEN = 0.7  # the same, from which on noise that depends on brightness is told from texture that does
# Noise that an interpolation or JPEG has smoothed: the ratio of the middle level and the highest at least, of the two
# lowest at most, and the middle level from which on it is taken away.
FALLING, STEEPEST, COARSE = 1.25, 3.0, 4.0
# Ratio of the middle levels in many blocks and in few up to which the noise is taken away in full, and from which on
# it may be texture: at a middle level, and above it, where photographs have none in their flattest blocks.
SAME, UNLIKE = 1.04, ((15.0, 1.12), (25.0, 1.3))
VARYING = 1.4  # ratio of the levels in the dark and in the bright from which on they are made equal
FAINT = 5.0  # level below which its dependence on brightness is not told: texture has one too


class NoiseLevels(NamedTuple):
    """Of noise by the sum of the two indices of the cosine coefficients: 1 to 3, 4 to 7, 8 to 10, 11 to 14."""

    low: float
    middle: float
    high: float
    top: float


NoiseKind = Literal["none", "white", "smoothed"]


class Noise(NamedTuple):
    """Of one plane. Where none can be told from texture, the level is what there is at most."""

    kind: NoiseKind
    level: float  # of 255
    part: float = 1.0  # of it that is surely noise: of smoothed noise, that of the change that may be made
    clear: float = 0.0  # part of the highest level that texture does not explain


def _indices() -> Tensor:
    index = torch.arange(SIDE)
    return index.unsqueeze(1) + index


def _blocks(plane: Float[Tensor, "height width"]) -> tuple[Tensor, Tensor]:
    """Squared cosine coefficients (count, 8, 8) in grey levels, and mean brightness in [0, 1], of blocks all over the
    picture in which few pixels are black or white; where that is true of few blocks, of those with the fewest.
    """
    stride = max(1, int((plane.shape[0] * plane.shape[1] / MOST) ** 0.5))
    blocks = plane.unfold(0, SIDE, stride).unfold(1, SIDE, stride).reshape(-1, SIDE, SIDE)
    clipped = ((blocks <= 0.5 / 255) | (blocks >= 254.5 / 255)).flatten(1).float().mean(1)
    ranked = clipped.sort().values
    limit = max(SATURATED, float(ranked[min(len(blocks) - 1, max(4 * LEAST, len(blocks) // 8))]))
    blocks = blocks[clipped <= limit]
    coefficients = 255 * dct2(blocks)
    return coefficients.square(), blocks.mean((1, 2))


def _levels(energies: Tensor, *shares: float) -> list[NoiseLevels]:
    """In the flattest parts of blocks."""
    indices = _indices()
    parity = indices % 2
    powers = [torch.zeros(SIDE, SIDE) for _ in shares]
    for half in (0, 1):
        choosing = ((parity == half) & (indices >= 1)).float()
        order = (energies * choosing).sum((1, 2)).argsort()
        for power, share in zip(powers, shares, strict=True):
            flattest = order[: min(len(energies), max(LEAST, int(share * len(energies))))]
            power += (parity != half) * energies[flattest].mean(0)
    bands = [(indices >= low) & (indices <= high) for low, high in ((1, 3), (4, 7), (8, 10), (11, 14))]
    return [NoiseLevels(*(float(power[band].mean()) ** 0.5 for band in bands)) for power in powers]


def _large(plane: Tensor) -> bool:
    return min(plane.shape) >= SIDE and (plane.shape[0] - SIDE + 1) * (plane.shape[1] - SIDE + 1) >= LEAST


def noise_levels(plane: Float[Tensor, "height width"]) -> NoiseLevels | None:
    """The levels of the noise in an image in [0, 1]; None for one too small to tell (fewer than 64 blocks)."""
    return _levels(_blocks(plane)[0], FLATTEST)[0] if _large(plane) else None


def noise_of(plane: Float[Tensor, "height width"], contrast: float = 1.0) -> Noise | None:
    """The noise in an image in [0, 1] that can be told from texture; None for one too small to tell. Texture has the
    contrast of grey pictures, times a factor.
    """
    if not _large(plane):
        return None
    few, some, many = _levels(_blocks(plane)[0], FEW, FLATTEST, MANY)
    return _told(few, some, many, contrast)


def _between(x: float, points: Sequence[tuple[float, float]]) -> float:
    return float(np.interp(x, [point[0] for point in points], [point[1] for point in points]))


def _told(few: NoiseLevels, some: NoiseLevels, many: NoiseLevels, contrast: float) -> Noise:
    rise = many.middle**2 - few.middle**2
    ratio = (many.top**2 - few.top**2) / rise if rise > 0.02 * few.middle**2 else 0.0
    ratio = min(max(ratio, _between(few.top / contrast, TEXTURE)), STEEP)
    level = (max(0.0, few.top**2 - ratio * few.middle**2) / (1 - ratio)) ** 0.5
    clear = level / few.top if few.top > 1e-3 else 0.0
    if level >= QUIET and clear >= CLEAR:
        return Noise("white", level, clear=clear)
    falling = few.low <= STEEPEST * few.middle and some.middle >= FALLING * some.top
    if falling and few.middle >= COARSE:
        uneven = many.middle / min(few.middle, some.middle)
        unlike = _between(few.middle / contrast, UNLIKE)
        part = min(1.0, (unlike - uneven) / (unlike - SAME))
        if part > 0:
            return Noise("smoothed", some.middle, part, clear)
    return Noise("white", level, clear=clear) if level >= QUIET else Noise("none", some.top, clear=clear)


class Stabiliser:
    """A map of brightness after which noise is equally strong in the dark and in the bright: the integral of one over
    its level (Anscombe's idea for any dependence), scaled to keep the mean level.

    Args:
        brightness: rising values in [0, 1] at which the level is known.
        levels: of the noise there, positive; interpolated between, constant beyond.
    """

    def __init__(self, brightness: np.ndarray, levels: np.ndarray) -> None:
        self.nodes = np.linspace(-0.25, 1.25, 601)
        level = np.interp(self.nodes, brightness, levels)
        steps = np.diff(self.nodes) * 0.5 * (1 / level[1:] + 1 / level[:-1])
        mean = float(np.exp(np.log(levels).mean()))
        self.values = mean * (
            np.concatenate([[0.0], np.cumsum(steps)]) - np.interp(0.0, self.nodes[1:], np.cumsum(steps))
        )
        # A mean of stabilised values is the stabilised mean less a quarter of the variance's slope (second order).
        self.bias = np.gradient((level / 255) ** 2, self.nodes) / 4

    def __call__(self, x: Tensor) -> Tensor:
        """Stabilised values."""
        return torch.as_tensor(np.interp(x.numpy(), self.nodes, self.values), dtype=torch.float32)

    def inverse(self, z: Tensor) -> Tensor:
        """The brightness of the mean of stabilised values."""
        x = np.interp(z.numpy(), self.values, self.nodes)
        return torch.as_tensor(x + np.interp(x, self.nodes, self.bias), dtype=torch.float32)


def stabiliser_of(plane: Float[Tensor, "height width"]) -> tuple[Stabiliser, float, float] | None:
    """For an image in [0, 1] whose noise depends on brightness, with its levels in the dark and in the bright; None
    where it does not, where it is faint, and where it cannot be told.
    """
    if min(plane.shape) < SIDE:
        return None
    energies, means = _blocks(plane)
    bins = min(BINS, len(energies) // IN_BIN)
    if bins < 3:
        return None
    order = means.argsort()
    brightness, levels = [], []
    for part in order.chunk(bins):
        brightness.append(float(means[part].mean()))
        levels.append(_levels(energies[part], SHARE)[0].top)
    held, x = np.array(levels), np.array(brightness)
    keep = np.concatenate([[True], np.diff(x) > 0.02])
    held, x = held[keep], x[keep]
    if len(x) < 3 or float(np.median(held)) < FAINT:
        return None
    line = np.polyfit(x, held**2, 1, w=1 / np.maximum(held**2, 1e-2))
    fitted = np.sqrt(np.maximum(np.polyval(line, x), 0.05 * float(np.median(held)) ** 2))
    if max(fitted) < VARYING * min(fitted):
        return None
    return Stabiliser(x, fitted), float(fitted[0]), float(fitted[-1])
