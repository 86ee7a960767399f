"""Pan-sharpening: the bands of a scene at the resolution of its panchromatic image, by projected gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.algorithms.splitting.data_terms import DataTerm
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_numbers, check_range
from unrolling.core.refusals import explain_call
from unrolling.operators.differences import FiniteDifferences
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer, ratio_of
from unrolling.prox.analysis import AnalysisProx

RATIO = 4.0  # that step sizes are meant for
RIDGE = 1e-3  # beside variances of 1, so that bands which are alike share their weight


class Statistics(NamedTuple):
    """What bands and panchromatic image of a scene have to do with each other, at the bands' resolution."""

    mean: Tensor  # (batch, bands, 1, 1) of the bands
    deviation: Tensor  # (batch, bands, 1, 1), 1 for a band without any
    slope: Tensor  # (batch, bands, 1, 1): of the regression of a band on the panchromatic image
    pan_mean: Tensor  # (batch, 1, 1, 1)
    pan_deviation: Tensor  # (batch, 1, 1, 1), 1 for an image without any
    weights: Tensor  # (batch, bands, 1, 1): of the ridge regression of the panchromatic image on the bands


class Fusion(NamedTuple):
    """A scene to be pan-sharpened: what does not change from step to step."""

    back: Tensor  # (batch, bands, r h, r w): A^T y
    data: Imagery
    enlarged: Tensor  # (batch, bands, r h, r w): the bands by bicubic interpolation
    guide: Tensor  # (batch, 1, r h, r w): p, the panchromatic image
    detail: Tensor  # (batch, 1, r h, r w): what of p its reduced image lacks
    statistics: Statistics
    spectrum: None = None


class Projector(Protocol):
    """What brings bands closer to those of a scene, knowing the panchromatic image."""

    def __call__(self, z: Tensor, problem: Fusion) -> Tensor: ...


def statistics_of(bands: Tensor, reduced: Tensor, valid: Tensor | None = None) -> Statistics:
    """Means, deviations and regressions of bands (batch, bands, h, w) on a reduced panchromatic image (batch, 1, h, w),
    and of that on the bands, over the pixels that are ``valid`` (batch, 1, h, w), or all.

    The latter is regularised: with bands in standard deviations, a thousandth is added to each of their variances.
    """
    known = torch.ones_like(reduced) if valid is None else valid.to(reduced)
    count = known.sum((-2, -1), keepdim=True)
    share = known / torch.where(count == 0, 1, count)

    def mean(values: Tensor) -> Tensor:
        return (share * values).sum((-2, -1), keepdim=True)

    def root(square: Tensor) -> Tensor:
        return torch.where(square > 0, square, 1).sqrt()

    centre, pan_centre = mean(bands), mean(reduced)
    own, other = bands - centre, reduced - pan_centre
    variance = mean(other * other)
    together, deviation = mean(own * other), root(mean(own * own))
    slope = together / torch.where(variance > 0, variance, 1)
    scaled = (own / deviation).flatten(2)
    gram = (share.flatten(2) * scaled) @ scaled.mT + RIDGE * torch.eye(bands.shape[1]).to(bands)
    weights = solved(gram, (together / deviation)[..., 0]).unsqueeze(-1) / deviation
    return Statistics(centre, deviation, slope, pan_centre, root(variance), weights)


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """M^-1 b for positive definite M (batch, n, n) and b (batch, n, 1), n small, by Gauss and Jordan: in sums and
    products alone, which every exported form has.
    """
    rows = torch.cat([matrix, right], 2)
    for number in range(matrix.shape[-1]):
        pivot = rows[:, number : number + 1] / rows[:, number : number + 1, number : number + 1]
        keeps = torch.zeros(matrix.shape[-1], 1).to(rows)
        keeps[number] = 1
        rows = (1 - keeps) * (rows - rows[:, :, number : number + 1] * pivot) + keeps * pivot
    return rows[:, :, -1:]


@explain_call
class MultispectralFit(DataTerm):
    """0.5 |A x - y|^2, y the bands of ``Imagery``; its start is the bicubic enlargement.

    Args:
        operator: A.

    Attributes:
        statistics: of the whole scene, where data are a part of it; None takes those of the data.
    """

    statistics: Statistics | None = None

    def __init__(self, operator: ModulationTransfer) -> None:
        super().__init__()
        self.operator = operator
        # the panchromatic image through the mean transfer of the bands
        self.pan_operator = ModulationTransfer(
            operator.factor, sum(operator.gains) / len(operator.gains), operator.taps
        )

    def forward(self, data: Imagery) -> Fusion:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A^T y, the enlarged bands, and the regression of the bands on the panchromatic image."""
        y, p = data
        reduced = self.pan_operator(p)
        statistics = statistics_of(y, reduced) if self.statistics is None else self.statistics
        enlarged = self.operator.enlarge(y)
        detail = p - self.pan_operator.enlarge(reduced)
        return Fusion(self.operator.adjoint(y), data, enlarged, p, detail, statistics)

    def image(self, x: Tensor, data: Imagery) -> Tensor:
        return self.operator(x)

    def adjoint(self, y: Tensor, data: Imagery) -> Tensor:
        return self.operator.adjoint(y)

    def start(self, problem: Any) -> Tensor:
        """The enlarged bands."""
        return problem.enlarged

    def check(self, data: Any) -> None:
        """Refuses what is no ``Imagery`` of this ratio.

        Raises:
            TypeError, ValueError: by name.
        """
        ratio = ratio_of(data)
        for name, value in zip(Imagery._fields, data, strict=True):
            check_numbers(value, name, "MultispectralFit", real=True)
        self.operator.check_output(data.multispectral, "multispectral")
        if ratio != self.operator.factor:
            raise ValueError(
                f"the panchromatic image has {ratio} times the bands' pixels along a side, and this is for "
                f"{self.operator.factor} times"
            )


class GuidedProjection(Iteration):
    """x <- P(x - alpha (r / 4)^2 A^T (A x - y), p), x the bicubic enlargement of y at the start.

    Projected gradient descent for min 0.5 |A x - y|^2 over the images that P projects onto; with a network in the place
    of P, which sees the panchromatic image p beside its argument, it is what Lohit, Liu, Mansour and Boufounos 2019
    (ICASSP, pages 7725-7729) unroll. |A|^2 is about 1 / r^2, so that one alpha, the step at a ratio of 4, serves all
    ratios: for a projection onto a convex set, or a prox, it converges for alpha < 2 (4 / r)^2 / |A|^2, about 32.

    Parameters: ``step_size`` alpha, positive; those of ``projector``.

    Args:
        data_term: 0.5 |A x - y|^2.
        projector: P, (z, ``Fusion``) -> bands of the same shape; a module may have parameters. None is the identity.
        step_size: alpha; 16 by default, half of what converges.

    Raises:
        ValueError: a step size that is not positive and finite.
    """

    step_size: Tensor

    def __init__(
        self, data_term: MultispectralFit, projector: Projector | None = None, *, step_size: float = RATIO**2
    ) -> None:
        super().__init__()
        check_range(step_size, "step_size", 0.0, float("inf"), above=True, below=True)
        self.data_term = data_term
        self.prepare = data_term
        self.projector = projector
        held = list(projector.parameters()) if isinstance(projector, nn.Module) else []
        self.step_size = scalar_parameter(step_size, held[0] if held else torch.zeros(()))
        constrain(self, "step_size", Positive())

    def start(self, problem: Fusion) -> Tensor:
        """The enlarged bands."""
        return problem.enlarged

    def forward(self, state: Tensor, problem: Fusion) -> Tensor:
        """One step."""
        moved = state - self._step() * self.data_term.gradient(state, problem)  # pyright: ignore[reportArgumentType]
        return moved if self.projector is None else self.projector(moved, problem)

    def objective(self, state: Tensor, problem: Fusion) -> Tensor:
        """0.5 |A x - y|^2 of each scene, (batch,), and what the projector's prox penalises where it says so."""
        fit = self.data_term.value(state, problem)  # pyright: ignore[reportArgumentType]
        penalty = getattr(self.projector, "penalty", None)
        return fit if penalty is None else fit + penalty(state, problem) / self._step()

    def _step(self) -> Tensor:
        ratio = self.data_term.operator.factor
        return self.step_size if ratio == RATIO else self.step_size * (ratio / RATIO) ** 2

    def check(self, data: Any) -> None:
        self.data_term.check(data)

    def advice(self) -> str:
        return f"its step size {float(self.step_size):.4g} must stay below 2 (4 / r)^2 / |A|^2, about 32"


@explain_call
class BandVariation(nn.Module):
    """The prox of t s_b TV(x_b) for every band b, s_b the band's deviation, so that t has no unit; or ``guided``, of t
    s_b TV(x_b - c_b p), c_b the slope of the regression of the band on the panchromatic image p: bands whose details
    are those of p, times a number, cost nothing.

    TV is isotropic total variation (``AnalysisProx``).

    Args:
        threshold: t >= 0; alpha times the weight of the penalty.
        guided: whether what differs from the panchromatic image counts.
        iterations: of the dual.
    """

    def __init__(self, threshold: float, *, guided: bool = False, iterations: int = 10) -> None:
        super().__init__()
        check_range(threshold, "threshold", 0.0)
        check_count(iterations, "iterations")
        self.threshold, self.guided = threshold, guided
        self.variation = AnalysisProx(FiniteDifferences(), 8.0, iterations=iterations)

    def _apart(self, x: Tensor, problem: Fusion) -> tuple[Tensor, Tensor]:
        """What counts, in standard deviations of a band, and the rest."""
        kept = problem.statistics.mean
        if self.guided:
            kept = kept + problem.statistics.slope * (problem.guide - problem.statistics.pan_mean)
        return (x - kept) / problem.statistics.deviation, kept

    def forward(self, z: Tensor, problem: Fusion) -> Tensor:
        """The minimiser."""
        own, kept = self._apart(z, problem)
        found = self.variation(own.flatten(0, 1), self.threshold).reshape(own.shape)
        return kept + problem.statistics.deviation * found

    def penalty(self, x: Tensor, problem: Fusion) -> Tensor:
        """t sum_b s_b TV of each scene, (batch,)."""
        own, _ = self._apart(x, problem)
        each = self.variation.penalty(own.flatten(0, 1), self.threshold).reshape(own.shape[:2])
        return (problem.statistics.deviation[..., 0, 0].square() * each).sum(1)


@explain_call
class LearnedProjection(nn.Module):
    """P(z, p)_b = z_b + s_b N((z_b - m_b) / s_b, c_b (p - m) / s_b, c_b (p - p_L) / s_b) for every band b.

    N is one network for all bands, so that any number of them will do, in any order. It sees the band, the
    panchromatic image p and its details p - p_L, p_L being p at the resolution of the bands, in standard deviations s_b
    of the band, c_b the slope of its regression on p_L; and with ``mixture`` c_b (p - I(z)) / s_b as well, what of p
    the bands together do not explain, I(z) = m + sum_b w_b (z_b - m_b) being the ridge regression of p_L on the bands.
    P knows no unit and no offset: P(a z + b, d p + e) = a P(z, p) + b for numbers a > 0, d != 0, b, e. Where N is zero,
    P is the identity.

    Parameters: those of ``network``.

    Args:
        network: N, (batch x bands, 3, height, width) -> (batch x bands, 1, height, width); 4 with ``mixture``.
        mixture: whether a band sees what the bands together leave of the panchromatic image; without it each is
            sharpened by itself.
    """

    def __init__(self, network: nn.Module, *, mixture: bool = False) -> None:
        super().__init__()
        self.network, self.mixture = network, mixture

    def forward(self, z: Tensor, problem: Fusion) -> Tensor:
        """The bands with what the network adds."""
        mean, deviation, slope, pan_mean, _, weights = problem.statistics
        own, pan, strength = z - mean, problem.guide - pan_mean, slope / deviation
        inputs = [own / deviation, strength * pan, strength * problem.detail]
        if self.mixture:
            inputs.append(strength * (pan - (weights * own).sum(1, keepdim=True)))
        seen = torch.stack(inputs, 2)
        if torch.is_grad_enabled():
            added = self.network(seen.flatten(0, 1)).reshape(z.shape)
        else:  # band by band, at the memory of one
            added = torch.cat([self.network(each) for each in seen.unbind(1)], 1)
        return z + deviation * added.to(z.dtype)
