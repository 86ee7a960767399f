"""A schedule is a list of stages: what is trained, on which layers' estimates, how, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import cos, isfinite, pi
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One stage of training with Adam.

    Attributes:
        steps: optimizer steps.
        rate: learning rate at the start of the stage.
        rates: learning rates of parameters that need another one, by name in the algorithm (``{"threshold": 1e-2}``).
        batch: samples per step.
        layers: train the first so many layers, with the loss on the last of them; all by default.
        supervise: also weigh the estimates of earlier layers: layer k of K counts (k / K)^power, normalised to sum one. None: the last layer alone.
        warmup: fraction of the steps over which the rate rises from zero.
        final: the rate falls to this fraction along a half cosine.
        clip: largest gradient norm; None leaves gradients alone.
    """

    steps: int
    rate: float = 1e-3
    rates: Mapping[str, float] = field(default_factory=dict)
    batch: int = 128
    layers: int | None = None
    supervise: float | None = None
    warmup: float = 0.0
    final: float = 0.01
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"a stage needs at least one step and one sample per step; got steps {self.steps}, batch {self.batch}")
        if not (self.rate > 0 and all(rate > 0 for rate in self.rates.values())):
            raise ValueError(f"learning rates must be positive; got rate {self.rate}, rates {dict(self.rates)}")
        if not (isfinite(self.rate) and all(map(isfinite, self.rates.values()))):
            raise ValueError(f"learning rates must be finite; got rate {self.rate}, rates {dict(self.rates)}")
        if not (0 <= self.warmup <= 1 and 0 <= self.final <= 1):
            raise ValueError(f"warmup and final are fractions between 0 and 1; got warmup {self.warmup}, final {self.final}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be positive; got {self.clip}")

    def factor(self, step: int) -> float:
        """What the learning rates are multiplied by at a step counted from 0."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise and self.warmup > 0:
            return (step + 1) / rise
        progress = (step - rise) / max(1, self.steps - rise) if self.warmup > 0 else step / self.steps
        return self.final + (1 - self.final) * 0.5 * (1 + cos(pi * progress))

    def layer_weights(self, depth: int) -> list[float]:
        """How much the estimate of each of the first ``depth`` layers counts in the loss."""
        if self.supervise is None:
            return [0.0] * (depth - 1) + [1.0]
        weights = [((k + 1) / depth) ** self.supervise for k in range(depth)]
        return [weight / sum(weights) for weight in weights]

    def describe(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or a weights card."""
        return {**asdict(self), "rates": dict(self.rates)}


Schedule = list[Stage]


def scaled(schedule: Schedule, steps: int) -> Schedule:
    """The same stages with ``steps`` optimizer steps in all, shared out as before.

    Raises:
        ValueError: fewer steps than stages.
    """
    if steps < len(schedule):
        raise ValueError(f"steps is {steps}; this schedule has {len(schedule)} stages of at least one step each")
    total = sum(stage.steps for stage in schedule)
    shares = [stage.steps * steps / total for stage in schedule]
    counts = [max(1, int(share)) for share in shares]
    while left := steps - sum(counts):  # of the rounding, one step at a time to the stage that is furthest from its share
        sign = 1 if left > 0 else -1
        candidates = [k for k, count in enumerate(counts) if sign > 0 or count > 1]
        counts[max(candidates, key=lambda k: sign * (shares[k] - counts[k]))] += sign
    return [replace(stage, steps=count) for stage, count in zip(schedule, counts, strict=True)]
