"""Walks over states and data: tensors, NamedTuples, plain tuples, lists, dicts and numbers.

Rule for every tensor in data, problem and state: it is batch first, or it has no dimension, or its leading size is 1
and all samples share it. ``core.batch`` knows one more kind of shared tensor: parameters and buffers of an iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolling.core import scale

RULE = "a tensor is batch first, or shared by all samples with a leading size of 1"


def apply(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same structure with ``function`` applied to each tensor; numbers and other leaves stay."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(apply(function, item) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(apply(function, item) for item in tree)
    if isinstance(tree, dict):
        return {key: apply(function, item) for key, item in tree.items()}
    return tree


def named_tensors(tree: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Each tensor with the path that leads to it, such as ``state.x``."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, tuple) and hasattr(tree, "_fields"):
        for field, item in zip(tree._fields, tree, strict=True):  # pyright: ignore[reportAttributeAccessIssue]
            yield from named_tensors(item, f"{name}.{field}")
    elif isinstance(tree, (tuple, list)):
        for position, item in enumerate(tree):
            yield from named_tensors(item, f"{name}[{position}]")
    elif isinstance(tree, dict):
        for key, item in tree.items():
            yield from named_tensors(item, f"{name}[{key!r}]")


def tensors(tree: Any) -> list[Tensor]:
    """All tensors, in order."""
    return [tensor for _, tensor in named_tensors(tree, "")]


def is_number(tensor: Tensor) -> bool:
    """Whether a tensor holds real or complex numbers: what a step moves, what gradients flow through."""
    return tensor.is_floating_point() or tensor.is_complex()


def relative_change(new: Tensor, old: Tensor) -> Tensor:
    """|new - old| / max(|new|, |old|) of each sample, (batch,): free of scale, 0 where both are zero, NaN where one is.

    Every sample is divided by its largest entry first, so that no square leaves the range of the precision.
    """
    return scale.relative_change(rows(new), rows(old))


def rows(tensor: Tensor) -> Tensor:
    """(batch, ...) -> (batch, n), also of (batch,) and of an empty batch."""
    return tensor.reshape(tensor.shape[0], tensor.shape[1:].numel())


def batch_size(tree: Any, name: str) -> int:
    """The number of samples: the leading size that is not 1, where there is one.

    Raises:
        ValueError: no tensor is batch first, or two tensors disagree.
    """
    return common_size(dict(named_tensors(tree, name)), name)


def common_size(tensors: Mapping[str, Tensor], name: str) -> int:
    """``batch_size`` of tensors by the paths that lead to them."""
    sizes = {path: tensor.shape[0] for path, tensor in tensors.items() if tensor.ndim > 0}
    if not sizes:
        raise ValueError(f"{name} holds no tensor with a batch dimension; tensors are batch first, (batch, ...)")
    several = [size for size in sizes.values() if size != 1]
    batch = max(several) if several else 1
    wrong = {path: size for path, size in sizes.items() if size not in (batch, 1)}
    if wrong:
        listed = ", ".join(f"{path} has leading size {size}" for path, size in wrong.items())
        raise ValueError(f"{name} has a batch of {batch}, but {listed}; {RULE}")
    return batch


def select(tree: Any, index: Tensor, batch: int, name: str) -> Any:
    """The samples ``index`` of a tree whose batch size is ``batch``; shared tensors stay.

    Raises:
        ValueError: a tensor is neither batch first nor shared, so that it cannot be cut.
    """
    for path, tensor in named_tensors(tree, name):
        if tensor.ndim > 0 and tensor.shape[0] not in (batch, 1):
            raise ValueError(f"{path} has leading size {tensor.shape[0]} and the batch is {batch}; {RULE}")
    return apply(lambda t: t[index] if t.ndim > 0 and t.shape[0] == batch else t, tree)


def concatenate(trees: Sequence[Any], name: str) -> Any:
    """Trees of one structure as one, along the batch; what all samples share is shared again.

    Raises:
        ValueError: a shared tensor that is not the same in all of them.
    """
    first = trees[0]
    batches = [batch_size(each, name) for each in trees]
    parts = [iter(list(named_tensors(each, name))) for each in trees]

    def join(tensor: Tensor) -> Tensor:
        path, several = next(parts[0])[0], [tensor, *(next(part)[1] for part in parts[1:])]
        if all(t.ndim > 0 and t.shape[0] == batch for t, batch in zip(several, batches, strict=True)):
            return torch.cat(several)
        if not all(torch.equal(tensor, other) for other in several[1:]):
            raise ValueError(
                f"{path} is shared by all samples of a batch and differs between two draws; give it per "
                "sample, or set the task's `grains` to 1"
            )
        return tensor

    return apply(join, first)


def where(mask: Tensor, yes: Any, no: Any, name: str) -> Any:
    """Sample by sample the one tree or the other, both of one structure; what all samples share must be the same in
    both.

    Args:
        mask: (batch,) bool.
        yes: where it is true.
        no: where it is false.
        name: of the trees, for messages.

    Raises:
        ValueError: tensors of different shapes, or a shared tensor or number that differs.
    """
    others = iter(list(named_tensors(no, name)))

    def choose(tensor: Tensor) -> Tensor:
        path, other = next(others)
        if tensor.shape != other.shape:
            raise ValueError(f"{path} has shape {tuple(tensor.shape)} in one and {tuple(other.shape)} in the other")
        if tensor.ndim > 0 and tensor.shape[0] == mask.shape[0]:
            return torch.where(mask.view(-1, *[1] * (tensor.ndim - 1)), tensor, other)
        if not torch.equal(tensor, other):
            raise ValueError(f"{path} is shared by all samples and differs: it cannot be chosen sample by sample")
        return tensor

    return apply(choose, yes)
