"""Pictures of which some pixels are missing: data, a first filling, and the data term that keeps what is known."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core.arguments import check_numbers, check_tensor, kind_of
from unrolling.core.execution import is_plain
from unrolling.core.refusals import explain_call, explained

LEAST = 1e-6  # of a weight, so that nothing is divided by zero


class Masked(NamedTuple):
    """A picture with the mask of what is known of it."""

    image: Tensor  # (batch, height, width); what is missing may hold any finite number
    mask: Tensor  # (batch or 1, height, width): 1 where a pixel is known, 0 where it is missing


@explained
def check_known(mask: Float[Tensor, "batch height width"]) -> None:
    """Refuses a mask that holds anything but zeros and ones, or under which some picture has no known pixel.

    Raises:
        ValueError: that.
    """
    other = (mask != 0) & (mask != 1)
    if bool(other.any()):
        raise ValueError(
            "a mask is 1 where a pixel is known and 0 where it is missing; this one holds "
            f"{int(other.sum())} other values, such as {float(mask[other][0]):.4g}"
        )
    empty = ~(mask == 1).flatten(1).any(1)
    if bool(empty.any()):
        number = int(empty.nonzero()[0])
        raise ValueError(f"every pixel of picture {number} is missing: the mask is zero everywhere")


def fill_missing(
    image: Float[Tensor, "batch height width"], mask: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch height width"]:
    """What is missing from the known pixels around it: means of 2 x 2, of 4 x 4 and so on where some are known, coarse
    ones interpolated linearly (the pull and push of a pyramid; Gortler, Grzeszczuk, Szeliski and Cohen 1996,
    doi:10.1145/237170.237200).

    Args:
        image: what is missing may hold any finite number.
        mask: 1 where a pixel is known, else 0.
    """
    mask = mask.expand(image.shape[0], -1, -1)
    return _filled((image * mask).unsqueeze(1), mask.unsqueeze(1).to(image)).squeeze(1)


def _filled(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted values (batch, 1, height, width) as values, the missing ones (weight 0) from one of half the size."""
    own = values / weight.clamp_min(LEAST)
    height, width = values.shape[-2:]
    if height == width == 1:
        return own
    short = (0, width % 2, 0, height % 2)
    pair = nn.functional.pad(torch.cat([values, weight], 1), short)
    small = nn.functional.avg_pool2d(pair, 2)
    known = (small[:, 1:] > 0).to(values)
    coarse = _filled(small[:, :1] / small[:, 1:].clamp_min(LEAST) * known, known)
    wide = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(weight > 0, own, wide[..., :height, :width])


@explain_call
class KnownPixels(DataTerm):
    """Some pixels are known without noise, nothing of the others; data are ``Masked``, so that every picture may have
    its own mask. Iterations start with what is missing filled from around it (``fill_missing``).
    """

    def forward(self, data: Masked) -> Problem:
        """The known pixels, zero elsewhere."""
        if is_plain():
            check_known(data.mask)
        mask = data.mask.to(data.image)
        return Problem(data.image * mask, None, Masked(data.image, mask))

    def image(self, x: Tensor, data: Masked) -> Tensor:
        return data.mask * x

    def adjoint(self, y: Tensor, data: Masked) -> Tensor:
        return data.mask * y

    def start(self, problem: Problem) -> Tensor:
        """The filled picture."""
        return fill_missing(problem.back, problem.data.mask)

    def project(self, x: Tensor, problem: Problem) -> Tensor:
        """Known pixels put back."""
        return torch.where(problem.data.mask > 0, problem.back, x)

    def solve(self, b: Tensor, rho: Tensor | float, problem: Problem) -> Tensor:
        """The known pixels, and b / rho elsewhere: the limit of an infinite weight of the data."""
        return self.project((b - problem.back) / rho, problem)

    def value(self, x: Tensor, problem: Problem) -> Tensor:
        """0.5 |m (x - y)|^2, zero after every projection, (batch,)."""
        return 0.5 * (problem.data.mask * (x - problem.back)).square().flatten(1).sum(1)

    def check(self, data: Masked) -> None:
        if not isinstance(data, Masked):
            raise TypeError(f"data are Masked(image, mask); got {kind_of(data)}")
        image, mask = data
        check_numbers(image, "image", "inpainting", real=True)
        check_tensor(mask, "mask", "inpainting")
        if mask.is_complex():
            raise TypeError(f"mask is {mask.dtype}; it holds zeros and ones")
        if image.ndim != 3 or mask.ndim != 3 or mask.shape[0] not in (1, image.shape[0]):
            raise ValueError(
                "image is (batch, height, width) and mask (batch or 1, height, width); got "
                f"{tuple(image.shape)} and {tuple(mask.shape)}"
            )
        if mask.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"the mask has {mask.shape[1]} x {mask.shape[2]} pixels and the picture {image.shape[1]} x "
                f"{image.shape[2]}: they are of one size"
            )
