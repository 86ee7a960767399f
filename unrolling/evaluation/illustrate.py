"""What a comparison shows beside its numbers: learned quantities and atoms."""

from __future__ import annotations

import numpy as np
import torch

from unrolling.core import Unrolled
from unrolling.core.quantities import quantity
from unrolling.evaluation.records import Parameter
from unrolling.tasks.base import Task


def atoms(task: Task, network: Unrolled) -> list[tuple[str, np.ndarray]]:
    """The atoms of the parent and of the last layer, where they differ."""
    classical, learned = task.atoms(network.parent), task.atoms(network.layers[-1])
    if classical is None or learned is None or torch.equal(classical, learned):
        return []
    return [("classical", classical.cpu().numpy()), ("learned, last layer", learned.cpu().numpy())]


def parameters(network: Unrolled) -> list[Parameter]:
    """Every learned quantity over the layers, beside its classical value."""
    grouped: dict[str, Parameter] = {}
    for row in network.parameter_table():
        if row.name not in grouped:
            known = quantity(network.parent, row.name)
            classical = row.classical.cpu().numpy()
            grouped[row.name] = Parameter(row.name, [], [], classical, known.symbol, known.words)
        entry = grouped[row.name]
        entry.layers.append(row.layer)
        entry.learned.append(row.value.detach().cpu().numpy())
    return list(grouped.values())
