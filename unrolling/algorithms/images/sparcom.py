"""SPARCOM: where emitters are, from how the light of a movie fluctuates; and the step that Learned SPARCOM unrolls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.kernels.radial_steps import RadialSteps, Shrink
from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_numbers
from unrolling.core.deploy import FusedLayers, register
from unrolling.core.execution import transformed
from unrolling.core.refusals import explain_call
from unrolling.operators import transforms
from unrolling.operators.point_spread import PointSpread
from unrolling.operators.radial import RadialConvolution
from unrolling.operators.resize import bicubic_matrix, resize
from unrolling.prox.percentile import PercentileGate, SoftPositive, ranks_of_percentiles
from unrolling.prox.thresholds import nonnegative

Form = Literal["variance", "correlation"]


def temporal_variance(movie: Float[Tensor, "batch frames height width"]) -> Float[Tensor, "batch height width"]:
    """The mean over the frames of the squared distance from their mean, of each pixel. An image that is taken from all
    frames, such as their median, does not change it.
    """
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    at_hand = type(movie) is Tensor and movie.is_cpu and not (torch.is_grad_enabled() or tracing or transformed())
    if at_hand and movie.ndim == 4 and len(movie) > 1:  # one by one, so that the cache holds what comes between
        return torch.cat([temporal_variance(each) for each in movie.split(1)])
    return (movie - movie.mean(1, keepdim=True)).square().mean(1)


def check_movie(data: Any, owner: str) -> None:
    """Refuses what is no movie (batch, frames, height, width) of two frames and more, real.

    Raises:
        TypeError: no tensor of real numbers.
        ValueError: another shape.
    """
    check_numbers(data, "data", owner, real=True)
    if data.ndim != 4:
        raise ValueError(f"data are movies (batch, frames, height, width); got shape {tuple(data.shape)}")
    if data.shape[1] < 2:
        raise ValueError(f"data have {data.shape[1]} frame; what fluctuates is seen from two frames on")


@explain_call
class Fluctuations(DataTerm):
    """How well variances x of independent emitters on a fine grid explain a movie y, by its second-order statistics.

    ``variance``: 0.5 |g - A_2 x|^2, g the variance over time of each pixel and A_2 the point spread function squared.
    ``correlation``: 0.5 |R_y - A diag(x) A^T|_F^2, R_y the covariances of all pairs of pixels and A the point spread
    function, less what no x changes; its gradient M x - v has M = (A^T A) squared entry by entry and v the variance
    over time of A^T y, so that R_y itself is never formed. Both M are products of small matrices along rows and
    columns.

    Solomon, Eldar, Mutzafi and Segev 2019, arXiv:1707.09255.

    Args:
        shape: (height, width) of the camera.
        factor: fine pixels in one of the camera's, along a side.
        deviation: standard deviation of the Gaussian point spread function, in pixels of the camera.
        form: which of the two.

    Raises:
        ValueError: another form.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, shape: tuple[int, int], factor: int = 4, deviation: float = 1.1, *, form: Form = "variance"
    ) -> None:
        super().__init__()
        if form not in ("variance", "correlation"):
            raise ValueError(f"form is {form!r}; it is variance or correlation")
        self.form = form
        self.spread = PointSpread(shape, factor, deviation, 2 if form == "variance" else 1)
        for name in ("rows", "columns"):
            matrix = getattr(self.spread, name).double()
            gram = matrix.T @ matrix
            gram = gram if form == "variance" else gram.square()
            self.register_buffer(name, gram.to(self.spread.rows), persistent=False)

    def forward(self, data: Float[Tensor, "batch frames height width"]) -> Problem:
        """A_2^T g, or v."""
        if self.form == "variance":
            return Problem(self.spread.adjoint(temporal_variance(data)), None, data)
        back = self.spread.rows.T @ data @ self.spread.columns
        return Problem(temporal_variance(back), None, data)

    def start(self, problem: Problem) -> Tensor:
        """Zeros."""
        return torch.zeros_like(problem.back)

    def gradient(self, x: Tensor, problem: Problem) -> Tensor:
        """M x - v."""
        return self.rows @ x @ self.columns - problem.back

    def value(self, x: Tensor, problem: Problem) -> Tensor:
        """0.5 <x, M x> - <x, v> and, of variances, 0.5 |g|^2, (batch,)."""
        found = (x * (0.5 * (self.rows @ x @ self.columns) - problem.back)).flatten(1).sum(1)
        if self.form == "correlation":
            return found
        return found + 0.5 * temporal_variance(problem.data).square().flatten(1).sum(1)

    def lipschitz(self) -> float:
        """|M|, the largest step size's inverse."""
        return float(
            torch.linalg.matrix_norm(self.rows.double(), 2) * torch.linalg.matrix_norm(self.columns.double(), 2)
        )

    def check(self, data: Tensor) -> None:
        """Refuses what is no movie of this camera."""
        check_movie(data, type(self).__name__)
        self.spread.check_output(data[:, 0], "a frame of data")


def accelerated_sparcom(term: Fluctuations, weight: float) -> FISTA:
    """FISTA for min_{x >= 0} 0.5 |g - A_2 x|^2 + lambda sum_i x_i, or with the covariances in the place of g, from 0.

    Args:
        term: which of the two.
        weight: lambda >= 0.
    """
    found = FISTA(ProximalGradient(term, nonnegative, weight, step_size=1 / term.lipschitz()))
    found.algorithm = Sparcom.algorithm
    return found


class EnlargedVariance(nn.Module):
    """G = W_A * g, g the variances over time of a movie's pixels, interpolated to ``factor`` times as many.

    Args:
        analysis: W_A.
        factor: along a side.
    """

    def __init__(self, analysis: RadialConvolution, factor: int) -> None:
        super().__init__()
        check_count(factor, "factor")
        self.analysis, self.factor = analysis, factor

    def forward(self, data: Float[Tensor, "batch frames height width"]) -> Float[Tensor, "batch fine fine"]:
        """G of movies."""
        return self.of_variance(temporal_variance(data))

    def of_variance(self, variance: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch fine fine"]:
        """G of images of variances."""
        height, width = variance.shape[-2:]
        return self.analysis(resize(variance, self.factor * height, self.factor * width))


class Sparcom(Iteration):
    """x <- G - W * t + t, t = prox(x), from x = G = W_A * g; the estimate is s prox'(x). g: the variance over time of
    each pixel of a movie (batch, frames, height, width), on a grid that is ``factor`` times finer.

    With prox = prox' = max(x - mu lambda, 0), W_A = mu A^T, W = mu A^T A and s = 1 the estimates are those of ISTA for
    min_{x >= 0} 0.5 |g - A x|^2 + lambda |x|_1, A the convolution with the square of the point spread function: after k
    steps that of k + 1 steps of ISTA from 0. Dardikman-Yoffe and Eldar 2020, doi:10.1364/OE.401925, learn it in this
    form, with ``PercentileGate``.

    Parameters: ``analysis.profile`` W_A, ``interaction.profile`` W, ``prox``, ``last``, ``scale`` s, positive.

    Args:
        analysis: W_A.
        interaction: W.
        prox: of each step, a module of images.
        last: prox' of the estimate.
        factor: by how much the grid is finer, along a side.
        scale: s.
    """

    algorithm = "SPARCOM"
    scale: Tensor

    def __init__(
        self,
        analysis: RadialConvolution,
        interaction: RadialConvolution,
        prox: nn.Module,
        last: nn.Module,
        *,
        factor: int = 4,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.analysis, self.interaction, self.prox, self.last = analysis, interaction, prox, last
        self.prepare = EnlargedVariance(analysis, factor)
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        constrain(self, "scale", Positive())

    def start(self, problem: Float[Tensor, "batch fine fine"]) -> Float[Tensor, "batch fine fine"]:
        """x = G."""
        return problem

    def forward(
        self, state: Float[Tensor, "batch fine fine"], problem: Float[Tensor, "batch fine fine"]
    ) -> Float[Tensor, "batch fine fine"]:
        """One step."""
        t = self.prox(state)
        return problem - self.interaction(t) + t

    def estimate(self, state: Tensor, problem: Tensor) -> Float[Tensor, "batch fine fine"]:
        """s prox'(x)."""
        return self.scale * self.last(state)

    def check(self, data: Any) -> None:
        """Refuses what is no movie."""
        check_movie(data, type(self).__name__)

    def advice(self) -> str:
        return "W must stay below 2 in norm, as mu A^T A with mu < 2 / |A|^2 does"


class SparcomLayers:
    """All layers of a network with the values of the moment it was made: t is convolved with delta - W at once. Small
    images in single precision are left to a kernel, ``RadialSteps``; of others the spectra are kept for the last size,
    as the matrices of its interpolation are.
    """

    def __init__(self, layers: Sequence[Sparcom]) -> None:
        self.layers = list(layers)
        self._size: Any = None
        self._grid = (0, 0)
        self._spectra: list[Tensor] = []
        self._matrices: list[Tensor] = []
        self._small: RadialSteps | None = None

    def __call__(self, data: Any, state: Any = None) -> Tensor | None:
        """The state after the last layer; None for what is no movie of real numbers of the kernels' precision."""
        dtype = self.layers[0].interaction.profile.dtype
        if not isinstance(data, Tensor) or data.ndim != 4 or data.dtype != dtype or 0 in data.shape:
            return None
        if self._size != data.shape[-2:]:
            self._keep(data)
        first, grid = self.layers[0], self._grid
        enlarged = self._matrices[0] @ temporal_variance(data) @ self._matrices[1].T
        found = None if self._small is None else self._small(enlarged, state)
        if found is not None:
            return found
        problem = first.analysis(enlarged)
        height, width = problem.shape[-2:]
        x = problem if state is None else state
        for layer, spectrum in zip(self.layers, self._spectra, strict=True):
            moved = transforms.rfft2(nn.functional.pad(layer.prox(x), (0, grid[1] - width, 0, grid[0] - height)))
            x = problem + transforms.irfft2(moved.mul_(spectrum), s=grid)[..., :height, :width]
        return x

    def _keep(self, data: Tensor) -> None:
        first: Any = self.layers[0]
        sides = tuple(first.prepare.factor * side for side in data.shape[-2:])
        self._grid = first.interaction.grid(*sides)
        shrinks = [_shrink(layer.prox, math.prod(sides)) for layer in self.layers]
        self._small = RadialSteps.of(first.analysis, [layer.interaction for layer in self.layers], shrinks, sides)
        self._spectra = [1 - layer.interaction.spectrum(self._grid) for layer in self.layers]
        pairs = zip(data.shape[-2:], sides, strict=True)
        self._matrices = [bicubic_matrix(side, to).to(data) for side, to in pairs]
        self._size = data.shape[-2:]


def _shrink(prox: nn.Module, pixels: int) -> Shrink | None:
    """A prox as the kernel has it; None for one that it has not."""
    if type(prox) is SoftPositive:
        return Shrink(float(prox.threshold))
    if type(prox) is PercentileGate:
        return Shrink(float(prox.alpha), float(prox.steepness), *ranks_of_percentiles(pixels, prox.ranks))
    return None


def _sparcom_layers(layers: Sequence[Sparcom]) -> FusedLayers | None:
    plain = all(type(layer.interaction) is RadialConvolution for layer in layers)
    alike = len({(layer.interaction.size, layer.interaction.profile.dtype) for layer in layers}) == 1
    once = all(type(layer.prepare) is EnlargedVariance and layer.prepare is layers[0].prepare for layer in layers)
    once = once and layers[0].prepare.analysis is layers[0].analysis
    return SparcomLayers(layers) if plain and alike and once else None


register(Sparcom, _sparcom_layers)
