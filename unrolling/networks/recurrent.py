"""A recurrent network from one series to another, which sees no future."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call


@explain_call
class RecurrentEstimator(nn.Module):
    """A gated recurrent unit along time, and a linear map of what it holds at each moment added to another of the
    input.

    Args:
        inputs: numbers at a moment.
        outputs: numbers of the answer at a moment.
        units: of the gated recurrent unit.
        seed: of the weights.
    """

    def __init__(self, inputs: int, outputs: int, units: int, seed: int = 0) -> None:
        super().__init__()
        for value, name in ((inputs, "inputs"), (outputs, "outputs"), (units, "units")):
            check_count(value, name)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.recurrent = nn.GRU(inputs, units, batch_first=True)
            self.outer, self.direct = nn.Linear(units, outputs), nn.Linear(inputs, outputs)

    def forward(self, data: Any) -> Float[Tensor, "batch T outputs"]:
        """Of a series (batch, T, inputs), or of data whose first field is one."""
        series: Tensor = data[0] if isinstance(data, tuple) else data
        check_input(self, series, "data", None, self.direct.in_features)
        return self.outer(self.recurrent(series)[0]) + self.direct(series)


def recurrent_units(inputs: int, outputs: int, size: int) -> int:
    """The most units with which the network has at most so many numbers; at least one."""
    units = 1
    while _size(inputs, outputs, units + 1) <= size:
        units += 1
    return units


def _size(inputs: int, outputs: int, units: int) -> int:
    return 3 * units * (inputs + units + 2) + outputs * (units + 1) + outputs * (inputs + 1)
