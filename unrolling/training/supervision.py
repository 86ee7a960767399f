"""How much the estimate of each layer counts in a loss."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log


class Supervision:
    """How much each layer's estimate counts in the loss."""

    def weights(self, depth: int) -> list[float]:
        """Of the first ``depth`` layers, summing to one."""
        raise TypeError(f"{type(self).__name__} is a Supervision without `weights`")


@dataclass(frozen=True)
class Last(Supervision):
    """The last layer alone."""

    def weights(self, depth: int) -> list[float]:
        return [0.0] * (depth - 1) + [1.0]


@dataclass(frozen=True)
class Power(Supervision):
    """Layer k of K counts as (k / K)^power: 0 weighs all layers the same, a large power the last ones."""

    power: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.power) and self.power >= 0):
            raise ValueError(f"power must be finite and at least 0; got {self.power}")

    def weights(self, depth: int) -> list[float]:
        return _normalised([((k + 1) / depth) ** self.power for k in range(depth)])


@dataclass(frozen=True)
class Logarithmic(Supervision):
    """Layer k counts as log k (Samuel, Diskin and Wiesel 2019, arXiv:1805.07631, eq. 14): the first layer is left
    alone.
    """

    def weights(self, depth: int) -> list[float]:
        return _normalised([log(k + 1) for k in range(depth)]) if depth > 1 else [1.0]


@dataclass(frozen=True)
class Weighted(Supervision):
    """Weights of your own, one per layer."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (self.values and all(isfinite(v) and v >= 0 for v in self.values) and sum(self.values) > 0):
            raise ValueError(f"weights of layers are finite, at least 0 and not all 0; got {self.values}")

    def weights(self, depth: int) -> list[float]:
        if len(self.values) != depth:
            raise ValueError(f"there are {len(self.values)} weights of layers for {depth} layers")
        return _normalised(list(self.values))


def _normalised(weights: list[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]
