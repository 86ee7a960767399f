"""Losses that fit potentials without unrolling, for comparison: values of a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unrolling.algorithms.graphs.likelihoods import moment_difference, pseudo_likelihood


@dataclass(frozen=True)
class LongRun:
    """The gradient of -log p(labels) by long runs of belief propagation with the network's potentials, each node
    counting one. The network's own sweeps are not looked at.

    Attributes:
        sweeps: of a run.
        damping: of it.
    """

    sweeps: int = 50
    damping: float = 0.3

    def __call__(self, estimate: Tensor, target: Tensor, data: Any, network: Any) -> Tensor:
        model = network.layers[0].prepare(data)
        return moment_difference(model, target, sweeps=self.sweeps, damping=self.damping).mean() / target.shape[1]


@dataclass(frozen=True)
class PseudoLikelihood:
    """-log p(x_i | its neighbours), the mean over nodes, with the network's potentials."""

    def __call__(self, estimate: Tensor, target: Tensor, data: Any, network: Any) -> Tensor:
        return pseudo_likelihood(network.layers[0].prepare(data), target).mean() / target.shape[1]
