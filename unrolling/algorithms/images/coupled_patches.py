"""Coupled sparse coding of patches, from which a small picture becomes a larger one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_dictionary, each_weight, lipschitz
from unrolling.algorithms.sparse.ista import Prox, penalty_of
from unrolling.core import Iteration, tree
from unrolling.core.arguments import check_count, check_numbers, check_range
from unrolling.operators.borders import extend
from unrolling.operators.resize import resize
from unrolling.prox import soft_threshold

LEAST_NORM = 1e-12  # by which a patch without any contrast is divided


class PatchProblem(NamedTuple):
    """What does not change from step to step; patches lie at ``rows`` x ``columns`` places, at every pixel and beyond
    the borders as far as a patch still covers a pixel.
    """

    encoded: Tensor  # (batch, rows, columns, atoms): W c, c the features of every patch
    background: Tensor  # (batch, height, width): the mean of the patches' means


class ContrastProblem(NamedTuple):
    """The same of patches that are brought to unit contrast."""

    encoded: Tensor  # (batch, rows, columns, atoms): W c / |c|
    background: Tensor  # (batch, height, width)
    contrast: Tensor  # (batch, rows, columns): |M y|, M y the patches of the bicubic enlargement less their means


class CoupledSparseCoding(Iteration):
    """z <- S_1(S z + W c) for every patch of the bicubic enlargement y: ISTA for min_a 0.5 |D_y a - c|^2 + lambda |a|_1
    with a = theta z, theta = lambda / L, W = D_y^T / lambda, S = I - D_y^T D_y / L (of unequal lambda_i, row i is
    multiplied by 1 / theta_i and column i by theta_i).

    c = F y are features of a patch (derivatives), D_y their dictionary, D_x that of the sharp patches: x = m + sum over
    all patches of g D_x a, put where they lie; m is the mean of y over a patch's surroundings, averaged over the
    patches that a pixel lies in, and g = 1 / (number of these). Yang, Wright, Huang and Ma 2010,
    doi:10.1109/TIP.2010.2050625 without their normalisation of patches; unrolled it is the network of Wang, Liu, Yang,
    Han and Huang 2015, doi:10.1109/ICCV.2015.50 without it (survey, section IV-A). Thresholds lie in the matrices
    beside them, as S_theta(a) = theta S_1(a / theta): that of every layer is 1.

    Data are small images (batch, height, width); estimates are ``factor`` times as large.

    Parameters: ``features`` F (count, f, f), ``encoder`` W (atoms, count), ``inhibition`` S (atoms, atoms), ``decoder``
    D_x theta (p p, atoms), ``overlap`` g (p p,), ``mean`` the filter of m (f + p - 1, f + p - 1). The first step starts
    at z = 0 and does not use S.

    Args:
        features: F (count, f, f), f odd: filters that are correlated with y; ``patch_features`` makes the usual ones.
        low: D_y (count, atoms).
        high: D_x (p p, atoms), p odd, p <= f: patches of p x p pixels in the middle of those of f x f.
        weight: lambda > 0, a number or (atoms,).
        factor: by which bicubic interpolation enlarges the data; 1 where they are enlarged already.
        step_size: 1 / L; by default with L = |D_y|^2. Convergence needs less than 2 / |D_y|^2.
        prox: with threshold 1: ``soft_threshold``, or ``nonnegative`` for codes a >= 0, which is max(z - 1, 0): then a
            step is a layer with ReLU.

    Raises:
        ValueError: sizes that do not fit, a zero column of D_y, a weight that is not positive.
    """

    algorithm = "ISTA"
    unused_at_start = ("inhibition",)

    low: Tensor
    weight: Tensor
    scale: Tensor

    def __init__(
        self,
        features: Float[Tensor, "count f f"],
        low: Float[Tensor, "count atoms"],
        high: Float[Tensor, "pixels atoms"],
        weight: float | Tensor,
        *,
        factor: int = 1,
        step_size: float | None = None,
        prox: Prox = soft_threshold,
    ) -> None:
        super().__init__()
        check_dictionary(low)
        if features.ndim != 3 or features.shape[1] != features.shape[2] or features.shape[1] % 2 == 0:
            raise ValueError(f"features are (count, f, f) with an odd f; got shape {tuple(features.shape)}")
        if low.shape[0] != len(features):
            raise ValueError(f"D_y has a row for each of the {len(features)} features; got shape {tuple(low.shape)}")
        side = round(high.shape[0] ** 0.5) if high.ndim == 2 else 0
        if side % 2 == 0 or side**2 != high.shape[0] or high.shape[1] != low.shape[1] or side > features.shape[1]:
            raise ValueError(
                f"D_x is (p p, {low.shape[1]}), p odd and at most {features.shape[1]}; got shape {tuple(high.shape)}"
            )
        check_count(factor, "factor")
        lambdas = each_weight(weight, low.shape[1]).to(low)
        if not bool((lambdas > 0).all()):
            raise ValueError(f"weight must be positive, as codes are counted in it; got {float(lambdas.min()):.4g}")
        step = 1 / lipschitz(low) if step_size is None else step_size
        check_range(step, "step_size", 0.0, above=True)
        self.factor, self.patch, self.margin = factor, side, features.shape[1] // 2 + side // 2
        self.step_size, self.prox = step, prox
        low, high, features = (t.detach() for t in (low, high, features))
        scale = step * lambdas
        self.register_buffer("low", low.clone())
        self.register_buffer("weight", lambdas.clone())
        self.register_buffer("scale", scale)
        self.features = nn.Parameter(features.clone())
        self.encoder = nn.Parameter((low / lambdas).T.contiguous())
        gram = torch.eye(low.shape[1]).to(low) - step * (low.T @ low)
        self.inhibition = nn.Parameter(gram * (scale / scale.unsqueeze(1)))
        self.decoder = nn.Parameter(high * scale)
        self.overlap = nn.Parameter(low.new_full((side**2,), 1 / side**2))
        self.mean = nn.Parameter(mean_filter(features.shape[1], side).to(low))

    def prepare(self, data: Float[Tensor, "batch height width"]) -> PatchProblem:
        """W c and m of the bicubic enlargement."""
        wide = self.wide(data)
        return PatchProblem(self._encoded(_whole(_correlate, wide, self.features)), self._background(wide))

    def start(self, problem: PatchProblem) -> Float[Tensor, "batch rows columns atoms"]:
        """z = 0."""
        return torch.zeros_like(problem.encoded)

    def forward(
        self, state: Float[Tensor, "batch rows columns atoms"], problem: PatchProblem
    ) -> Float[Tensor, "batch rows columns atoms"]:
        """One step."""
        return self.prox(_times(state, self.inhibition) + problem.encoded, 1.0)  # pyright: ignore[reportArgumentType]

    def estimate(self, state: Tensor, problem: PatchProblem) -> Float[Tensor, "batch height width"]:
        """The larger image."""
        return problem.background + self.placed(self.patches(state, problem), self.overlap)

    def placed(
        self, patches: Float[Tensor, "batch pixels rows columns"], weight: Float[Tensor, " pixels"]
    ) -> Float[Tensor, "batch height width"]:
        """The sum of patches, their pixels weighted, where they lie on the image."""
        p = self.patch
        # Pixel (a, b) of the patch at (r, c) lies on pixel (r + a - p + 1, c + b - p + 1) of the image.
        places = torch.eye(p * p).to(weight).reshape(p * p, p, p).flip(1, 2) * weight.view(-1, 1, 1)
        return _whole(nn.functional.conv2d, patches, places.unsqueeze(0))[:, 0]

    def patches(self, state: Tensor, problem: Any) -> Float[Tensor, "batch pixels rows columns"]:
        """The sharp patches that codes mean, less their means: D_x theta z, in the precision of the image."""
        return (
            _times(state, self.decoder)
            .movedim(-1, 1)
            .to(problem.background.dtype, memory_format=torch.contiguous_format)
        )

    def codes(self, state: Tensor) -> Float[Tensor, "batch rows columns atoms"]:
        """a = theta z."""
        return state * self.scale

    def objective(self, state: Tensor, problem: PatchProblem) -> Float[Tensor, " batch"]:
        """0.5 |D_y a|^2 - <D_y a, c> + sum_i lambda_i |a_i| over all patches, (batch,): the lasso less 0.5 |c|^2."""
        codes = self.codes(state)
        image = tree.rows(codes @ self.low.T).square().sum(1)
        correlation = tree.rows(problem.encoded * self.weight * codes).sum(1)
        return 0.5 * image - correlation + penalty_of(self.prox, codes, self.weight)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_numbers(data, "data", "coupled sparse coding", real=True)
        if data.ndim != 3:
            raise ValueError(f"data are images (batch, height, width); got shape {tuple(data.shape)}")
        least = -(-self.margin // self.factor)
        if min(data.shape[1:]) < least:
            raise ValueError(
                f"images have at least {least} x {least} pixels, as their mirrored borders are {self.margin} pixels "
                f"wide after enlarging; got {data.shape[1]} x {data.shape[2]}"
            )

    def advice(self) -> str:
        return f"its step size {self.step_size:.4g} must stay below 2 / |D_y|^2 = {2 / lipschitz(self.low):.4g}"

    def wide(self, data: Tensor) -> Float[Tensor, "batch wide_height wide_width"]:
        """y, mirrored beyond its borders as far as patches reach."""
        height, width = (self.factor * side for side in data.shape[-2:])
        large = data if self.factor == 1 else _whole(resize, data, height, width)
        return extend(large, (self.margin, self.margin, self.margin, self.margin), "symmetric")

    def _encoded(self, features: Tensor) -> Tensor:
        return _times(features.movedim(1, -1), self.encoder)

    def _background(self, wide: Tensor) -> Tensor:
        return _whole(_correlate, wide, self.mean.unsqueeze(0))[:, 0]


class NormalisedSparseCoding(CoupledSparseCoding):
    """``CoupledSparseCoding`` of patches of unit contrast: c = F y / |F y| at every place, and the sharp patch is 1.1
    (D_x a / |D_x a|) |M y|, M y the patch of y less its mean. Norms below 1e-12 count as 1e-12.

    The form in which Yang, Wright, Huang and Ma 2010 have it; unrolled with all parameters tied it is the network that
    was released by Wang, Liu, Yang, Han and Huang 2015: with 100 features of 9 x 9, 128 atoms and patches of 5 x 5 it
    has 42,703 numbers. (Theirs divides by a norm of 0 where a patch is flat.)

    Parameters: those of ``CoupledSparseCoding`` and ``contrast`` M (p p, f, f); ``overlap`` is 1.1 / (p p) at the
    start.

    Args:
        features, low, high, weight, factor, step_size, prox: as for ``CoupledSparseCoding``.
        gain: the 1.1, by which patches get more contrast than y has.
    """

    def __init__(
        self,
        features: Float[Tensor, "count f f"],
        low: Float[Tensor, "count atoms"],
        high: Float[Tensor, "pixels atoms"],
        weight: float | Tensor,
        *,
        factor: int = 1,
        step_size: float | None = None,
        prox: Prox = soft_threshold,
        gain: float = 1.1,
    ) -> None:
        super().__init__(features, low, high, weight, factor=factor, step_size=step_size, prox=prox)
        self.contrast = nn.Parameter(patch_filters(features.shape[1], self.patch).to(self.low))
        self.overlap = nn.Parameter(self.overlap.detach() * gain)

    def prepare(self, data: Float[Tensor, "batch height width"]) -> ContrastProblem:  # pyright: ignore
        """W c, m and M y of the bicubic enlargement."""
        wide = self.wide(data)
        # In the precision of the image also under autocast: features are small differences of it.
        both = _whole(_correlate, wide, torch.cat([self.features, self.contrast]))
        features, contrast = both.split([len(self.features), len(self.contrast)], 1)
        encoded = self._encoded(features / _norm(features))
        return ContrastProblem(encoded, self._background(wide), _norm(contrast)[:, 0])

    def patches(self, state: Tensor, problem: Any) -> Float[Tensor, "batch pixels rows columns"]:
        """Those that codes mean, brought to the contrast of y."""
        patches = super().patches(state, problem)
        return patches * (problem.contrast.unsqueeze(1) / _norm(patches))


def patch_features(f: int = 9, p: int = 5) -> Float[Tensor, "count f f"]:
    """First and second differences along both directions at every pixel of a patch of p x p, (4 p p, f, f), float64:
    correlated with an image they are the features of Yang et al. 2010, [-1, 0, 1] and [1, 0, -2, 0, 1] / 2.

    Raises:
        ValueError: f below p + 4.
    """
    check_count(p, "p")
    check_count(f, "f", p + 4)
    first = torch.tensor([0.0, -1, 0, 1, 0], dtype=torch.float64)
    second = torch.tensor([0.5, 0, -1, 0, 0.5], dtype=torch.float64)
    found = torch.zeros(4, p, p, f, f, dtype=torch.float64)
    begin = (f - p) // 2
    for row in range(p):
        for column in range(p):
            r, c = begin + row, begin + column
            for kind, taps in enumerate((first, second)):
                found[2 * kind, row, column, r, c - 2 : c + 3] = taps
                found[2 * kind + 1, row, column, r - 2 : r + 3, c] = taps
    return found.reshape(4 * p * p, f, f)


def patch_filters(f: int = 9, p: int = 5) -> Float[Tensor, "pixels f f"]:
    """What gives the p x p pixels in the middle of f x f, less the mean of the latter, (p p, f, f), float64."""
    check_count(p, "p")
    check_count(f, "f", p)
    begin = (f - p) // 2
    found = torch.full((p, p, f, f), -1 / f**2, dtype=torch.float64)
    for row in range(p):
        for column in range(p):
            found[row, column, begin + row, begin + column] += 1
    return found.reshape(p * p, f, f)


def mean_filter(f: int = 9, p: int = 5) -> Float[Tensor, "side side"]:
    """The mean over f x f pixels, averaged over the p x p patches that a pixel lies in: (f + p - 1, f + p - 1),
    float64.
    """
    check_count(f, "f")
    check_count(p, "p")
    line = torch.zeros(f + p - 1, dtype=torch.float64)
    for shift in range(p):
        line[shift : shift + f] += 1 / (f * p)
    return torch.outer(line, line)


class EnlargingCascade(nn.Module):
    """Networks that enlarge, one after the other, and bicubic interpolation back where they go beyond ``factor``: two
    that double make three times, or four (Wang et al. 2015, section 4.3).

    Args:
        stages: from images (batch, height, width) to images ``each`` times as large.
        factor: by how much an image becomes larger.
        each: by how much each stage enlarges.

    Raises:
        ValueError: stages that do not reach the factor, or more than it needs.
    """

    def __init__(self, stages: list[nn.Module], factor: int, each: int = 2) -> None:
        super().__init__()
        check_count(factor, "factor")
        check_count(each, "each", 2)
        needed = stages_for(factor, each)
        if len(stages) != needed:
            raise ValueError(f"{needed} stages that enlarge {each} times reach {factor} times; got {len(stages)}")
        self.stages = nn.ModuleList(stages)
        self.factor, self.each = factor, each

    def forward(self, small: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch large_height large_width"]:
        """The larger images."""
        large = small
        for stage in self.stages:
            large = stage(large)
        height, width = (self.factor * side for side in small.shape[-2:])
        return large if large.shape[-2:] == (height, width) else resize(large, height, width)


def stages_for(factor: int, each: int = 2) -> int:
    """How many stages that enlarge ``each`` times it takes to reach a factor."""
    check_count(factor, "factor")
    check_count(each, "each", 2)
    count, reached = 0, 1
    while reached < factor:
        count, reached = count + 1, reached * each
    return count


def _norm(x: Tensor) -> Tensor:
    """max(|x|, 1e-12) over the second dimension; its gradient is 0 where that is the guard."""
    return x.square().sum(1, keepdim=True).clamp_min(LEAST_NORM**2).sqrt()


def _correlate(images: Tensor, filters: Tensor) -> Tensor:
    """(batch, height, width) with (count, f, f), where they lie inside: (batch, count, rows, columns)."""
    return nn.functional.conv2d(images.unsqueeze(1), filters.unsqueeze(1))


def _whole(function: Callable[..., Tensor], x: Tensor, *others: Tensor | int) -> Tensor:
    """A map of x, under autocast too, where single precision would become half."""
    if not torch.is_autocast_enabled(x.device.type):
        return function(x, *others)
    with torch.autocast(x.device.type, enabled=False):
        return function(x, *others)


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    """M x of the last dimension, as one product of two matrices: of more dimensions torch chooses among products by
    whether a gradient is wanted, and some processors round those otherwise.
    """
    return (x.reshape(-1, x.shape[-1]) @ matrix.T).reshape(*x.shape[:-1], matrix.shape[0])
