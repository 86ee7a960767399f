"""The metric on the validation set along a run: which weights are best, and when a stage has run out of patience."""

from __future__ import annotations

from math import isfinite
from typing import Any

from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.tasks.base import Task, evaluate
from unrolling.training.batches import like_network
from unrolling.training.checkpoints import Position
from unrolling.training.stages import Schedule, Stage


class Validations:
    """The validations of a run.

    Only those at the depth of the last stage compete for the best: a network of fewer layers is another network.

    Args:
        network: trained.
        task: validation data and metric.
        schedule: of the run.
        count: how many there are in the run, besides those that patience asks for.
    """

    def __init__(self, network: nn.Module, task: Task, schedule: Schedule, count: int) -> None:
        self.network, self.task, self.schedule = network, task, schedule
        self.total = sum(stage.steps for stage in schedule)
        self.every = max(1, self.total // count) if count else 0
        self.best: float | None = None

    def due(self, stage: Stage, position: Position, global_step: int) -> bool:
        """Whether the metric is computed after a step."""
        if stage.stop is not None and position.step % stage.stop.every == 0:
            return True
        return bool(self.every) and (global_step % self.every == 0 or global_step == self.total)

    def measure(self, stage: Stage) -> float:
        """The metric of the stage's layers."""
        network, depth = self.network, stage.depth

        def estimate(data: Any) -> Tensor:
            data = like_network(data, network)
            layered = isinstance(network, Unrolled) and depth is not None
            found = network(data, layers=slice(0, depth)) if layered else network(data)
            return tree.apply(lambda t: t.cpu(), found)

        network.eval()
        value = self.task.metric.value(evaluate(estimate, self.task, self.task.validation))
        network.train()
        return value

    def improved(self, number: int, value: float) -> bool:
        """Takes note of a value; whether it is the best so far."""
        metric = self.task.metric
        if not isfinite(value) or self._depth(number) != self._depth(len(self.schedule) - 1):
            return False
        if self.best is not None and not metric.gain(value, self.best) > 0:
            return False
        self.best = value
        return True

    def restore(self, position: Position) -> None:
        """Takes up a run."""
        for number, _, value in position.validations:
            self.improved(number, value)

    def exhausted(self, number: int, stage: Stage, position: Position) -> bool:
        """Whether the stage has run out of patience."""
        if stage.stop is None:
            return False
        best, since = float("nan"), 0
        for where, step, value in position.validations:
            if where == number and self.task.metric.gain(value, best) > stage.stop.gain:
                best, since = value, step
        return position.step - since >= stage.stop.steps

    def _depth(self, number: int) -> int | None:
        depth = self.schedule[number].depth
        return len(self.network) if depth is None and isinstance(self.network, Unrolled) else depth
