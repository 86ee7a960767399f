"""How a restoration that stops by itself is trained: the unit to end after as many steps as there is to do, the policy
to stop where more steps would not pay.

Each is a loss of one step, taken of all of them (``Power(0)``), so that a stage is a sum over the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

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
    rounded, at least 1 and at most ``most``; ``after`` times that of the x after one step more; nothing of the others.

    Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709: the unit is trained with more steps where there is more noise. One
    that is trained for the step after as well costs less where a policy stops too late.

    Attributes:
        level: what a step is to take away, of 255.
        most: steps at most.
        after: what the step after counts, where there is one.
    """

    level: float
    most: int
    after: float = 0.0

    def steps(self, data: Any, target: Tensor) -> Tensor:
        """n, (batch,)."""
        error = 255 * (image_of(data) - target).square().flatten(1).mean(1).sqrt()
        return (error / self.level).round().clamp(1, self.most)

    def __call__(self, estimate: Tensor, target: Tensor, data: Any, state: Any) -> Tensor:
        late = state.steps - self.steps(data, target)
        wanted = (late == 0).to(target) + self.after * (late == 1).to(target)
        return -(wanted * decibels(state.x, target)).mean()


@dataclass(frozen=True)
class ExpectedReward:
    """Soft halting: minus the gain of the step in dB times the chance that it is taken by a policy that goes on with
    chance sigmoid(q). Over all steps that is minus the expected PSNR at the stop, but for that of the data; it is
    differentiable in q.

    Attributes:
        entropy: in dB, what the entropy of the lot is worth (in nats), so that no decision is ever quite sure and goes
            on learning: the best q then is the value of going on over ``entropy``.
    """

    entropy: float = 0.0

    def __call__(self, estimate: Tensor, target: Tensor, state: Any) -> Tensor:
        gain = (decibels(state.x, target) - decibels(state.before, target)).detach()
        go, stop = torch.sigmoid(state.asked), nn.functional.logsigmoid(-state.asked)
        unsure = -go * nn.functional.logsigmoid(state.asked) - (1 - go) * stop
        return -(state.reached * (go * gain + self.entropy * unsure)).mean()


@dataclass(frozen=True)
class TemporalDifference:
    """Q-learning: (q - r - max(q', 0))^2, r = ``reward`` times the gain of the step in dB, q' the value after it, which
    is not differentiated; stopping is worth 0 (Zhang, Lu, Liu and Dong 2019, arXiv:1805.07709).

    Where pictures go does not depend on the policy, so that every decision of every picture is learned from, whatever
    the policy would have done before.

    Attributes:
        reward: lambda, of a dB.
        most: the number of steps at which all ends, so that nothing is gained after it; None where it never does, and
            the last value leans on itself.
    """

    reward: float = 1.0
    most: int | None = None

    def __call__(self, estimate: Tensor, target: Tensor, state: Any) -> Tensor:
        gain = (decibels(state.x, target) - decibels(state.before, target)).detach()
        later = state.value.detach().clamp_min(0)
        if self.most is not None:
            later = later * (state.steps < self.most).to(later)
        wanted = self.reward * gain + later
        return (state.asked - wanted).square().mean()
