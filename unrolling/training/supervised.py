"""The loss of a stage as one forward pass, which is what a distributed wrapper needs to see."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from unrolling.core import Unrolled
from unrolling.tasks.base import Task
from unrolling.training.losses import Loss, asked, trajectory
from unrolling.training.stages import Last, Stage


class Given:
    """Data and targets of a batch, for ``Supervised``.

    No collection that Fabric looks into: with ``bf16-mixed`` it would round every tensor among the arguments of a
    module to bfloat16, data and targets with them, and operators would then be run, and losses summed, in bfloat16.
    Mixed precision is what autocast makes of networks, and no more.
    """

    __slots__ = ("data", "target")

    def __init__(self, data: Any, target: Any) -> None:
        self.data, self.target = data, target


class Supervised(nn.Module):
    """A batch -> the loss of a stage, or of one of its turns, a scalar. The estimates of layers before the last
    are back-propagated through whatever the gradient rule.

    An iteration may let losses see more than its estimate (the kernel of a blurred image, say): ``supervised``
    then takes the place of ``estimate`` in training.
    """

    def __init__(self, network: nn.Module, task: Task, stage: Stage) -> None:
        super().__init__()
        self.network, self.stage = network, stage
        losses: list[Loss] = [turn.loss for turn in stage.turns] or [stage.loss or task.loss]
        self.losses = [(loss, asked(loss)) for loss in losses]

    def forward(self, batch: Given, turn: int = 0) -> Tensor:
        network, stage, data, target = self.network, self.stage, batch.data, batch.target
        loss, names = self.losses[turn]

        def more(state: Any = None) -> dict[str, Any]:
            return {name: {"data": data, "network": network, "state": state}[name] for name in names}

        if not isinstance(network, Unrolled):
            return loss(network(data), target, **more())
        layers = slice(0, stage.depth or len(network))
        if isinstance(stage.supervision, Last):
            seen, state = network.supervised(data, layers=layers, return_state=True)
            return loss(seen, target, **more(state))
        weights = stage.supervision.weights(layers.stop)
        walk = zip(weights, network.walk(data, layers=layers), strict=True)
        rows = [(w, layer.supervised(state, problem), more(state)) for w, (layer, problem, state) in walk if w]
        return trajectory(loss, [w for w, _, _ in rows], [seen for _, seen, _ in rows], target, [m for *_, m in rows])
