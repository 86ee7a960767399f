"""Expectation propagation for detection: the iteration that EPNet unrolls."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.detection.mimo import (
    Detector,
    Observation,
    Received,
    adjoint,
    at_unit_gain,
    gram,
    level_posterior,
    mean_gain,
    noise_of,
)
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Bounded, constrain, tree
from unrolling.core.arguments import check_range

# Of a variance, relative to the symbols': a symbol that is certain would have an infinite precision.
_LEAST_VARIANCE, _LEAST_CAVITY = 1e-6, 1e-9


class EPState(NamedTuple):
    """The state of expectation propagation: a Gaussian exp(shift x - precision x^2 / 2) in place of each symbol's
    alphabet, and what the others then say.
    """

    x: Tensor  # m (batch, K): the mean of each symbol given the message
    variance: Tensor  # p (batch, K): its variance
    message: Tensor  # t (batch, K): what all others say about a symbol, a Gaussian of this mean
    cavity: Tensor  # h (batch, K): and of this variance
    precision: Tensor  # Lambda > 0 (batch, K)
    shift: Tensor  # gamma (batch, K)


class Quadratic(NamedTuple):
    """The exponent of p(y | x), x^T G x / 2 - x^T b, all over sigma^2."""

    matched: Tensor  # b = H^T y / g (batch, K)
    gram: Tensor  # G = H^T H / g (batch, K, K) or (1, K, K)
    noise: Tensor  # sigma^2 / g (batch, 1) or (1, 1)


class _Exponent(nn.Module):
    """Received -> Quadratic, g = tr(H^T H) / K."""

    def forward(self, data: Received) -> Quadratic:
        data = at_unit_gain(data)
        products = gram(data.channel)
        gain = mean_gain(products)
        return Quadratic(
            adjoint(data.channel, data.y) / gain.squeeze(-1), products / gain, noise_of(data) / gain.squeeze(-1)
        )


class ExpectationPropagation(Detector):
    """The posterior of x by a Gaussian whose mean and variance in each symbol agree with the alphabet's.

    Lambda' = 1 / p - 1 / h, gamma' = m / p - t / h, where Lambda' is negative the old ones; Lambda <- (1 - d) Lambda' +
    d Lambda, gamma alike; S = (G / sigma^2 + Diag(Lambda))^-1, mu = S (b / sigma^2 + gamma); the cavity of each symbol,
    what all others say about it: h = 1 / (1 / S_kk - Lambda_k), t = h (mu_k / S_kk - gamma_k); the mean m and the
    variance p of a symbol given t in noise of variance h. Answer m.

    Cespedes, Olmos, Sanchez-Fernandez and Perez-Cruz 2014, doi:10.1109/TCOMM.2014.2332349. OAMP with a variance for
    each symbol, and the dearer for it: a step inverts a (K, K) matrix. Unrolled with ``damping`` untied it is EPNet,
    Zhang, He, Li, Wen and Jin 2021, doi:10.1109/TWC.2020.3030882.

    Parameters: ``damping`` d, between 0 and 1.

    Args:
        levels: (M,) of a real dimension.
        damping: d, the fraction of the old Gaussian that stays.

    Raises:
        ValueError: levels that are none, a damping outside [0, 1].
    """

    def __init__(self, levels: Float[Tensor, " M"], *, damping: float = 0.7) -> None:
        super().__init__(levels, needs_noise=True)
        check_range(damping, "damping", 0.0, 1.0)
        self.prepare = _Exponent()
        self.damping = scalar_parameter(damping, levels)
        constrain(self, "damping", Bounded(0.0, 1.0))

    def start(self, problem: Quadratic) -> EPState:
        """Lambda = 1, gamma = 0: mu is the LMMSE estimate, t the one without bias."""
        zero = problem.matched.new_zeros(problem.matched.shape)
        return self._seen(torch.ones_like(zero), zero, problem)

    def forward(self, state: EPState, problem: Quadratic) -> EPState:
        """One step."""
        precision, shift = (
            1 / state.variance - 1 / state.cavity,
            state.x / state.variance - state.message / state.cavity,
        )
        keep = torch.where(precision > 0, self.damping, 1.0)
        return self._seen(torch.lerp(precision, state.precision, keep), torch.lerp(shift, state.shift, keep), problem)

    def observed(self, state: EPState, problem: Quadratic) -> Observation:
        """The message of the others after the step, and its variance."""
        after = self(state, problem)
        return Observation(after.message, after.cavity)

    def _seen(self, precision: Tensor, shift: Tensor, problem: Quadratic) -> EPState:
        """What each symbol hears from the others, and makes of it."""
        matched, products, noise = problem
        factor, _ = torch.linalg.cholesky_ex(products + torch.diag_embed(noise * precision))
        inverse = torch.cholesky_inverse(factor)
        mean = adjoint(inverse, matched + noise * shift)
        spread = noise * inverse.diagonal(dim1=-2, dim2=-1)  # S_kk
        cavity = (spread / (1 - spread * precision).clamp_min(torch.finfo(spread.dtype).eps)).clamp_min(_LEAST_CAVITY)
        # t without the quotient mu / S, which both may be small: h (mu - S gamma) / S.
        message = mean + cavity * (precision * mean - shift)
        x, variance = level_posterior(message, cavity, self.levels)
        return EPState(x, variance.clamp_min(_LEAST_VARIANCE), message, cavity, precision, shift)

    def residual(self, new: EPState, old: EPState, problem: Quadratic) -> Tensor:
        """Of the means m, and of the messages t times (p / (p + h))^(1/2): where a symbol is sure, t is a difference of
        numbers a million times larger, known to a hundredth in single precision, and decides nothing.
        """
        unsure = (new.variance / (new.variance + new.cavity)).sqrt()
        message = torch.lerp(new.message, old.message, unsure)  # changed by the share that counts
        return torch.maximum(tree.relative_change(new.x, old.x), tree.relative_change(new.message, message))

    def advice(self) -> str:
        return "raise its damping"
