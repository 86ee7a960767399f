"""The loss of a stage as one forward pass, which is what a distributed wrapper needs to see."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from unrolling.core import Unrolled
from unrolling.tasks.base import Task
from unrolling.tasks.draws import Draws
from unrolling.training.losses import Loss, asked, trajectory
from unrolling.training.stages import Last, Stage


class Given:
    """Data and targets of a batch, and what a loss may draw for it, for ``Supervised``.

    No collection that Fabric looks into: with ``bf16-mixed`` it would round every tensor among the arguments of a
    module to bfloat16, data and targets with them, and operators would then be run, and losses summed, in bfloat16.
    Mixed precision is what autocast makes of networks, and no more.
    """

    __slots__ = ("data", "draws", "target")

    def __init__(self, data: Any, target: Any, draws: Draws | None = None) -> None:
        self.data, self.target, self.draws = data, target, draws


class Supervised(nn.Module):
    """A batch -> the loss of a stage, or of one of its turns, a scalar. The estimates of layers before the last
    are back-propagated through whatever the gradient rule.

    An iteration may let losses see more than its estimate (the kernel of a blurred image, say): ``supervised``
    then takes the place of ``estimate`` in training, but for losses of measurements.
    """

    def __init__(self, network: nn.Module, task: Task, stage: Stage) -> None:
        super().__init__()
        self.network, self.stage = network, stage
        losses: list[Loss] = [turn.loss for turn in stage.turns] or [stage.loss or task.loss]
        self.losses = [(loss, asked(loss)) for loss in losses]
        measured = any("measurement" in names for _, names in self.losses)
        self.measurement = task.measurement() if measured else None

    def forward(self, batch: Given, turn: int = 0) -> Tensor:
        network, stage, data, target = self.network, self.stage, batch.data, batch.target
        loss, names = self.losses[turn]
        known = {"data": data, "network": network, "measurement": self.measurement, "draws": batch.draws}
        if hasattr(loss, "show"):
            data, known["kept"] = loss.show(data, self.measurement, batch.draws)  # pyright: ignore

        def more(run: Any, state: Any = None) -> dict[str, Any]:
            here = {**known, "run": run, "state": state}
            return {name: here[name] for name in names}

        if not getattr(loss, "takes_estimate", True):
            part = isinstance(network, Unrolled) and stage.depth is not None
            return loss(None, target, **more(partial(network, layers=slice(0, stage.depth)) if part else network))
        if not isinstance(network, Unrolled):
            return loss(network(data), target, **more(network))
        layers = slice(0, stage.depth or len(network))
        kind = "estimate" if "measurement" in names else "supervised"
        if isinstance(stage.supervision, Last):
            how = network if kind == "estimate" else network.supervised
            seen, state = how(data, layers=layers, return_state=True)
            return loss(seen, target, **more(partial(network, layers=layers), state))
        weights = stage.supervision.weights(layers.stop)
        rows = []
        for count, (w, (layer, problem, state)) in enumerate(
            zip(weights, network.walk(data, layers=layers), strict=True), 1
        ):
            if w:
                run = partial(network, layers=slice(0, count))
                rows.append((w, getattr(layer, kind)(state, problem), more(run, state)))
        return trajectory(loss, [w for w, _, _ in rows], [seen for _, seen, _ in rows], target, [m for *_, m in rows])
