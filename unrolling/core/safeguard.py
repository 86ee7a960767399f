"""A network that is never worse than its parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.core.drawing import Drawn
from unrolling.core.unroll import Unrolled

Merit = Callable[[Any, Any], Tensor]


class Guarded(NamedTuple):
    """What a safeguarded run found."""

    estimate: Tensor  # (batch, ...)
    state: Any
    accepted: Tensor  # (depth, batch) bool, (depth,) without a batch: whose layer's step was taken
    merit: Tensor  # (batch,): of the result
    parent_merit: Tensor  # (batch,): of the parent after as many steps

    @property
    def rate(self) -> float:
        """The fraction of steps that were the network's."""
        return float(self.accepted.double().mean())


class Safeguarded(Drawn, nn.Module):
    """Layer k's step s -> c is taken where merit(c) <= merit(p_k), p_k being the parent's own k-th iterate; elsewhere
    the state becomes p_k.

    So merit(s_k) <= merit(p_k) after every step, sample by sample and whatever the input: with the objective as merit
    the result is never worse than the parent's after as many steps. NaN and infinity are never accepted. It costs the
    parent's steps and two merits a layer besides the network's own time. The estimate is the parent's reading of the
    last state. A merit of one's own need not be what the parent descends; the promise is about the merit that is given.

    Related: safeguarded learning to optimise, Heaton, Chen, Wang and Yin 2023, arXiv:2003.01880, which asks for a
    decrease from step to step instead.

    Args:
        network: an unrolled network; it is not copied.
        merit: (state, problem of the parent) -> (batch,), smaller is better; the parent's ``objective`` by default. One
            number where the parent knows no batch.

    Raises:
        TypeError: no merit, and a parent without ``objective``.
    """

    def __init__(self, network: Unrolled, merit: Merit | None = None) -> None:
        super().__init__()
        if merit is None and not hasattr(network.parent, "objective"):
            name = type(network.parent).__name__.removeprefix("Parametrized")
            raise TypeError(
                f"{name} has no `objective` that could be the merit; give one, Safeguarded(network, "
                "merit=lambda state, problem: ...)"
            )
        self.network = network
        self.merit = merit

    def forward(self, data: Any) -> Tensor:
        """The estimate."""
        return self.run(data).estimate

    def run(self, data: Any) -> Guarded:
        """The estimate with what was accepted.

        Raises:
            ValueError: a merit that is not one number per sample.
        """
        parent = self.network.parent
        self.network.admit(data)
        parent.check(data)
        problem = parent.prepare(data)
        guide = state = parent.start(problem)
        accepted = []
        merit = guide_merit = torch.empty(0)
        for layer, own in self.network.prepared(data):
            guide, candidate = parent(guide, problem), layer(state, own)
            guide_merit, merit = self._value(guide, problem), self._value(candidate, problem)
            # where the parent itself is lost, anything finite is better
            good = ~(merit > guide_merit) & torch.isfinite(merit)
            state = tree.where(good, candidate, guide, "state") if good.ndim else candidate if bool(good) else guide
            merit = torch.where(good, merit, guide_merit)
            accepted.append(good)
        # The parent's reading of the state, which its objective speaks of; a layer may have learned another.
        return Guarded(parent.estimate(state, problem), state, torch.stack(accepted), merit, guide_merit)

    def _value(self, state: Any, problem: Any) -> Tensor:
        # Of the parent as it is now: it has gone where the network has, to another device or precision.
        merit: Any = self.merit or self.network.parent.objective
        value = merit(state, problem)
        if not self.network.parent.batched:
            if value.ndim:
                raise ValueError(f"without a batch a merit is one number; this one has shape {tuple(value.shape)}")
            return value
        batch = tree.batch_size(state, "state")
        if value.shape != (batch,):
            raise ValueError(f"a merit is one number per sample, ({batch},); this one has shape {tuple(value.shape)}")
        return value
