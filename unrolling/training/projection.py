"""How a network is trained to be a projection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms.splitting.relaxed_projection import GradientProjection
from unrolling.core import Unrolled
from unrolling.training.stages import Schedule, Stage


@dataclass(frozen=True)
class ProjectionLoss:
    """mean over u of |F(u) - x|^2 / n, u = A+ y, and where asked for F'(A+ y) and x itself: what a projection onto the
    images x does to these. n numbers in an image, A+ y the start of the iteration, F' the network F as it was before
    the step, without gradient.

    Gupta, Jin, Nguyen, McCann and Unser 2018, doi:10.1109/TMI.2018.2832656. For networks of a ``GradientProjection``,
    relaxed or not, whose ``projector`` is F; a stage runs one layer (``depth=1``), as the estimate is not looked at.

    Attributes:
        previous: whether F'(A+ y) is among the u.
        truth: whether x is.
    """

    previous: bool = False
    truth: bool = False

    def __call__(self, estimate: Tensor, target: Tensor, data: Any, network: nn.Module) -> Tensor:
        layer = network.layers[0] if isinstance(network, Unrolled) else network
        step = next((part for part in layer.modules() if isinstance(part, GradientProjection)), None)
        if step is None:
            raise ValueError(
                f"ProjectionLoss trains the projector of a GradientProjection; {type(layer).__name__} has none"
            )
        with torch.no_grad():
            start = step.start(step.prepare(data))
        first = step.projector(start)
        losses = [(first - target).abs().square().mean()]
        others = [first.detach()] * self.previous + [target] * self.truth
        if others:
            found = step.projector(torch.cat(others)).chunk(len(others))
            losses += [(each - target).abs().square().mean() for each in found]
        return torch.stack(losses).mean()


def projection_schedule(like: Stage, shares: tuple[float, float, float] = (0.6, 0.3, 0.1)) -> Schedule:
    """Three stages: A+ y alone, then F'(A+ y) too, then also x, with these shares of the steps of ``like``. The first
    has its rate, the others a half and a quarter of it.

    Raises:
        ValueError: shares that do not sum to one; fewer than three steps.
    """
    if abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0:
        raise ValueError(f"shares are positive and sum to one; got {shares}")
    if like.steps < 3:
        raise ValueError(f"steps is {like.steps}; each of the three stages has at least one")
    counts = [max(1, round(share * like.steps)) for share in shares[:2]]
    counts.append(max(1, like.steps - sum(counts)))
    losses = (ProjectionLoss(), ProjectionLoss(previous=True), ProjectionLoss(previous=True, truth=True))
    return [
        replace(like, steps=steps, rate=like.rate * factor, depth=1, loss=loss)
        for steps, factor, loss in zip(counts, (1.0, 0.5, 0.25), losses, strict=True)
    ]
