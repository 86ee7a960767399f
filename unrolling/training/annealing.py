"""What moves along a stage: learning rates, numbers of a curriculum, patience."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import NamedTuple


@dataclass(frozen=True)
class Annealing:
    """What the learning rates are multiplied by along a stage: ``warmup`` is the fraction of the steps over which they
    rise evenly from zero.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup is a fraction between 0 and 1; got {self.warmup}")

    def factor(self, step: int, steps: int) -> float:
        """At a step counted from 0 of so many."""
        if self.warmup == 0:
            return self.fall(step / steps)
        rise = max(1, round(self.warmup * steps))
        return (step + 1) / rise if step < rise else self.fall((step - rise) / max(1, steps - rise))

    def fall(self, progress: float) -> float:
        """After the rise, ``progress`` going from 0 to 1."""
        return 1.0


@dataclass(frozen=True)
class Constant(Annealing):
    """The same rate throughout."""


@dataclass(frozen=True)
class Cosine(Annealing):
    """Half a cosine down to ``final`` of the rate (Loshchilov and Hutter 2017, arXiv:1608.03983)."""

    final: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.final <= 1:
            raise ValueError(f"final is a fraction between 0 and 1; got {self.final}")

    def fall(self, progress: float) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 + cos(pi * progress))


@dataclass(frozen=True)
class Exponential(Annealing):
    """Geometric fall to ``final`` of the rate."""

    final: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.final <= 1:
            raise ValueError(f"final is a fraction above 0 and at most 1; got {self.final}")

    def fall(self, progress: float) -> float:
        return self.final**progress


@dataclass(frozen=True)
class Ramp:
    """A number that goes evenly from ``first`` to ``last`` over the first ``part`` of a stage, and stays: a
    curriculum.
    """

    first: float
    last: float
    part: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.part <= 1 and isfinite(self.first) and isfinite(self.last)):
            raise ValueError(f"a Ramp has finite ends and a part in (0, 1]; got {self}")

    def value(self, step: int, steps: int) -> float:
        """At a step counted from 0 of so many."""
        return self.first + (self.last - self.first) * min(1.0, step / max(1, round(self.part * steps) - 1))


class Patience(NamedTuple):
    """Ends a stage once the metric on the validation set has gained less than ``gain`` (in its unit) for ``steps``
    steps, looked at ``every`` so many.
    """

    steps: int
    every: int = 100
    gain: float = 0.0
