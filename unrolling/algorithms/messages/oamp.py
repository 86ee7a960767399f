"""Orthogonal approximate message passing for detection: the iteration that OAMP-Net unrolls."""

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
    apply,
    at_unit_gain,
    gram,
    level_posterior,
    noise_of,
)
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core.refusals import explain_call

# Of the variance of the error, relative to the symbols': below it nothing is left to estimate, and the quotients that
# follow stay finite.
_LEAST = 1e-9


class Spectrum(NamedTuple):
    """A channel of gain one (``at_unit_gain``) in the eigenvectors of H^T H = V diag(lambda) V^T, in which an inverse
    is a division: one decomposition serves all layers.
    """

    matched: Tensor  # V^T H^T y (batch, K)
    values: Tensor  # lambda >= 0 (batch, K) or (1, K)
    basis: Tensor  # V (batch, K, K) or (1, K, K)
    outside: Tensor  # (batch, 1): the energy of y that no x can explain
    noise: Tensor  # sigma^2 (batch, 1) or (1, 1)
    antennas: int  # N


@explain_call
class Spectral(nn.Module):
    """Received -> Spectrum."""

    def forward(self, data: Received) -> Spectrum:
        data = at_unit_gain(data)
        values, basis = torch.linalg.eigh(gram(data.channel))
        values = values.clamp_min(0)
        matched = adjoint(basis, adjoint(data.channel, data.y))
        outside = (data.y.square().sum(1, keepdim=True) - inside(matched, values)).clamp_min(0)
        return Spectrum(matched, values, basis, outside, noise_of(data), data.channel.shape[1])


def inside(gradient: Tensor, values: Tensor) -> Tensor:
    """|P r|^2 (batch, 1) of a residual r, P the projection onto the range of H: sum_i (V^T H^T r)_i^2 / lambda_i, where
    lambda_i is not zero.
    """
    zero = values <= values.amax(1, keepdim=True) * (8 * torch.finfo(values.dtype).eps)
    return (gradient.square() / torch.where(zero, torch.inf, values)).sum(1, keepdim=True)


class OAMP(Detector):
    """A linear estimate whose error is uncorrelated with x's, and the posterior mean of a symbol in white Gaussian
    noise, in turn.

    With r = y - H x: v^2 = max((|r|^2 - N sigma^2) / tr(H^T H), 1e-9), What = (H^T H + (sigma^2 / v^2) I)^-1 H^T, W = K
    What / tr(What H), z = x + gamma W r, tau^2 = (v^2 |I - theta W H|_F^2 + theta^2 sigma^2 |W|_F^2) / K, x <- phi (E[s
    | z, tau^2] - xi z).

    At gamma = theta = phi = 1 and xi = 0 it is OAMP, Ma and Ping 2017, doi:10.1109/ACCESS.2017.2653119, with the
    posterior mean as its denoiser. Unrolled with ``step_size`` and ``variance_scale`` untied it is OAMP-Net, He, Wen,
    Jin and Li 2018, doi:10.1109/GlobalSIP.2018.8646357; with ``gain`` and ``divergence`` untied as well OAMP-Net2, the
    same authors 2020, doi:10.1109/TSP.2020.2976585. H^T H is decomposed once; a step is two products with a (K, K)
    matrix.

    Parameters: ``step_size`` gamma, ``variance_scale`` theta, ``gain`` phi, ``divergence`` xi, four numbers.

    Args:
        levels: (M,) of a real dimension.

    Raises:
        ValueError: levels that are none.
    """

    def __init__(self, levels: Float[Tensor, " M"]) -> None:
        super().__init__(levels, needs_noise=True)
        self.prepare = Spectral()
        self.step_size = scalar_parameter(1.0, levels)
        self.variance_scale = scalar_parameter(1.0, levels)
        self.gain = scalar_parameter(1.0, levels)
        self.divergence = scalar_parameter(0.0, levels)

    def start(self, problem: Spectrum) -> Float[Tensor, "batch K"]:
        """x = 0."""
        return problem.matched.new_zeros(problem.matched.shape)

    def forward(self, state: Float[Tensor, "batch K"], problem: Spectrum) -> Float[Tensor, "batch K"]:
        """One step."""
        linear, variance = self.observed(state, problem)
        return self.gain * (level_posterior(linear, variance, self.levels).mean - self.divergence * linear)

    def observed(self, state: Float[Tensor, "batch K"], problem: Spectrum) -> Observation:
        """z and tau^2."""
        matched, values, basis, outside, noise, antennas = problem
        streams = matched.shape[1]
        gradient = matched - values * adjoint(basis, state)  # V^T H^T r
        total = values.sum(1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
        error = ((outside + inside(gradient, values) - antennas * noise) / total).clamp_min(_LEAST)  # v^2
        inverse = 1 / (values + noise / error)
        scale = streams / (values * inverse).sum(1, keepdim=True)
        linear = state + self.step_size * apply(basis, scale * inverse * gradient)
        remaining = 1 - self.variance_scale * scale * values * inverse  # eigenvalues of I - theta W H
        amplified = (self.variance_scale * scale * inverse).square() * values  # of theta^2 W W^T
        variance = (error * remaining.square() + noise * amplified).mean(1, keepdim=True).clamp_min(_LEAST)
        return Observation(linear, variance)
