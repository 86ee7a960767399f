"""How a restoration that stops by itself is trained: the unit to end after as many steps as there is to do, the policy
to stop where more steps would not pay.

Each is a loss of one step, taken of all of them (``Power(0)``), so that a stage is a sum over the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-6  # of a mean squared error: 60 dB


def decibels(estimate: Tensor, target: Tensor) -> Tensor:
    """The PSNR for a peak of 1 of each picture, (batch,), at most 60 dB."""
    return -10 * ((estimate - target).square().flatten(1).mean(1) + FLOOR).log10()


def image_of(data: Any) -> Tensor:
    """The picture in some data: the data, or their first field."""
    return data if isinstance(data, Tensor) else data[0]


@dataclass(frozen=True)
class DepthByLevel:
    """-PSNR of the x after n steps, n the standard deviation of what is wrong with the data (of 255) over ``level``,
    rounded, at least 1 and at most ``most``; nothing of the other steps.

    Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709: the unit is trained with more steps where there is more noise.

    Attributes:
        level: what a step is to take away, of 255.
        most: steps at most.
    """

    level: float
    most: int

    def steps(self, data: Any, target: Tensor) -> Tensor:
        """n, (batch,)."""
        error = 255 * (image_of(data) - target).square().flatten(1).mean(1).sqrt()
        return (error / self.level).round().clamp(1, self.most)

    def __call__(self, estimate: Tensor, target: Tensor, data: Any, state: Any) -> Tensor:
        wanted = (state.steps == self.steps(data, target)).to(target)
        return -(wanted * decibels(state.x, target)).mean()


@dataclass(frozen=True)
class ExpectedReward:
    """Soft halting: minus the gain of the step in dB times the chance that it is taken by a policy that goes on with
    chance sigmoid(q). Over all steps that is minus the expected PSNR at the stop, but for that of the data; it is
    differentiable in q.
    """

    def __call__(self, estimate: Tensor, target: Tensor, state: Any) -> Tensor:
        gain = (decibels(state.x, target) - decibels(state.before, target)).detach()
        return -(state.reached * torch.sigmoid(state.asked) * gain).mean()


@dataclass(frozen=True)
class TemporalDifference:
    """Q-learning: (q - r - max(q', 0))^2, r = ``reward`` times the gain of the step in dB, q' the value after it, which
    is not differentiated; stopping is worth 0 (Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709).

    Where pictures go does not depend on the policy, so that every decision of every picture is learned from, whatever
    the policy would have done before.

    Attributes:
        reward: lambda, of a dB.
    """

    reward: float = 1.0

    def __call__(self, estimate: Tensor, target: Tensor, state: Any) -> Tensor:
        gain = (decibels(state.x, target) - decibels(state.before, target)).detach()
        wanted = self.reward * gain + state.value.detach().clamp_min(0)
        return (state.asked - wanted).square().mean()
