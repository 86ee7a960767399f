"""Restoration by a learned proximal operator in turn with what is known of the answer: noise of a known level, the
intervals that a JPEG file names, the small picture of one that is enlarged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.images.diffusion import Compressed, QuantisedBlocks
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.algorithms.sparse.strided import NoisyImage, check_noise
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_numbers
from unrolling.core.naming import class_name
from unrolling.operators.resize import BicubicReduction

FACTORS = (2, 3, 4)
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
EACH = 2.5 / 255  # the error of bicubic interpolation of photographs, times the factor, is about so large


class Disturbed(NamedTuple):
    """A picture and how strongly it is disturbed."""

    image: Tensor  # (batch, height, width), or (batch, channels, height, width)
    level: Tensor  # (batch or 1,): a standard deviation, in the picture's units
    data: Any  # as they were given


class MultiscaleRestoration(Iteration):
    """x <- H(x + R(x, y, l)), x = y at the start: R a network, H what the data say of the answer.

    Half-quadratic splitting with a learned proximal operator I + R for each step (Diamond, Sitzmann, Heide and
    Wetzstein 2017, arXiv:1705.08041; survey, V-C). R, which is told the level l of the disturbance, is 0 at the start,
    so that H alone is left. Subclasses say what y, l and H are: ``prepare`` and ``held``.

    The answer is the mean of several x, each with an R of its own that sees everything mirrored, as in cycle spinning
    (Coifman and Donoho 1995): a mirrored picture whose sides are multiples of 2 s then has the mirrored answer, and
    errors that the views have not in common fall.

    Parameters: those of ``prior``.

    Args:
        prior: R, a ``MultiscaleResidual``.
        views: 4, for the picture, its two mirror images and both at once; or 1, the picture as it lies.
        passes: how often a layer takes its step, 1 or more. A layer with two is two with the same R: the second costs
            time and no parameters. In an unrolled network each layer has its own number, a plain attribute.

    Raises:
        ValueError: another number of views, or of passes.
    """

    algorithm = "HQS"

    prior: Any

    def __init__(self, prior: nn.Module, *, views: int = 1, passes: int = 1) -> None:
        super().__init__()
        if views not in (1, len(FLIPS)):
            raise ValueError(f"views is {views}; it is 1 or {len(FLIPS)}")
        check_count(passes, "passes")
        self.prior, self.views, self.passes = prior, float(views), float(passes)

    def start(self, problem: Disturbed) -> Float[Tensor, "batch views ..."]:
        """y for every view."""
        return torch.stack([problem.image] * int(self.views), 1)

    def forward(self, state: Float[Tensor, "batch views ..."], problem: Disturbed) -> Float[Tensor, "batch views ..."]:
        found = []
        for x, axes in zip(state.unbind(1), FLIPS, strict=False):
            for _ in range(int(self.passes)):
                added = self.prior.at(x, problem.image, problem.level, self.side(problem), axes)
                x = self.held(x + added.to(x.dtype), problem)
            found.append(x)
        return torch.stack(found, 1)

    def estimate(self, state: Float[Tensor, "batch views ..."], problem: Disturbed) -> Tensor:
        """The mean over the views."""
        return state.mean(1)

    def side(self, problem: Disturbed) -> int:
        """Pixels along a side of the prior's cells."""
        return self.prior.sides[0]

    def held(self, x: Tensor, problem: Disturbed) -> Tensor:
        """H(x)."""
        return x

    def _check_picture(self, image: Tensor) -> None:
        check_numbers(image, "image", class_name(self), real=True)
        count = self.prior.images
        if not (image.ndim == 3 and count == 1) and not (image.ndim == 4 and image.shape[1] == count):
            one = ", or (batch, height, width)" if count == 1 else ""
            raise ValueError(f"image is (batch, {count}, height, width){one}; got shape {tuple(image.shape)}")
        if not min(image.shape[-2:]):
            raise ValueError(f"pictures have a pixel at least; got {image.shape[-2]} x {image.shape[-1]}")


class MultiscaleDenoising(MultiscaleRestoration):
    """``MultiscaleRestoration`` of a picture with white noise: y the picture, l = sigma, H(x) = (tau^2 y + sigma^2 x) /
    (tau^2 + sigma^2), which for an error of x of standard deviation tau is the best of both; undisturbed it is y. Data
    are ``NoisyImage``.

    Parameters: those of ``prior``; ``remainder`` tau^2, positive.

    Args:
        prior, views, passes: as for ``MultiscaleRestoration``.
        remainder: tau.

    Raises:
        ValueError: as ``MultiscaleRestoration``; when run, a level that is no part of white.
    """

    def __init__(self, prior: nn.Module, remainder: float = 1 / 255, *, views: int = 4, passes: int = 1) -> None:
        super().__init__(prior, views=views, passes=passes)
        self.remainder = scalar_parameter(remainder**2, next(iter(prior.parameters())))
        constrain(self, "remainder", Positive())

    def prepare(self, data: NoisyImage) -> Disturbed:
        return Disturbed(data.image, data.sigma, data)

    def held(self, x: Tensor, problem: Disturbed) -> Tensor:
        """The mean of x and y by their variances."""
        variance = problem.level.square().reshape(-1, *(1,) * (x.ndim - 1))
        return x + (self.remainder / (self.remainder + variance)).to(x.dtype) * (problem.image - x)

    def check(self, data: NoisyImage) -> None:
        super().check(data)
        for name, value in zip(NoisyImage._fields, data, strict=True):
            check_numbers(value, name, "denoising", real=True)
        self._check_picture(data.image)
        check_noise(data)


class MultiscaleDeblocking(MultiscaleRestoration):
    """``MultiscaleRestoration`` of a decoded JPEG picture: y the picture, l the rounding error of its coarse
    coefficients, H brings every cosine coefficient into [q - 1/2, q + 1/2] Q (Chen and Pock 2017, section 5); data are
    ``Compressed``.

    Sides are multiples of 8, so that the blocks of a mirrored picture are the mirrored blocks.

    Parameters: those of ``prior``.

    Args:
        prior, views, passes: as for ``MultiscaleRestoration``.

    Raises:
        ValueError: as ``MultiscaleRestoration``.
    """

    def __init__(self, prior: nn.Module, *, views: int = 4, passes: int = 1) -> None:
        super().__init__(prior, views=views, passes=passes)
        self.blocks = QuantisedBlocks()

    def prepare(self, data: Compressed) -> Disturbed:
        return Disturbed(data.image, rounding_level(data.steps), data)

    def held(self, x: Tensor, problem: Disturbed) -> Tensor:
        """The projection onto what the file says."""
        return self.blocks.project(x, self.blocks(problem.data))

    def check(self, data: Compressed) -> None:
        super().check(data)
        self.blocks.check(data)
        self._check_picture(data.image)


def rounding_level(steps: Float[Tensor, "batch 8 8"]) -> Float[Tensor, " batch"]:
    """The standard deviation of rounding to multiples of the quantisation steps Q, (mean Q^2 / 12)^(1/2) over the nine
    lowest frequencies: finer ones are mostly rounded to zero, by less than half a step.
    """
    return (steps[:, :3, :3].square().mean((1, 2)) / 12).sqrt()


class SmallImage(NamedTuple):
    """A picture that is to be enlarged."""

    image: Tensor  # (batch, height, width)
    factor: int


class MultiscaleEnlarging(MultiscaleRestoration):
    """``MultiscaleRestoration`` of an enlarged picture: y the bicubic enlargement U f of a small picture f, l = 2.5 s /
    255 for a factor s, R at cells of s x s pixels, H twice x <- x + c U (f - A x), A the antialiased bicubic reduction:
    with R = 0 iterative back-projection (Irani and Peleg 1991, doi:10.1016/1049-9652(91)90045-L). Data are
    ``SmallImage``.

    Parameters: those of ``prior``; ``feedback`` c.

    Args:
        prior, views, passes: as for ``MultiscaleRestoration``; ``sides`` of the prior are the factors.

    Raises:
        ValueError: as ``MultiscaleRestoration``; when run, a factor that is not a whole number above 1.
    """

    rounds = 2

    def __init__(self, prior: nn.Module, *, views: int = 4, passes: int = 1) -> None:
        super().__init__(prior, views=views, passes=passes)
        self.feedback = scalar_parameter(1.0, next(iter(prior.parameters())))

    def prepare(self, data: SmallImage) -> Disturbed:
        image = BicubicReduction(int(data.factor)).enlarge(data.image)
        return Disturbed(image, image.new_full((1,), EACH * data.factor), data)

    def side(self, problem: Disturbed) -> int:
        """The factor: a cell is a pixel of the small picture."""
        return int(problem.data.factor)

    def held(self, x: Tensor, problem: Disturbed) -> Tensor:
        """Drawn back to the small picture."""
        reduction = BicubicReduction(int(problem.data.factor))
        for _ in range(self.rounds):
            x = x + self.feedback * reduction.enlarge(problem.data.image - reduction(x))
        return x

    def check(self, data: SmallImage) -> None:
        super().check(data)
        check_numbers(data.image, "image", "enlarging", real=True)
        factor = data.factor
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
            raise ValueError(f"factor is {factor!r}; it is a whole number above 1")
        if data.image.ndim != 3:
            raise ValueError(f"image is (batch, height, width); got shape {tuple(data.image.shape)}")
