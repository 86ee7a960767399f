"""MMNet: a linear step with a matrix of its own in each layer, and the posterior mean of a symbol in noise whose
variance each stream scales.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.detection.mimo import Detector, Observation, Received, apply, gram, level_posterior, noise_of
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Positive, constrain, scale
from unrolling.core.arguments import check_count, check_numbers, check_range
from unrolling.core.refusals import explain

_LEAST = 1e-9  # of a variance relative to the symbols'


class Channel(NamedTuple):
    """What MMNet needs of its data."""

    y: Tensor  # (batch, N)
    channel: Tensor  # H (batch, N, K) or (1, N, K)
    gain: Tensor  # g (batch, 1) or (1, 1): a power of two near the largest entry of H
    energy: Tensor  # |H / g|_F^2 (batch, 1) or (1, 1)
    noise: Tensor  # (sigma / g)^2 (batch, 1) or (1, 1)


class _Known(nn.Module):
    """Received -> Channel."""

    def forward(self, data: Received) -> Channel:
        gain = scale.unit(data.channel, (1, 2))
        energy = (data.channel / gain).square().sum((1, 2)).unsqueeze(1)
        gain = gain.squeeze(-1)
        # A channel of zeros has the energy one: nothing is received through it.
        return Channel(data.y, data.channel, gain, torch.where(energy == 0, 1, energy), noise_of(data) / gain / gain)


@explain
class FreeMatrix(nn.Module):
    """A matrix that is learned, for one channel. For real forms of complex channels it keeps that form, [[A, -B], [B,
    A]], of half as many numbers.

    Parameters: ``real`` A, and ``imaginary`` B where the matrix is complex.

    Args:
        matrix: (K, N), or its real form (2 K, 2 N).
        complex: whether it is a real form.
    """

    def __init__(self, matrix: Float[Tensor, "K N"], *, complex: bool = False) -> None:
        super().__init__()
        check_numbers(matrix, "matrix", "FreeMatrix", real=True)
        if matrix.ndim != 2 or (complex and (matrix.shape[0] % 2 or matrix.shape[1] % 2)):
            raise ValueError(f"matrix is (K, N), of a real form (2 K, 2 N); got shape {tuple(matrix.shape)}")
        self.complex = complex
        if complex:
            upper, lower = matrix.chunk(2, dim=0)
            self.real = nn.Parameter(upper.chunk(2, dim=1)[0].clone())
            self.imaginary = nn.Parameter(lower.chunk(2, dim=1)[0].clone())
        else:
            self.real = nn.Parameter(matrix.clone())

    def forward(self, channel: Float[Tensor, "_ N K"]) -> Float[Tensor, "1 K N"]:
        if not self.complex:
            return self.real.unsqueeze(0)
        upper, lower = torch.cat([self.real, -self.imaginary], dim=1), torch.cat([self.imaginary, self.real], dim=1)
        return torch.cat([upper, lower], dim=0).unsqueeze(0)


@explain
class ScaledAdjoint(nn.Module):
    """theta H^T, for any channel.

    Parameters: ``scale`` theta, positive.

    Args:
        like: for the dtype.
        scale: theta at the start.
    """

    def __init__(self, like: Tensor, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scalar_parameter(scale, like)
        constrain(self, "scale", Positive())

    def forward(self, channel: Float[Tensor, "batch N K"]) -> Float[Tensor, "batch K N"]:
        return self.scale * channel.mT


class MMNetLayer(Detector):
    """z = x + Theta (y - H x), x <- E[s | z, tau^2 / theta_k], with r = y - H x, v^2 = max((|r|^2 - N sigma^2) /
    |H|_F^2, 1e-9), tau^2 = (v^2 |I - Theta H|_F^2 + sigma^2 |Theta|_F^2) / K.

    Khani, Alizadeh, Hoydis and Fleming 2020, doi:10.1109/TWC.2020.2996144, arXiv:1906.04610. For correlated channels
    Theta is ``FreeMatrix``, trained for one channel at a time; for independent entries ``ScaledAdjoint``, whose scale
    is part of Theta in tau^2 too. With the matrix W of OAMP and theta = 1 it is a step of OAMP; ``fixed_oamp`` makes
    one whose matrix is W at v^2 = 1, which is where the learned one starts here.

    Parameters: ``linear`` (those of Theta) and ``precision`` theta (K,), positive.

    Args:
        levels: (M,) of a real dimension.
        linear: H (batch or 1, N, K) -> Theta (batch or 1, K, N).
        streams: K.

    Raises:
        ValueError: levels that are none.
    """

    algorithm = "OAMP"

    def __init__(self, levels: Float[Tensor, " M"], linear: nn.Module, streams: int) -> None:
        super().__init__(levels, needs_noise=True)
        check_count(streams, "streams")
        self.prepare = _Known()
        self.linear = linear
        self.precision = nn.Parameter(torch.ones(streams, dtype=levels.dtype))
        constrain(self, "precision", Positive())

    def start(self, problem: Channel) -> Float[Tensor, "batch K"]:
        """x = 0."""
        return problem.y.new_zeros(problem.y.shape[0], self.precision.shape[0])

    def forward(self, state: Float[Tensor, "batch K"], problem: Channel) -> Float[Tensor, "batch K"]:
        """One layer."""
        return level_posterior(*self.observed(state, problem), self.levels).mean

    def observed(self, state: Float[Tensor, "batch K"], problem: Channel) -> Observation:
        """z and tau^2 / theta."""
        y, channel, gain, energy, noise = problem
        residual = y - apply(channel, state)
        left = (residual / gain).square().sum(1, keepdim=True)
        error = ((left - y.shape[1] * noise) / energy).clamp_min(_LEAST)
        matrix = self.linear(channel)
        linear = state + apply(matrix, residual)
        identity = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        # Written as bmm, since what matmul does with a shared matrix depends on who needs a gradient, and with it the
        # last bits.
        product = torch.bmm(matrix.expand(channel.shape[0], -1, -1), channel)
        remaining = (identity - product).square().sum((1, 2)).unsqueeze(1)
        amplified = (gain.unsqueeze(-1) * matrix).square().sum((1, 2)).unsqueeze(1)
        variance = ((error * remaining + noise * amplified) / matrix.shape[1]).clamp_min(_LEAST)
        return Observation(linear, variance / self.precision)

    def check(self, data: Received) -> None:
        super().check(data)
        streams = self.precision.shape[0]
        if data.channel.shape[2] != streams:
            raise ValueError(
                f"this MMNet is for {streams} real streams, and the channel has {data.channel.shape[2]} columns"
            )


def fixed_oamp(channel: Float[Tensor, "N K"], noise_variance: float) -> Float[Tensor, "K N"]:
    """W = K What / tr(What H), What = (H^T H + sigma^2 I)^-1 H^T: the matrix of OAMP's first step, in which no symbol
    is known yet (v^2 = 1).

    Args:
        channel: H.
        noise_variance: sigma^2 > 0.
    """
    if channel.ndim != 2:
        raise ValueError(f"channel is one (N, K); got shape {tuple(channel.shape)}")
    check_range(noise_variance, "noise_variance", 0.0, above=True)
    exact = channel.double()
    inverse = torch.linalg.solve(gram(exact) + noise_variance * torch.eye(exact.shape[1], dtype=exact.dtype), exact.mT)
    return (exact.shape[1] / (inverse @ exact).diagonal().sum() * inverse).to(channel)
