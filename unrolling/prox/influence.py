"""Learned functions of filter responses: piecewise linear shrinkage, and influence functions as sums of Gaussians. One
function per channel.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_range
from unrolling.core.refusals import explain_call, explained
from unrolling.prox.tables import piecewise_polynomial

REFINEMENT = 16  # cells of the cubic table per distance between two Gaussians: its error is below 2e-7 of the weights
REACH = 7  # beyond so many standard deviations a Gaussian, below 3e-11, counts as zero


@explain_call
class LinearSpline(nn.Module):
    """S(u; p, q): the continuous function with the value q_j at the knot p_j, linear between knots and beyond them; of
    complex u, of its two parts.

    Yang, Sun, Li and Xu 2016 (ADMM-Net). The knots p are fixed and evenly spaced.

    Parameters: ``values`` q, (channels, knots).

    Args:
        channels: number of functions.
        knots: number of knots, at least 2.
        first: the first knot.
        last: the last one.
        values: (knots,) or (channels, knots) at the start; by default those of the identity.

    Raises:
        ValueError: fewer than two knots, a last one that is not above the first, values of another shape.
    """

    def __init__(
        self, channels: int, knots: int = 101, first: float = -1.0, last: float = 1.0, *, values: Tensor | None = None
    ) -> None:
        super().__init__()
        if knots < 2 or not last > first:
            raise ValueError(
                f"knots must be at least 2, from first to a larger last; got {knots} from {first} to {last}"
            )
        self.first, self.last = first, last
        start = self.positions(knots) if values is None else values
        if start.shape not in ((knots,), (channels, knots)):
            raise ValueError(f"values are ({knots},) or ({channels}, {knots}); got {tuple(start.shape)}")
        dtype = start.dtype if values is not None else torch.get_default_dtype()
        self.values = nn.Parameter(start.to(dtype).expand(channels, knots).clone())

    def positions(self, knots: int | None = None) -> Float[Tensor, " knots"]:
        """The knots p, float64."""
        return torch.linspace(
            self.first, self.last, self.values.shape[1] if knots is None else knots, dtype=torch.float64
        )

    def forward(self, u: Float[Tensor, "batch channels ..."]) -> Float[Tensor, "batch channels ..."]:
        """S(u)."""
        if u.is_complex():
            return torch.complex(self(u.real), self(u.imag))
        table = torch.stack([self.values[:, :-1], self.values.diff(dim=1)], 2)
        return piecewise_polynomial(u, table, self.first, (self.last - self.first) / (self.values.shape[1] - 1))


@explain_call
class RadialBasis(nn.Module):
    """phi_i(z) = sum_j w_ij exp(-(z - mu_j)^2 / (2 gamma^2)), gamma the distance of the evenly spaced centres mu_j.

    Chen and Pock 2017 (TNRD), doi:10.1109/TPAMI.2016.2596743: 63 centres from -310 to 310, gamma = 10, for images from
    0 to 255. Beyond the outer centres phi falls to zero.

    In each call a table of phi and its derivative is made from the weights, 16 cells to a centre, and cubic Hermite
    interpolation of it is what is applied: it differs from the sum by less than 2e-7 of the weights, and costs a few
    operations per response instead of 63 exponentials.

    Parameters: ``weights`` w, (channels, centres).

    Args:
        weights: at the start, (channels, centres); at least 2 centres.
        first: mu_1.
        last: mu of the last centre.

    Raises:
        ValueError: weights of another shape, or a last centre that is not above the first.
    """

    basis: Tensor

    def __init__(self, weights: Float[Tensor, "channels centres"], first: float = -310.0, last: float = 310.0) -> None:
        super().__init__()
        if weights.ndim != 2 or weights.shape[1] < 2 or not last > first:
            raise ValueError(
                "weights are (channels, centres), 2 centres or more from first to a larger last; got "
                f"{tuple(weights.shape)} from {first} to {last}"
            )
        self.first, self.last = first, last
        self.weights = nn.Parameter(weights.detach().clone())
        self.register_buffer("basis", _hermite().to(weights.dtype))

    @property
    def width(self) -> float:
        """gamma."""
        return (self.last - self.first) / (self.weights.shape[1] - 1)

    def table(self) -> Float[Tensor, "channels cells terms"]:
        """The coefficients of phi_i in each cell, zeros in the first and the last."""
        channels, centres = self.weights.shape
        # Between two centres phi is the same combination of the weights around them, wherever they are.
        padded = nn.functional.pad(self.weights.unsqueeze(1), (2 * REACH - 1, 2 * REACH - 1))
        cells = nn.functional.conv1d(padded, self.basis).reshape(channels, REFINEMENT, 4, centres + 2 * REACH - 1)
        return nn.functional.pad(cells.permute(0, 3, 1, 2).flatten(1, 2), (0, 0, 1, 1))

    def forward(self, z: Float[Tensor, "batch channels ..."]) -> Float[Tensor, "batch channels ..."]:
        """phi_i(z_i)."""
        spacing = self.width / REFINEMENT
        return piecewise_polynomial(z, self.table(), self.first - REACH * self.width - spacing, spacing)

    def extra_repr(self) -> str:
        return (
            f"{self.weights.shape[0]} functions, {self.weights.shape[1]} centres from {self.first:g} to {self.last:g}"
        )


def _hermite() -> Float[Tensor, "coefficients 1 taps"]:
    """The cubics that have the values and slopes of unit Gaussians at both ends of each cell between two centres, (16
    cells times 4, 1, 2 REACH).
    """
    knots = torch.arange(REFINEMENT + 1, dtype=torch.float64) / REFINEMENT
    t = knots - torch.arange(1 - REACH, REACH + 1, dtype=torch.float64).unsqueeze(1)
    value = torch.exp(-0.5 * t.square())
    slope = -t * value / REFINEMENT
    rise, low, high = value.diff(dim=1), slope[:, :-1], slope[:, 1:]
    cubics = torch.stack([value[:, :-1], low, 3 * rise - 2 * low - high, low + high - 2 * rise], 2)
    return cubics.permute(1, 2, 0).reshape(4 * REFINEMENT, 1, 2 * REACH)


@explained
def fit_radial_basis(
    values: Float[Tensor, " points"], points: Float[Tensor, " points"], centres: int, first: float, last: float
) -> Float[Tensor, " centres"]:
    """The weights with which a ``RadialBasis`` comes closest to a function, in the least-squares sense, float64.

    Args:
        values: of the function.
        points: at which it has them.
        centres: number of centres.
        first: the first centre.
        last: the last one.
    """
    check_count(centres, "centres", 2)
    check_range(last, "last", first, above=True)
    mu = torch.linspace(first, last, centres, dtype=torch.float64)
    matrix = torch.exp(-0.5 * ((points.double().unsqueeze(1) - mu) / (mu[1] - mu[0])).square())
    return torch.linalg.lstsq(matrix, values.double().unsqueeze(1)).solution.squeeze(1)
