"""``unroll apply --adapt``: the network is fitted to what it is applied to, before it is."""

from __future__ import annotations

import copy
from typing import Any

import torch

RATE, PART = 1e-4, 0.85  # of the steps; of the measurements that a network is shown of those it is trained on


class AdaptingForward:
    """The forward pass of a network that is adapted, without truth, to the data of each call.

    Args:
        network: as it was trained.
        task: that says how data come about.
        name: of the loss.

    Raises:
        ValueError: a loss that the task does not support.
    """

    seconds, failure = 0.0, None  # nothing is compiled

    def __init__(self, network: Any, task: Any, name: str) -> None:
        from unrolling.training.losses_by_name import find_loss
        from unrolling.training.without_truth import Splitting

        loss = find_loss(name, task, network)
        self.loss = Splitting(PART, relative=True) if name == "split" else loss
        self.network, self.measurement = copy.deepcopy(network), None
        if name != "energy":
            self.measurement = task.measurement()
        self.done: list[tuple[list[float], int]] = []  # criteria, and the best step

    def __call__(self, data: Any) -> Any:
        """The estimate of the adapted network."""
        from unrolling.training.adaptation import adapt

        found = adapt(self.network, data, self.loss, self.measurement, rate=RATE)
        self.done.append((found.criterion, found.step))
        with torch.no_grad():
            return found.network(data)

    def sentence(self, first: int) -> str:
        """What became of the calls from one on."""
        calls = self.done[first:]
        moved = [criterion for criterion, step in calls if step]
        if not moved:
            return "adaptation found nothing better than the weights as they are"
        pairs = ((criterion[0], min(criterion)) for criterion in moved)
        before, after = (sum(values) / len(moved) for values in zip(*pairs, strict=True))
        what = "what it missed of kept measurements" if self.measurement and self.measurement.splits else "the loss"
        times = "" if len(calls) == 1 else f" {len(moved)} of {len(calls)} times"
        return f"the network was adapted{times}: {what} fell from {before:.4g} to {after:.4g}"
