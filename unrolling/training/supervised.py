"""The loss of a stage as one forward pass, which is what a distributed wrapper needs to see."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled
from unrolling.tasks.base import Task
from unrolling.training.losses import Energy, trajectory
from unrolling.training.stages import Last, Stage


class Supervised(nn.Module):
    """(data, target) -> the loss of a stage, a scalar. The estimates of layers before the last are back-propagated
    through whatever the gradient rule.

    An iteration may let losses see more than its estimate (the kernel of a blurred image, say): ``supervised``
    then takes the place of ``estimate`` in training.
    """

    def __init__(self, network: nn.Module, task: Task, stage: Stage) -> None:
        super().__init__()
        self.network, self.loss, self.stage = network, stage.loss or task.loss, stage
        if isinstance(stage.loss, Energy):
            assert isinstance(network, Unrolled)
            # Not a sub-module: the classical problem is neither trained nor saved.
            self.__dict__["parent"] = copy.deepcopy(network.parent).requires_grad_(False)

    def forward(self, data: Any, target: Tensor) -> Tensor:
        network, stage = self.network, self.stage
        if not isinstance(network, Unrolled):
            return self.loss(network(data), target)
        if isinstance(stage.loss, Energy):
            return self._energy(network, data)
        depth = stage.depth or len(network)
        if isinstance(stage.supervision, Last):
            return self.loss(network.supervised(data, layers=slice(0, depth)), target)
        weights = stage.supervision.weights(depth)
        walk = zip(weights, network.walk(data, layers=slice(0, depth)), strict=True)
        pairs = [(w, layer.supervised(state, problem)) for w, (layer, problem, state) in walk if w]
        return trajectory(self.loss, [w for w, _ in pairs], [seen for _, seen in pairs], target)

    def _energy(self, network: Unrolled, data: Any) -> Tensor:
        depth = self.stage.depth or len(network)
        parent: Any = self.__dict__["parent"]
        problem = parent.prepare(data)

        def value(state: Any) -> Tensor:
            return parent.objective(state, problem).mean()

        if isinstance(self.stage.supervision, Last):
            return value(network.run(data, layers=slice(0, depth)))
        weights = self.stage.supervision.weights(depth)
        return torch.stack(
            [w * value(s) for w, s in zip(weights, network.trajectory(data, layers=slice(0, depth)), strict=True) if w]
        ).sum()
