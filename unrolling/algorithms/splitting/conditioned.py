"""Splittings whose penalty, rate and shrinkage follow what was measured: one network for many masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.splitting.admm import Prox, Splitting
from unrolling.algorithms.splitting.data_terms import Problem
from unrolling.core.arguments import check_count
from unrolling.core.refusals import explain
from unrolling.operators.linear import LinearOperator

FEATURES = 3
USUAL = (0.2, 0.03)  # the rate, and the strength of the aliases, at which features are 0
RINGS = 16  # of k-space, in each of which the energy that was not measured is estimated
LEAST = 1e-3  # weight of a frequency from which on it counts as measured
REACH = 3.0  # features beyond are taken for this


def sampling_features(
    samples: Float[Tensor, "batch ... height width"], mask: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch 3"]:
    """How much was measured, and what its aliases are like: log(r / 0.2), a, log(s / 0.03), from -3 to 3.

    r is the part of k-space that was measured. a tells lines, 1, from masks that are spread over both directions, near
    0: the variance of the mask's mean over rows (or columns, what is larger) over r (1 - r), the largest that it can
    be. s^2 is the estimated energy per pixel of what was not measured: in each of 16 rings of k-space the mean energy
    of what was, times the number of frequencies that were not.

    Args:
        samples: of k-space, zero frequency at (0, 0), zero where nothing was measured; the energies of coils are added.
        mask: 1 where measured, 0 elsewhere; of whole lines one number will do.
    """
    height, width = samples.shape[-2:]
    mask = (mask > LEAST).to(samples.real).expand(-1, height, width)
    energy = samples.abs().square()
    energy = energy.flatten(1, -3).sum(1) if samples.ndim > 3 else energy
    rate = mask.mean((-2, -1))
    spread = rate * (1 - rate)
    across = torch.maximum(*((mask.mean(dim) - rate.unsqueeze(1)).square().mean(-1) for dim in (-1, -2)))
    lines = across / spread.clamp_min(1e-6)
    y, x = (_frequencies(size, mask) for size in (height, width))
    ring = (2 * RINGS * (y.unsqueeze(1).square() + x.square()).sqrt()).clamp(0, RINGS - 1).floor().flatten()
    member = (ring.unsqueeze(1) == torch.arange(RINGS, device=mask.device)).to(mask.dtype)  # (height * width, rings)
    measured, held = mask.flatten(1) @ member, (mask * energy).flatten(1) @ member
    left = (held / measured.clamp_min(1) * (member.sum(0) - measured)).sum(1)
    strength = (left / (height * width)).clamp_min(1e-20).sqrt()
    rate, lines = (value.expand_as(strength) for value in (rate, lines))  # of a mask that all share
    found = torch.stack([(rate / USUAL[0]).log(), lines, (strength / USUAL[1]).log()], 1)
    return found.clamp(-REACH, REACH)


def _frequencies(size: int, like: Tensor) -> Tensor:
    """|fftfreq|, in arithmetic that every format of a network has."""
    k = torch.arange(size, device=like.device, dtype=like.dtype)
    return torch.minimum(k, size - k) / size


class Conditioned(NamedTuple):
    """A splitting for the features of a problem."""

    transform: LinearOperator
    back: LinearOperator
    penalty: Tensor  # (batch, channels, 1, 1)
    rate: Tensor
    scale: Tensor  # c, (batch, channels, 1, 1)
    prox: Prox

    def shrink(self, u: Tensor) -> Tensor:
        """c S(u / c)."""
        return self.scale * self.prox(u / self.scale)


@explain
class ConditionedSplitting(Splitting):
    """A splitting whose parameters follow features f of the data, ``Problem.features``:

        rho exp(tanh(B f)),    u -> c S(u / c) with c = exp(tanh(C f)),

    S the shrinkage that stands for a prox; neither factor leaves [1 / e, e], whatever the data. With B = C = 0, as at
    the start, it is ``Splitting``.

    Parameters: those of ``Splitting``; ``penalty_slope`` B and ``scale_slope`` C, (channels, features).

    Args:
        transform: D, as for ``Splitting``.
        prox: S, (z) -> the shrinkage.
        features: how many features there are.
        penalty: rho, (channels, 1, 1).
        rate: eta, likewise.
        synthesis: as for ``Splitting``.

    Raises:
        ValueError: as ``Splitting``; when run, a problem without features, or with more or fewer.
    """

    added = ("penalty_slope", "scale_slope")

    def __init__(
        self,
        transform: LinearOperator,
        prox: Prox,
        features: int = FEATURES,
        *,
        penalty: Tensor,
        rate: Tensor,
        synthesis: LinearOperator | None = None,
    ) -> None:
        super().__init__(transform, prox, penalty=penalty, rate=rate, synthesis=synthesis)
        check_count(features, "features")
        self.features = features
        like = self.penalty.detach()
        zeros = like.new_zeros(like.shape[0] if like.ndim else 1, features)
        self.penalty_slope, self.scale_slope = (nn.Parameter(zeros.clone()) for _ in range(2))

    def at(self, problem: Problem) -> Conditioned:
        """The splitting for a problem's features."""
        found = problem.features
        if found is None or found.shape[-1] != self.features:
            told = "none" if found is None else f"{found.shape[-1]}"
            raise ValueError(
                f"the splitting depends on {self.features} features of the data, and the data term gives {told}; "
                "SampledFourier and CoilSampling take `features`"
            )
        b, c = (
            torch.exp(torch.tanh(found @ slope.T)).unsqueeze(-1).unsqueeze(-1)
            for slope in (self.penalty_slope, self.scale_slope)
        )
        return Conditioned(self.transform, self.back, self.penalty * b, self.rate, c, self.prox)
