"""Blind deblurring by alternating minimisation: features, kernel, image; classical features or learned ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.images.blind_deblurring import Outcome, check_image, check_kernel_size
from unrolling.algorithms.images.blind_steps import (
    crop_kernel,
    deconvolve,
    fit_kernel,
    kernel_spectrum,
    normalise_kernel,
)
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.algorithms.splitting.data_terms import Blurred, KnownBlur
from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_range
from unrolling.operators.borders import extend, join
from unrolling.operators.differences import FiniteDifferences
from unrolling.operators.half_spectrum import Size, irfft2, rfft2
from unrolling.prox.isotropic import IsotropicShrink

GRID = 32  # the grid of the Fourier transforms has sides that are multiples of this


class AlternatingProblem(NamedTuple):
    """What alternating minimisation needs of an image."""

    image: Tensor  # (batch, height, width), as given
    blurred: Tensor  # y (batch, 1, height, width): its mean 0, the mean square of its differences 1
    spectrum: Tensor  # of y on the grid, (batch, 1, rows, half)


class AlternatingState(NamedTuple):
    """The state of ``AlternatingDeblurring``."""

    kernel: Tensor  # k (batch, kh, kw), non-negative, sum 1
    sharp: Tensor  # x (batch, 1, height, width), scaled as y


class AlternatingDeblurring(Iteration):
    """Alternating minimisation for blind deblurring in three modules (survey, section III-A):

        y_j, x_j = features(y, x);
        k = N_1 [ argmin_k sum_j |k * x_j - y_j|^2 + beta_k |k|^2 ]_+ = N_1 [ F^-1 { sum_j conj(X_j) Y_j / (sum_j
        |X_j|^2 + beta_k) } ]_+,
        x = argmin_x |k * x - y|^2 + beta_x |x|^2 = F^-1 { conj(K) Y / (|K|^2 + beta_x) },

    from x = y and k a single 1 in the middle; k is cropped to its support before it is made non-negative and divided by
    its sum (N_1). With ``ThresholdedGradients`` it is the classical method of Cho and Lee 2009
    (doi:10.1145/1618452.1618491), with ``LearnedFeatures`` a stage of the network of Schuler, Hirsch, Harmeling and
    Schoelkopf 2016 (doi:10.1109/TPAMI.2015.2481418).

    The estimate is not the x of these stages, which only serve the kernel, but what total variation finds for the last
    kernel: ``HalfQuadraticSplitting`` with ``finishing`` steps. y is the image less its mean, over the root mean square
    of its differences, so that contrast changes nothing. On the periodic grid the image is continued so that it has no
    step, and features are surrounded by zeros.

    Parameters: ``kernel_ridge`` beta_k, times the number of pixels, and ``image_ridge`` beta_x, positive; those of
    ``features``; ``solver.weight``, of total variation, and ``solver.penalty``, which no loss on kernels sees.

    Args:
        features: (y, x, boundary) -> ``Features``, images (batch, 1, height, width).
        kernel_size: of k, odd; larger than what is sought by as much as that may lie beside the middle.
        kernel_ridge: beta_k at the start.
        image_ridge: beta_x at the start.
        variation: weight of total variation in the estimate.
        finishing: steps of the solver of the estimate.
        periodic: whether images are periodic.

    Raises:
        ValueError: an even kernel size, values that are not positive.
    """

    kernel_ridge: Tensor
    image_ridge: Tensor

    def __init__(
        self,
        features: nn.Module,
        *,
        kernel_size: int = 25,
        kernel_ridge: float = 1.0,
        image_ridge: float = 0.03,
        variation: float = 0.006,
        finishing: int = 20,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        check_kernel_size(kernel_size)
        check_count(finishing, "finishing")
        self.features = features
        given = next((p for p in features.parameters() if p.is_floating_point()), torch.zeros(()))
        for name, value in (("kernel_ridge", kernel_ridge), ("image_ridge", image_ridge), ("variation", variation)):
            check_range(value, name, 0.0, math.inf, above=True, below=True)
        for name, value in (("kernel_ridge", kernel_ridge), ("image_ridge", image_ridge)):
            setattr(self, name, scalar_parameter(value, given.detach()))
            constrain(self, name, Positive())
        self.solver = HalfQuadraticSplitting(
            KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), variation, penalty=0.01
        ).to(given.dtype)
        self.kernel_size, self.finishing, self.periodic = kernel_size, finishing, periodic

    def prepare(self, data: Tensor) -> AlternatingProblem:
        """y, scaled, and its spectrum."""
        y = data - data.mean((-2, -1), keepdim=True)
        # first by the largest value, whose square is always a number; an image without differences is left as it is
        y = y / _divisor(y.abs().flatten(1).amax(1))
        down, right = y[:, 1:] - y[:, :-1], y[..., 1:] - y[..., :-1]
        square = down.square().mean((1, 2)) + right.square().mean((1, 2))
        y = (y / _divisor(square).sqrt()).unsqueeze(1)
        return AlternatingProblem(data, y, rfft2(join(y, self._grid(y))))

    def start(self, problem: AlternatingProblem) -> AlternatingState:
        """x = y, and no blur."""
        y = problem.blurred
        kernel = normalise_kernel(y.new_zeros(y.shape[0], self.kernel_size, self.kernel_size))
        return AlternatingState(kernel, y)

    def forward(self, state: AlternatingState, problem: AlternatingProblem) -> AlternatingState:
        y = problem.blurred
        height, width = y.shape[-2:]
        size = self._grid(y)
        blurred, sharp = self.features(y, state.sharp, "circular" if self.periodic else "symmetric")
        ridge = self.kernel_ridge * (height * width)
        found = fit_kernel(rfft2(_embed(blurred, size)), rfft2(_embed(sharp, size)), ridge)
        cropped, _ = crop_kernel(found, size, (self.kernel_size, self.kernel_size))
        kernel = normalise_kernel(cropped)
        image = deconvolve(problem.spectrum, kernel_spectrum(kernel, size), self.image_ridge)
        return AlternatingState(kernel, irfft2(image, size)[..., :height, :width])

    def estimate(self, state: AlternatingState, problem: AlternatingProblem) -> Tensor:
        """The image that total variation finds for the kernel, (batch, height, width)."""
        image = problem.image
        height, width = image.shape[-2:]
        if self.periodic:
            return self._solved(Blurred(image, state.kernel))
        m = self.kernel_size // 2
        wide = extend(image, (m, m, m, m), "symmetric")
        found = self._solved(Blurred(join(wide, self._grid(wide)), state.kernel))
        return found[:, m : m + height, m : m + width]

    def supervised(self, state: AlternatingState, problem: AlternatingProblem) -> Outcome:
        """Image and kernel, for losses on both; a loss on the kernel needs no image, and x of the last stage stands in
        its place, in the units of y.
        """
        return Outcome(state.sharp.squeeze(1), state.kernel)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_image(data, 1, self.kernel_size)

    def advice(self) -> str:
        return "use larger ridges"

    def _solved(self, data: Blurred) -> Tensor:
        problem = self.solver.prepare(data)
        state = self.solver.start(problem)
        for _ in range(self.finishing):
            state = self.solver(state, problem)
        return self.solver.estimate(state, problem)

    def _grid(self, image: Tensor) -> Size:
        height, width = image.shape[-2:]
        if self.periodic:
            return height, width
        margin = self.kernel_size - 1
        return -(-(height + margin) // GRID) * GRID, -(-(width + margin) // GRID) * GRID


def _divisor(scale: Tensor) -> Tensor:
    """(batch, 1, 1): the scale of each image, or 1 where that is 0."""
    return torch.where(scale == 0, 1, scale).reshape(-1, 1, 1)


def _embed(features: Tensor, size: Size) -> Tensor:
    """Features on the grid, zeros after them."""
    return nn.functional.pad(features, (0, size[1] - features.shape[-1], 0, size[0] - features.shape[-2]))
