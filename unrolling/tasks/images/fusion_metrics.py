"""How images with several bands are scored: ERGAS, the spectral angle, and the universal quality index."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.tasks.metrics import Metric
from unrolling.tasks.samples import Samples

WINDOW = 32  # pixels along a side of what the quality index is taken of


def _pair(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if estimate.shape != target.shape or estimate.ndim != 4:
        raise ValueError(
            f"estimate and target are both (batch, bands, height, width); got {tuple(estimate.shape)} and "
            f"{tuple(target.shape)}"
        )
    return estimate.detach().double(), target.detach().double()


def ergas(
    estimate: Float[Tensor, "batch bands height width"],
    target: Float[Tensor, "batch bands height width"],
    ratio: int = 4,
) -> Float[Tensor, " batch"]:
    """(100 / r) sqrt(mean over bands of mean |x - t|^2 / (mean t)^2), in double precision: the relative dimensionless
    global error in synthesis of Wald 2000 (Third Conference "Fusion of Earth Data"), with r the ratio of the pixels'
    sides. 0 is perfect. It does not change with the unit of the values.

    Raises:
        ValueError: other shapes.
    """
    check_count(ratio, "ratio")
    x, t = _pair(estimate, target)
    errors = (x - t).square().mean((-2, -1))
    means = t.mean((-2, -1)).square()
    # a band of zeros that is met exactly has no error
    relative = torch.where((errors == 0) & (means == 0), 0, errors / means)
    return (100.0 / ratio) * relative.mean(1).sqrt()


def spectral_angle(
    estimate: Float[Tensor, "batch bands height width"], target: Float[Tensor, "batch bands height width"]
) -> Float[Tensor, " batch"]:
    """The mean over pixels of the angle between the vectors of a pixel's bands, in degrees and double precision (Yuhas,
    Goetz and Boardman 1992). It does not see a factor at a pixel. Where only one of the two is zero it is 90 degrees.

    Raises:
        ValueError: other shapes.
    """
    x, t = _pair(estimate, target)

    def unit(values: Tensor) -> Tensor:
        largest = values.abs().amax(1, keepdim=True)
        scaled = values / torch.where(largest == 0, 1, largest)
        length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
        return scaled / torch.where(length == 0, 1, length)

    u, v = unit(x), unit(t)
    # exact for small angles too, where the arc cosine of a product has no digits left
    apart, together = torch.linalg.vector_norm(u - v, dim=1), torch.linalg.vector_norm(u + v, dim=1)
    angles = 2 * torch.atan2(apart, together)
    none = (apart == 0) & (together == 0)
    return torch.where(none, 0, angles).mean((-2, -1)) * (180 / math.pi)


def universal_quality(
    estimate: Float[Tensor, "batch bands height width"],
    target: Float[Tensor, "batch bands height width"],
    window: int = WINDOW,
) -> Float[Tensor, " batch"]:
    """The mean over bands and windows of 4 cov(x, t) mean(x) mean(t) / [(var x + var t) (mean(x)^2 + mean(t)^2)], in
    double precision: the universal image quality index Q of Wang and Bovik 2002, doi:10.1109/97.995823, at every place
    of a window of 32 x 32 pixels, or of what smaller images have. 1 is perfect. Where both are constant only the means
    count.

    Raises:
        ValueError: other shapes.
    """
    check_count(window, "window", 2)
    x, t = _pair(estimate, target)
    sides = tuple(min(window, side) for side in x.shape[-2:])

    def mean(values: Tensor) -> Tensor:  # down and then across: a sixteenth of the sums of whole windows
        down = torch.nn.functional.avg_pool2d(values, (sides[0], 1), stride=1)
        return torch.nn.functional.avg_pool2d(down, (1, sides[1]), stride=1)

    # of a band's own size, so that a difference of squares keeps its digits
    shift = t.mean((-2, -1), keepdim=True)
    x0, t0 = x - shift, t - shift
    mx, mt = mean(x0), mean(t0)
    covariance = mean(x0 * t0) - mx * mt
    variances = (mean(x0 * x0) - mx * mx).clamp_min(0) + (mean(t0 * t0) - mt * mt).clamp_min(0)
    mx, mt = mx + shift, mt + shift
    power = mx * mx + mt * mt
    contrast = torch.where(variances == 0, 1, 2 * covariance / torch.where(variances == 0, 1, variances))
    level = torch.where(power == 0, 1, 2 * mx * mt / torch.where(power == 0, 1, power))
    return (contrast * level).mean((1, 2, 3))


@dataclass(frozen=True)
class ERGAS(Metric):
    """``ergas`` of each picture, and its mean over pictures.

    Attributes:
        ratio: of the pixels' sides.
    """

    name: str = "ERGAS"
    unit: str = ""
    better: Literal["lower", "higher"] = "lower"
    resampled: str = "picture"
    places: int = 3
    ratio: int = 4

    def pieces(self, estimate: Any, samples: Samples) -> Tensor:
        return ergas(estimate, samples.target, self.ratio).unsqueeze(1)

    def values(self, pieces: Tensor) -> Tensor:
        return pieces[..., 0].mean(-1)

    def shares(self, pieces: Tensor) -> Tensor | None:
        return pieces[:, :1]

    def of_sums(self, sums: Tensor, units: int) -> Tensor:
        return sums[..., 0] / units
