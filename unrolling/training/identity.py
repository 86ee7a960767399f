"""What a run depends on besides its names and numbers: the values of its fixed tensors and of its data, in short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.core.sharing import written_buffers
from unrolling.tasks.base import Task

WAVES = (0.0, 0.7548776662, 1.3247179572, 2.2360679775)  # frequencies of the sums that are kept
MOST = 1_000_000  # numbers of a tensor that are looked at, evenly spread
TOLERANCE = 1e-5  # what two machines may round differently


def of_network(network: nn.Module) -> dict[str, Any]:
    """Of the tensors that training does not move, and of the parent's."""
    written = {name for name, _ in written_buffers(network)}
    known: dict[str, Tensor] = (
        {**network.fixed_tensors(), **{f"parent.{name}": value for name, value in network.parent.state_dict().items()}}
        if isinstance(network, Unrolled)
        else {
            **{name: value for name, value in network.named_parameters() if not value.requires_grad},
            **dict(network.named_buffers()),
        }
    )
    if isinstance(network, Unrolled):
        written = {f"parent.{name}" for name, _ in written_buffers(network.parent)}
    return {name: summary(value) for name, value in known.items() if name not in written}


def of_task(task: Task) -> dict[str, Any]:
    """Of the validation data; what is trained on is the task's own to tell (``Task.identity``)."""
    return {
        path: summary(value)
        for number, samples in enumerate(task.validation)
        for path, value in tree.named_tensors(tuple(samples), f"validation[{number}]")
    }


@torch.no_grad()
def summary(tensor: Tensor) -> dict[str, Any]:
    """Shape, the logarithm of the norm, and sums of the normalised values along cosines: other values have others."""
    values = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    values = values.detach().cpu().flatten()
    values = values[:: max(1, len(values) // MOST)].double().nan_to_num()
    size = float(torch.linalg.vector_norm(values))
    place = torch.arange(len(values), dtype=torch.float64)
    unit = values / size if size > 0 else values
    sums = [float((unit * torch.cos(wave * place)).sum()) / max(1, len(values)) ** 0.5 for wave in WAVES]
    # Of a size beyond the range, such as infinite entries, the shape alone is left.
    numbers = [torch.tensor(size).log().item() if size > 0 else 0.0, *sums, *unit[:4].tolist()]
    return {"shape": list(tensor.shape), "numbers": [round(x, 9) if abs(x) < 1e300 else 0.0 for x in numbers]}


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether summaries by name are of the same values, up to rounding."""
    if one.keys() != other.keys():
        return False
    return all(
        summary["shape"] == other[name]["shape"]
        and all(abs(a - b) <= TOLERANCE for a, b in zip(summary["numbers"], other[name]["numbers"], strict=True))
        for name, summary in one.items()
    )
