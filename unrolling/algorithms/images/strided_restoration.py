"""Convolutional sparse coding with a stride against JPEG compression, and for enlarging: what is known of the answer is
held to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.images.diffusion import Compressed, QuantisedBlocks
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.algorithms.sparse.strided import Codes, Shifted, StridedCoding
from unrolling.core.arguments import check_numbers
from unrolling.operators.resize import BicubicReduction
from unrolling.operators.strided import StridedDictionary

FACTORS = (2, 3, 4)
EACH = 2.5 / 255  # the error of bicubic interpolation of photographs, times the factor, is about so large


class StridedDeblocking(StridedCoding):
    """``StridedCoding`` of a decoded JPEG picture: y the picture, l the rounding error of its coarse coefficients, and
    every cosine coefficient brought into [q - 1/2, q + 1/2] Q at last (Chen and Pock 2017, section 5); data are
    ``Compressed``.

    Parameters: those of ``StridedCoding``.

    Args:
        dictionary, weight, options: as for ``StridedCoding``.

    Raises:
        ValueError: as ``StridedCoding``.
    """

    def __init__(self, dictionary: StridedDictionary, weight: float | Tensor, **options: Any) -> None:
        super().__init__(_decoded, dictionary, weight, **options)
        self.blocks = QuantisedBlocks()

    def estimate(self, state: Codes, problem: Shifted) -> Tensor:
        """The coded picture, projected onto what the file says."""
        return self.blocks.project(super().estimate(state, problem), self.blocks(problem.data))

    def check(self, data: Compressed) -> None:
        self.blocks.check(data)
        self.check_picture(data.image)


def rounding_level(steps: Float[Tensor, "batch 8 8"]) -> Float[Tensor, " batch"]:
    """The standard deviation of rounding to multiples of the quantisation steps Q, (mean Q^2 / 12)^(1/2) over the nine
    lowest frequencies: finer ones are mostly rounded to zero, by less than half a step.
    """
    return (steps[:, :3, :3].square().mean((1, 2)) / 12).sqrt()


def _decoded(data: Compressed) -> tuple[Tensor, Tensor]:
    return data.image, rounding_level(data.steps)


class SmallImage(NamedTuple):
    """A picture that is to be enlarged."""

    image: Tensor  # (batch, height, width)
    factor: int


class StridedEnlarging(StridedCoding):
    """``StridedCoding`` of an enlarged picture: y the bicubic enlargement U f of a small picture f, l = 2.5 s / 255 for
    a factor s. Then it is drawn back to f twice, x <- x + c U (f - A x), A the antialiased bicubic reduction (iterative
    back-projection, Irani and Peleg 1991, doi:10.1016/1049-9652(91)90045-L); data are ``SmallImage``.

    Parameters: those of ``StridedCoding``; ``feedback`` c.

    Args:
        dictionary, weight, options: as for ``StridedCoding``.

    Raises:
        ValueError: as ``StridedCoding``; when run, a factor that is not a whole number above 1.
    """

    rounds = 2

    def __init__(self, dictionary: StridedDictionary, weight: float | Tensor, **options: Any) -> None:
        super().__init__(_enlarged, dictionary, weight, **options)
        self.feedback = scalar_parameter(1.0, next(iter(self.dictionary.parameters())))

    def estimate(self, state: Codes, problem: Shifted) -> Tensor:
        """The coded picture, drawn back to the small one."""
        reduction, x = BicubicReduction(int(problem.data.factor)), super().estimate(state, problem)
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
        least = -(-self._dictionary().patch // factor)
        if min(data.image.shape[-2:]) < least:
            raise ValueError(f"small pictures have {least} x {least} pixels at least; got {tuple(data.image.shape)}")


def _enlarged(data: SmallImage) -> tuple[Tensor, Tensor]:
    image = BicubicReduction(int(data.factor)).enlarge(data.image)
    return image, torch.full((1,), EACH * data.factor, dtype=image.dtype, device=image.device)
