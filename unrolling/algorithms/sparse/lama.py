"""Approximate message passing for detection in large MIMO systems."""

from __future__ import annotations

from typing import NamedTuple

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
from unrolling.algorithms.messages.amp import check_damping, damp
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Positive, constrain, tree

_LEAST = 1e-9  # of a variance relative to the symbols'


class LAMAState(NamedTuple):
    """The state of LAMA."""

    x: Tensor  # (batch, K)
    residual: Tensor  # (batch, K): H^T r / g, r the residual with its Onsager term
    variance: Tensor  # (batch, 1): v


class Normalised(NamedTuple):
    """A channel whose columns have norm one on average."""

    matched: Tensor  # H^T y / g (batch, K)
    gram: Tensor  # H^T H / g (batch, K, K) or (1, K, K)
    noise: Tensor  # sigma^2 / g (batch, 1) or (1, 1)
    load: float  # K / N


class Normalising(nn.Module):
    """Received -> Normalised, g = tr(H^T H) / K."""

    def forward(self, data: Received) -> Normalised:
        data = at_unit_gain(data)
        products = gram(data.channel)
        gain = mean_gain(products)
        antennas, streams = data.channel.shape[1:]
        return Normalised(
            adjoint(data.channel, data.y) / gain.squeeze(-1),
            products / gain,
            noise_of(data) / gain.squeeze(-1),
            streams / antennas,
        )


class LAMA(Detector):
    """z = x + H^T r, x+ = E[s | z, tau^2], tau^2 = sigma^2 + (K / N) v, r+ = y - H x+ + (K / N) (v+ / tau^2) r, v = the
    mean posterior variance of a symbol.

    AMP with the posterior mean of the alphabet (individually optimal LAMA), Jeon, Ghods, Maleki and Studer 2015,
    doi:10.1109/ISIT.2015.7282821, for a channel of N antennas and K streams with columns of norm one on average, to
    which any channel is scaled. Only H^T r is kept, so that a step is one product with a (K, K) matrix. For independent
    entries it attains, as K and N grow, what the best detector can; correlated channels need damping or another
    detector, and small ones lose some tenths of a dB.

    Parameters: ``noise_scale``, positive: what the noise variance is multiplied by, 1 at the start.

    Args:
        levels: (M,) of a real dimension.
        damping: the fraction of the old x, r and v that stays, in [0, 1); 0 is AMP.

    Raises:
        ValueError: levels that are none, a damping outside [0, 1).
    """

    def __init__(self, levels: Float[Tensor, " M"], *, damping: float = 0.0) -> None:
        super().__init__(levels, needs_noise=True)
        self.prepare = Normalising()
        self.damping = check_damping(damping)
        self.noise_scale = scalar_parameter(1.0, levels)
        constrain(self, "noise_scale", Positive())

    def start(self, problem: Normalised) -> LAMAState:
        """x = 0, r = y, v = 1."""
        matched = problem.matched
        return LAMAState(matched.new_zeros(matched.shape), matched, matched.new_ones(matched.shape[0], 1))

    def forward(self, state: LAMAState, problem: Normalised) -> LAMAState:
        """One step."""
        matched, products, _, load = problem
        seen, tau = self.observed(state, problem)
        mean, spread = level_posterior(seen, tau, self.levels)
        variance = spread.mean(1, keepdim=True)
        x = damp(mean, state.x, self.damping)
        residual = matched - adjoint(products, x) + (load * variance / tau) * state.residual
        return LAMAState(x, damp(residual, state.residual, self.damping), damp(variance, state.variance, self.damping))

    def observed(self, state: LAMAState, problem: Normalised) -> Observation:
        """z and tau^2."""
        tau = (self.noise_scale * problem.noise + problem.load * state.variance).clamp_min(_LEAST)
        return Observation(state.x + state.residual, tau)

    def advice(self) -> str:
        return "LAMA is for channels with independent entries: raise its damping, or use OAMP"

    def residual(self, new: LAMAState, old: LAMAState, problem: Normalised) -> Tensor:
        """Of x; the residual and the variance only accompany it."""
        return tree.relative_change(new.x, old.x)
