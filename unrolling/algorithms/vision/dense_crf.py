"""Mean field for a fully connected conditional random field with Gaussian edges."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.vision.gaussian_filters import ExactFilter, GridFilter, SpatialFilter, WindowFilter
from unrolling.core import Iteration
from unrolling.core.arguments import check_count, check_range
from unrolling.core.execution import is_plain
from unrolling.core.refusals import explain_call, kind_of

BackEnd = Literal["exact", "window", "grid"]
Weighting = Literal["number", "class", "matrix"]
LEVELS = 255  # of a colour: widths of kernels are in levels, pictures in [0, 1]


class ScoredPicture(NamedTuple):
    """A picture and what somebody found for its pixels: scores of classes."""

    scores: Tensor  # (batch, classes, height, width): logits, up to a number for each pixel
    picture: Tensor  # (batch, channels, height, width) in [0, 1]


class CRFProblem(NamedTuple):
    """Scores, and what the two kernels need of the picture."""

    scores: Tensor  # U = -phi, (batch, classes, height, width)
    spatial: Any  # of the filters' ``prepare``
    bilateral: Any


@explain_call
class CRFPotentials(nn.Module):
    """Data -> ``CRFProblem``: the ``prepare`` of ``DenseCRF`` and ``ParsingNetwork``.

    Parameters: those of ``network``.

    Args:
        network: from pictures (batch, channels, height, width) to scores (batch, classes, height, width); then data are
            pictures. None: data are ``ScoredPicture``.
        spatial_width: g of exp(-|p - q|^2 / (2 g^2)), in pixels.
        position_width: a of exp(-|p - q|^2 / (2 a^2) - |I_p - I_q|^2 / (2 b^2)), in pixels.
        colour_width: b, in levels of 255; pictures are in [0, 1].
        back_end: ``exact`` for up to 4096 pixels, ``window`` for kernels without what is further than ``radius``,
            ``grid`` for wide ones, approximately (``GridFilter``).
        radius: of the window, in pixels.
        normalise: whether kernels are D^-1/2 K D^-1/2, D = diag(K 1).
        cells_per_width: of the grid.

    Raises:
        ValueError: an unknown back end; widths or a radius that are not positive.
    """

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        spatial_width: float = 3.0,
        position_width: float = 5.0,
        colour_width: float = 13.0,
        back_end: BackEnd = "window",
        radius: int = 5,
        normalise: bool = True,
        cells_per_width: float = 1.0,
    ) -> None:
        super().__init__()
        if back_end not in get_args(BackEnd):
            raise ValueError(f"back_end is {back_end!r}; it is one of {', '.join(get_args(BackEnd))}")
        check_range(colour_width, "colour_width", 0.0, above=True, below=True)
        check_count(radius, "radius")
        self.network, self.back_end, self.radius = network, back_end, radius
        widths = (position_width, colour_width / LEVELS)
        self.spatial = SpatialFilter(
            spatial_width, normalise=normalise, radius=radius if back_end == "window" else None
        )
        if back_end == "exact":
            self.bilateral: Any = ExactFilter(*widths, normalise=normalise)
        elif back_end == "window":
            self.bilateral = WindowFilter(*widths, normalise=normalise, radius=radius)
        else:
            self.bilateral = GridFilter(*widths, normalise=normalise, cells_per_width=cells_per_width)

    def forward(self, data: Any) -> CRFProblem:
        """Kernels of the picture, and its scores."""
        if self.network is None:
            scores, picture = data
        else:
            scores, picture = self.network(data), data
        return CRFProblem(scores, self.spatial.prepare(picture), self.bilateral.prepare(picture))

    def check(self, data: Any, classes: int | None) -> None:
        """Refuses data of another kind, and scores and pictures that do not belong together.

        Raises:
            TypeError, ValueError: by name.
        """
        if self.network is not None:
            check_picture(data, "data")
            check_unit_range(data)
            return
        if not (isinstance(data, tuple) and len(data) == 2):
            raise TypeError(f"data are {kind_of(data)}; without a network they are ScoredPicture(scores, picture)")
        scores, picture = data
        check_picture(picture, "picture")
        check_picture(scores, "scores")
        if scores.dtype != picture.dtype:
            raise TypeError(f"scores are {scores.dtype}, the picture is {picture.dtype}: both have one type")
        if scores.shape[0] != picture.shape[0]:
            raise ValueError(f"scores are of {scores.shape[0]} pictures, and there are {picture.shape[0]}")
        if scores.shape[-2:] != picture.shape[-2:]:
            raise ValueError(
                f"scores are of {scores.shape[-2]} x {scores.shape[-1]} pixels, and the picture has "
                f"{picture.shape[-2]} x {picture.shape[-1]}: both have one size"
            )
        if classes is not None and scores.shape[1] != classes:
            raise ValueError(f"scores are of {scores.shape[1]} classes; these weights are of {classes}")
        check_unit_range(picture)


def check_unit_range(picture: Tensor) -> None:
    """Refuses pictures in other units, whose colours would all be further apart than any width; noise may lead outside
    of [0, 1].

    Raises:
        ValueError: with the first of those values.
    """
    if not is_plain():
        return
    far = (picture < -1) | (picture > 2)  # comparisons that a NaN elsewhere in the batch leaves alone
    if bool(far.any()):
        value = float(picture.detach()[far][0])
        raise ValueError(f"picture holds {value:.4g}, and is in [0, 1]: divide by 255, or so")


def check_picture(value: Any, name: str) -> None:
    """Refuses what is not (batch, channels, height, width).

    Raises:
        TypeError, ValueError: by name.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {kind_of(value)}; it is a tensor (batch, channels, height, width)")
    if value.ndim != 4:
        raise ValueError(f"{name} is (batch, channels, height, width); got the shape {tuple(value.shape)}")
    if not value.is_floating_point():
        raise TypeError(f"{name} is {value.dtype}; it is of floating-point numbers: use {name}.float()")


class PixelMeanField(Iteration):
    """Q <- softmax(U - Psi(Q)), U = -phi: mean field on all pixels at once; each form has its ``penalty`` Psi. State
    and estimate: log Q (batch, classes, height, width), softmax(U) at the start.

    Args:
        potentials: makes scores U and kernels of data; with those of its own by default.
        classes: L, where it serves so many alone.
    """

    def __init__(self, potentials: CRFPotentials | None, classes: int | None) -> None:
        super().__init__()
        self.classes = classes
        self.potentials = self.prepare = CRFPotentials() if potentials is None else potentials

    def check(self, data: Any) -> None:
        super().check(data)
        self.potentials.check(data, self.classes)

    def start(self, problem: CRFProblem) -> Tensor:
        """Every pixel by itself."""
        return torch.log_softmax(problem.scores, 1)

    def forward(
        self, state: Float[Tensor, "batch classes height width"], problem: CRFProblem
    ) -> Float[Tensor, "batch classes height width"]:
        return torch.log_softmax(problem.scores - self.penalty(state.exp(), problem), 1)

    def penalty(self, chances: Tensor, problem: CRFProblem) -> Tensor:
        """Psi of marginals."""
        raise TypeError(f"{type(self).__name__} is a PixelMeanField without `penalty`")


class DenseCRF(PixelMeanField):
    """Mean field for E(l) = sum_p phi_p(l_p) + sum_{p<q} mu(l_p, l_q) sum_m w_m G_m(p, q), all pixels at once:

    Qt_m = sum over q != p of G_m(p, q) Q_q,    Qh = mu (W_s Qt_s + W_b Qt_b),    Q <- softmax(U - Qh),    U = -phi

    Kraehenbuehl and Koltun 2011, arXiv:1210.5644; survey (19)-(20), where the sum in (19) runs over q != p and mu has
    no index m. G_s is a Gaussian of position, G_b one of position and colour (``CRFPotentials``). Unrolled with learned
    W_s, W_b and mu, the network is CRF-RNN (Zheng et al. 2015, doi:10.1109/ICCV.2015.179): 3 L^2 numbers for L classes.

    Moving all pixels at once, mean field may swing between two states; only one pixel after the other never raises the
    free energy. Data: ``ScoredPicture``, or pictures where ``potentials`` has a network. State: log Q (batch, classes,
    height, width), which is the estimate too: log marginals.

    Parameters: ``spatial_weight`` W_s, ``bilateral_weight`` W_b, and with ``classes`` ``compatibility`` mu, none of
    them constrained.

    Args:
        potentials: makes scores and kernels of data; with those of its own by default.
        classes: L; None for weights that are numbers and Potts's mu, which serve any number of classes.
        spatial_weight: w_s at the start, W_s = w_s I.
        bilateral_weight: w_b at the start, W_b = w_b I.
        weighting: W are a ``number`` each, a number for each ``class`` (the diagonal) or a ``matrix`` (L, L); by
            default a matrix with classes, else a number.

    Raises:
        ValueError: an unknown weighting, one that needs the number of classes without it, fewer than 2 classes.
    """

    spatial_weight: Tensor
    bilateral_weight: Tensor

    def __init__(
        self,
        potentials: CRFPotentials | None = None,
        *,
        classes: int | None = None,
        spatial_weight: float = 1.0,
        bilateral_weight: float = 2.0,
        weighting: Weighting | None = None,
    ) -> None:
        super().__init__(potentials, classes)
        chosen = weighting or ("number" if classes is None else "matrix")
        if chosen not in get_args(Weighting):
            raise ValueError(f"weighting is {weighting!r}; it is one of {', '.join(get_args(Weighting))}")
        if classes is not None:
            check_count(classes, "classes", 2)
        elif chosen != "number":
            raise ValueError(f"weighting by {chosen} needs the number of classes")
        for name, value in (("spatial_weight", spatial_weight), ("bilateral_weight", bilateral_weight)):
            check_range(value, name)
            shape = () if classes is None or chosen == "number" else (classes,)
            start = torch.full(shape, float(value))
            start = torch.diag(start) if chosen == "matrix" else start
            setattr(self, name, nn.Parameter(start))
        if classes is not None:
            self.compatibility = nn.Parameter(1 - torch.eye(classes))

    def penalty(self, chances: Tensor, problem: CRFProblem) -> Tensor:
        """Qh of marginals, up to a number for each pixel."""
        potentials = self.potentials
        spatial = potentials.spatial.apply(problem.spatial, chances)
        bilateral = potentials.bilateral.apply(problem.bilateral, chances)
        heard = weighted(self.spatial_weight, spatial) + weighted(self.bilateral_weight, bilateral)
        # Of Potts's 1 - I the sum over all classes is the same for each of them.
        return -heard if self.classes is None else weighted(self.compatibility, heard)

    def objective(self, state: Float[Tensor, "batch classes height width"], problem: CRFProblem) -> Tensor:
        """F = sum of Q (phi + log Q) + 1/2 sum of Q Qh, (batch,): the free energy where mu W is symmetric and the same
        for both kernels; Qh of Potts is its own here, not one up to a number for each pixel.
        """
        chances = state.exp()
        penalty = self.penalty(chances, problem)
        if self.classes is None:
            penalty = penalty - penalty.sum(1, keepdim=True)
        return (chances * (state - problem.scores + 0.5 * penalty)).flatten(1).sum(1)

    def advice(self) -> str:
        return "use smaller weights: with large ones mean field on all pixels at once swings between two states"


def weighted(weight: Tensor, field: Float[Tensor, "batch classes height width"]) -> Tensor:
    """W times the classes of each pixel: W a number, a number for each class, or a matrix."""
    if weight.ndim == 2:
        # As a product in batches, whose rounding does not depend on what asks for a gradient.
        return torch.bmm(weight.expand(field.shape[0], -1, -1), field.flatten(2)).view(field.shape)
    return weight.view(-1, 1, 1) * field if weight.ndim else weight * field
