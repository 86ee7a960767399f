"""Samples: data with their targets, where there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core import tree


class Samples(NamedTuple):
    """A batch of data, and what a perfect method would answer; None where nobody knows (training on an energy, say)."""

    data: Any  # (batch, ...) tensor, or a NamedTuple of such
    target: Any = None  # (batch, ...) tensor, or a NamedTuple of such


def count(samples: Samples) -> int:
    """How many samples a batch holds, from its data.

    Raises:
        ValueError: no tensor of the data is batch first, or two of them disagree.
    """
    return tree.batch_size(samples.data, "data")


def select(samples: Samples, index: Tensor) -> Samples:
    """The samples at these positions; what all of them share stays."""
    size = count(samples)
    data = tree.select(samples.data, index, size, "data")
    return Samples(data, None if samples.target is None else tree.select(samples.target, index, size, "target"))


def first(samples: Samples, most: int) -> Samples:
    """The first samples of a batch, ``most`` of them or all."""
    device = next((tensor.device for tensor in tree.tensors(samples.data)), None)
    return select(samples, torch.arange(min(most, count(samples)), device=device))


def concatenate(several: Sequence[Samples]) -> Samples:
    """Batches of one structure as one.

    Raises:
        ValueError: some have targets and some have none; a shared tensor that differs between two of them.
    """
    missing = [samples.target is None for samples in several]
    if any(missing) and not all(missing):
        raise ValueError("some of the batches have targets and some have none")
    data = tree.concatenate([samples.data for samples in several], "data")
    return Samples(data, None if all(missing) else tree.concatenate([each.target for each in several], "target"))


def moved(samples: Samples, move: Callable[[Tensor], Tensor]) -> Samples:
    """The same samples with each tensor moved: to a device, to a precision."""
    return Samples(tree.apply(move, samples.data), tree.apply(move, samples.target))
