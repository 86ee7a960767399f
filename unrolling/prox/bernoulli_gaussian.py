"""Posterior means under a Bernoulli-Gaussian prior, known or fitted: the denoisers of Bayesian message passing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolling.core import Bounded, Positive, constrain
from unrolling.core.refusals import explain_call
from unrolling.prox.denoisers import Denoised, check_variance, deviation_from, parameter

# Probabilities stay this far from 0 and 1, where their log-odds would be infinite; also in single precision.
_EDGE = 1e-6


# Of r in units of tau; farther out the entry is certainly there, and its square would overflow.
_FARTHEST = 1e15


def _square(r: Tensor, deviation: Tensor) -> Tensor:
    """q^2, q = r / tau."""
    return torch.clamp(r / deviation, -_FARTHEST, _FARTHEST).square()


def _log_odds(square: Tensor, probability: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log(pi / (1 - pi)) = log(p / (1 - p)) - log(1 + s^2 / tau^2) / 2 + g q^2 / 2, with g q^2 and g; ratio is s^2 /
    tau^2, and g = s^2 / (s^2 + tau^2).
    """
    gain = ratio / (1 + ratio)
    energy = gain * square
    return torch.log(probability) - torch.log1p(-probability) - 0.5 * torch.log1p(ratio) + 0.5 * energy, energy, gain


def _denoise(r: Tensor, square: Tensor, probability: Tensor, ratio: Tensor) -> Denoised:
    """E[x | r] = g pi r, whose derivative is g pi (1 + (1 - pi) g q^2)."""
    odds, energy, gain = _log_odds(square, probability, ratio)
    weight = gain * torch.sigmoid(odds)
    # 1 - pi as a sigmoid of its own: without cancellation, and zero where its factor is large.
    return Denoised(weight * r, (weight * (1 + torch.sigmoid(-odds) * energy)).mean(-1, keepdim=True))


@explain_call
class BernoulliGaussian(nn.Module):
    """E[x | r] for x ~ p N(0, s^2) + (1 - p) delta_0 and r = x + tau z: g pi(r) r, g = s^2 / (s^2 + tau^2), pi the
    posterior probability of a non-zero.

    Its average derivative times tau^2 is the average posterior variance. In AMP with i.i.d. Gaussian A and the true
    prior it attains the state evolution's limit; Vila and Schniter 2013, doi:10.1109/TSP.2013.2272287; learned in LAMP
    and LVAMP, arXiv:1612.01183, section III-C.

    Parameters: ``probability`` p, between 0 and 1; ``signal_variance`` s^2, positive.

    Args:
        probability: p.
        signal_variance: s^2, the variance of the non-zeros.

    Raises:
        ValueError: a probability outside (0, 1), or within 1e-6 of its ends; a variance that is not positive.
    """

    def __init__(self, probability: float | Tensor, signal_variance: float | Tensor = 1.0) -> None:
        super().__init__()
        self.probability = parameter(probability, "probability")
        if not bool(((self.probability >= _EDGE) & (self.probability <= 1 - _EDGE)).all()):
            raise ValueError(f"probability must lie between {_EDGE:g} and 1 - {_EDGE:g}; got {probability}")
        self.signal_variance = parameter(signal_variance, "signal_variance", positive=True)
        constrain(self, "probability", Bounded(_EDGE, 1 - _EDGE))
        constrain(self, "signal_variance", Positive())

    def forward(self, r: Tensor, variance: Tensor) -> Denoised:
        """r (batch, ..., n), variance tau^2 (batch, ..., 1)."""
        check_variance(r, variance)
        return _denoise(r, _square(r, variance.sqrt()), self.probability, self.signal_variance / variance)


@explain_call
class TunedBernoulliGaussian(nn.Module):
    """The posterior mean under the Bernoulli-Gaussian prior that fits each sample's own r best: told neither p nor s^2,
    and free of any scale.

    The n entries of r have density p N(0, s^2 + tau^2) + (1 - p) N(0, tau^2); p and s^2 of each sample are fitted to
    them by some steps of expectation maximisation, p <- mean(pi), s^2 <- sum(pi ((g r)^2 + g tau^2)) / sum(pi), from
    the given p and the s^2 that then explains mean(r^2). The average derivative takes the fit for a constant, which is
    right up to O(1/n). Vila and Schniter 2013, doi:10.1109/TSP.2013.2272287 (the updates); Fletcher, Sahraee-Ardakan,
    Schniter and Rangan 2017, arXiv:1706.06054 (fitting anew in each iteration, with consistent estimates in the
    large-system limit).

    Parameters: ``probability`` p, between 0 and 1, where the fit begins.

    Args:
        probability: p at the start.
        steps: of expectation maximisation in each call.

    Raises:
        ValueError: a probability outside (0, 1), or within 1e-6 of its ends; fewer than 1 step.
    """

    scale_free = True

    def __init__(self, probability: float | Tensor = 0.1, steps: int = 5) -> None:
        super().__init__()
        self.probability = parameter(probability, "probability")
        if not bool(((self.probability >= _EDGE) & (self.probability <= 1 - _EDGE)).all()):
            raise ValueError(f"probability must lie between {_EDGE:g} and 1 - {_EDGE:g}; got {probability}")
        if steps < 1:
            raise ValueError(f"steps must be at least 1; got {steps}")
        if steps > 10_000:
            raise ValueError(f"steps is {steps}; it must be at most 10,000: the fit has long converged")
        constrain(self, "probability", Bounded(_EDGE, 1 - _EDGE))
        self.steps = steps

    def fit(self, r: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """p and s^2 of each sample, (batch, ..., 1) each.

        Args:
            r: (batch, ..., n).
            variance: tau^2 (batch, ..., 1).
        """
        probability, ratio = self._fit(_square(r, variance.sqrt()))
        return probability, ratio * variance

    def _fit(self, square: Tensor) -> tuple[Tensor, Tensor]:
        """p and s^2 / tau^2."""
        # r may hold less energy than its noise alone should; the signal then keeps a little, from which the steps can
        # go on.
        power = (square.mean(-1, keepdim=True) - 1).clamp_min(1e-3)
        probability, ratio = self.probability.to(square.dtype).expand_as(power), power / self.probability
        for _ in range(self.steps):
            odds, _, gain = _log_odds(square, probability, ratio)
            present = torch.sigmoid(odds)
            count = present.mean(-1, keepdim=True)
            ratio = gain.square() * (present * square).mean(-1, keepdim=True) / count + gain
            probability = torch.clamp(count, _EDGE, 1 - _EDGE)
        return probability, ratio

    def forward(self, r: Tensor, variance: Tensor | None = None, *, deviation: Tensor | None = None) -> Denoised:
        """r (batch, ..., n), variance tau^2 or deviation tau (batch, ..., 1)."""
        square = _square(r, deviation_from(r, variance, deviation))
        return _denoise(r, square, *self._fit(square))

    def extra_repr(self) -> str:
        return f"steps={self.steps}"
