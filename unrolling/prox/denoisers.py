"""Scalar denoisers for message passing: x from r = x + tau z, z standard normal, and the average derivative that the
Onsager terms need.

A denoiser is a module ``denoiser(r, variance) -> Denoised(estimate, derivative)``; those with a prior are in
``bernoulli_gaussian``. One that knows no scale but the noise's, eta(c r, c^2 tau^2) = c eta(r, tau^2), says so by
``scale_free = True`` and takes tau itself as well, ``denoiser(r, deviation=tau)``: its square may leave the precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import Positive, constrain
from unrolling.core.refusals import explain_call
from unrolling.prox.thresholds import soft_threshold


class Denoised(NamedTuple):
    """What a denoiser returns."""

    estimate: Tensor  # (batch, ..., n)
    derivative: Tensor  # (batch, ..., 1): the mean over n of d estimate_i / d r_i


def parameter(value: float | Sequence[float] | Tensor, name: str, *, positive: bool = False) -> nn.Parameter:
    """A learnable copy of a value; numbers in double precision, so that they are rounded once, to that of the algorithm
    which takes the denoiser.

    Raises:
        ValueError: it is not finite, or (``positive``) not positive.
    """
    tensor = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64).detach().clone()
    if not bool(torch.isfinite(tensor).all()) or (positive and not bool((tensor > 0).all())):
        raise ValueError(f"{name} must be finite{' and positive' if positive else ''}; got {value}")
    return nn.Parameter(tensor)


def check_variance(r: Tensor, variance: Tensor) -> None:
    """Refuses a noise variance that is not one number per sample, from shapes alone.

    Raises:
        ValueError: another shape than (batch, ..., 1).
    """
    if variance.ndim != r.ndim or variance.shape[-1] != 1:
        raise ValueError(
            "variance must have shape (batch, ..., 1), one number per sample of r, which is "
            f"{tuple(r.shape)}; got {tuple(variance.shape)}"
        )


def deviation_from(r: Tensor, variance: Tensor | None, deviation: Tensor | None) -> Tensor:
    """tau (batch, ..., 1), of which one of the two tells.

    Raises:
        ValueError: as ``check_variance``; both, or neither.
    """
    if (variance is None) == (deviation is None):
        raise ValueError("a denoiser takes the variance of the noise, or its deviation")
    given = variance if deviation is None else deviation
    assert given is not None
    check_variance(r, given)
    return given.sqrt() if deviation is None else given


@explain_call
class SoftDenoiser(nn.Module):
    """eta(r) = beta S_{alpha tau}(r), average derivative beta |eta|_0 / n, whose backward pass takes the count for a
    constant.

    Donoho, Maleki and Montanari 2009, doi:10.1073/pnas.0909892106; with beta as in LAMP, Borgerding, Schniter and
    Rangan 2017, arXiv:1612.01183.

    Parameters: ``multiplier`` alpha, positive; ``gain`` beta.

    Args:
        multiplier: alpha >= 0, a number or (n,).
        gain: beta, a number or (n,); 1 is AMP.

    Raises:
        ValueError: a value that is not finite, a negative multiplier.
    """

    scale_free = True

    def __init__(self, multiplier: float | Tensor, gain: float | Tensor = 1.0) -> None:
        super().__init__()
        self.multiplier = parameter(multiplier, "multiplier")
        self.gain = parameter(gain, "gain")
        if not bool((self.multiplier >= 0).all()):
            raise ValueError(f"multiplier must be at least 0; got {multiplier}")
        constrain(self, "multiplier", Positive())

    def forward(self, r: Tensor, variance: Tensor | None = None, *, deviation: Tensor | None = None) -> Denoised:
        """r (batch, ..., n), variance tau^2 or deviation tau (batch, ..., 1)."""
        shrunk = soft_threshold(r, self.multiplier * deviation_from(r, variance, deviation))
        return Denoised(self.gain * shrunk, (self.gain * (shrunk != 0).to(r.dtype)).mean(-1, keepdim=True))


@explain_call
class PiecewiseLinear(nn.Module):
    """The odd continuous function with eta(0) = 0 whose slope is s_1 up to |r| = k_1 tau, s_2 from there to k_2 tau,
    and s_3 beyond.

    With c_j = min(max(r, -k_j tau), k_j tau) that is eta(r) = s_3 r + (s_2 - s_3) c_2 + (s_1 - s_2) c_1, which also
    gives a meaning to knots that an optimizer has swapped. Slopes (0, 1, 1) are ``SoftDenoiser(k_1)``, to the bit. The
    average derivative takes the number of entries in each piece for a constant. Borgerding, Schniter and Rangan 2017,
    arXiv:1612.01183, section III-C.

    Parameters: ``knots`` (k_1, k_2), positive, in units of tau; ``slopes`` (s_1, s_2, s_3).

    Args:
        knots: k_1 <= k_2.
        slopes: s_1, s_2, s_3.

    Raises:
        ValueError: knots that are not two positive numbers in order, slopes that are not three.
    """

    scale_free = True

    def __init__(self, knots: Sequence[float] = (1.14, 2.28), slopes: Sequence[float] = (0.0, 1.0, 1.0)) -> None:
        super().__init__()
        if len(knots) != 2 or not 0 < knots[0] <= knots[1]:
            raise ValueError(f"knots must be two positive numbers in order; got {tuple(knots)}")
        if len(slopes) != 3:
            raise ValueError(f"slopes must be three numbers; got {tuple(slopes)}")
        self.knots = parameter(knots, "knots", positive=True)
        self.slopes = parameter(slopes, "slopes")
        constrain(self, "knots", Positive())

    def forward(self, r: Tensor, variance: Tensor | None = None, *, deviation: Tensor | None = None) -> Denoised:
        """r (batch, ..., n), variance tau^2 or deviation tau (batch, ..., 1)."""
        deviation, knots = deviation_from(r, variance, deviation), self.knots
        first, second, beyond = self.slopes.unbind()
        estimate, derivative = beyond * r, beyond
        for knot, change in ((knots[1], second - beyond), (knots[0], first - second)):
            bound = knot * deviation
            estimate = estimate + change * torch.clamp(r, -bound, bound)
            derivative = derivative + change * (r.abs() <= bound).to(r.dtype).mean(-1, keepdim=True)
        return Denoised(estimate, derivative)


@explain_call
class _Bump(nn.Module):
    """eta(r) = r (g + d k(u)), u = r / (w tau), with an even kernel k that falls from k(0) to 0; eta' = g + d (k(u) + u
    k'(u)).
    """

    scale_free = True
    reach: float  # where the kernel is zero, so that larger u, and infinite ones, may be cut off there

    def __init__(self, width: float, gain: float, depth: float) -> None:
        super().__init__()
        self.width = parameter(width, "width", positive=True)
        self.gain = parameter(gain, "gain")
        self.depth = parameter(depth, "depth")
        constrain(self, "width", Positive())

    def kernel(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """k(u) and u k'(u)."""
        raise NotImplementedError

    def forward(self, r: Tensor, variance: Tensor | None = None, *, deviation: Tensor | None = None) -> Denoised:
        """r (batch, ..., n), variance tau^2 or deviation tau (batch, ..., 1)."""
        deviation = deviation_from(r, variance, deviation)
        value, change = self.kernel(torch.clamp(r / (self.width * deviation), -self.reach, self.reach))
        derivative = self.gain + self.depth * (value + change)
        return Denoised(r * (self.gain + self.depth * value), derivative.mean(-1, keepdim=True))


class ExponentialDenoiser(_Bump):
    """eta(r) = r (g + d exp(-u^2 / 2)), u = r / (w tau). Borgerding, Schniter and Rangan 2017, arXiv:1612.01183,
    section III-C.

    Parameters: ``width`` w, positive; ``gain`` g, the slope far out; ``depth`` d: g + d is the slope at zero.

    Args:
        width: w, in units of tau.
        gain: g.
        depth: d.

    Raises:
        ValueError: a width that is not positive.
    """

    reach = 40.0  # exp(-800) is zero in double precision

    def __init__(self, width: float = 3.0, gain: float = 1.0, depth: float = -1.0) -> None:
        super().__init__(width, gain, depth)

    def kernel(self, u: Tensor) -> tuple[Tensor, Tensor]:
        square = u.square()
        value = torch.exp(-0.5 * square)
        return value, -square * value


class Spline(_Bump):
    """eta(r) = r (g + d B(u)), u = r / (w tau), B the cubic B-spline on [-2, 2]. Borgerding, Schniter and Rangan 2017,
    arXiv:1612.01183, section III-C.

    B(u) = (max(2 - |u|, 0)^3 - 4 max(1 - |u|, 0)^3) / 6, which is 2/3 at zero.

    Parameters: ``width`` w, positive; ``gain`` g, the slope far out; ``depth`` d: g + 2 d / 3 is the slope at zero.

    Args:
        width: w, in units of tau.
        gain: g.
        depth: d.

    Raises:
        ValueError: a width that is not positive.
    """

    reach = 2.0

    def __init__(self, width: float = 4.5, gain: float = 1.0, depth: float = -1.5) -> None:
        super().__init__(width, gain, depth)

    def kernel(self, u: Tensor) -> tuple[Tensor, Tensor]:
        size = u.abs()
        outer, inner = 2 - size, torch.relu(1 - size)  # u stays within the reach, so that the outer one is not negative
        return (outer**3 - 4 * inner**3) / 6, -0.5 * size * (outer.square() - 4 * inner.square())
