"""Which tensors of a run belong to the samples one by one, and which all samples share: settled once, at the start."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unrolling.core import tree
from unrolling.core.arguments import admit
from unrolling.core.iteration import Iteration
from unrolling.core.naming import class_name


class Batch:
    """The samples of a run: how many there are, and how trees of tensors are cut along them.

    A tensor is per sample where its leading size is the batch. It is shared where it has no dimension, a leading size
    of 1, or is a parameter or a buffer of the iteration or a view of one, whatever its size. Anything else is refused.
    A constrained parameter is computed anew wherever it is read: whoever makes a ``Batch`` keeps its value the same by
    ``torch.nn.utils.parametrize.cached``.

    Attributes:
        size: the number of samples, from the data.
        compact: whether finished samples may leave: not where the iteration itself holds something of the batch's
            size, such as one mask per sample, which would stay behind.

    Args:
        data: what the run is given.
        iteration: what is run.

    Raises:
        ValueError: no tensor of the data is batch first, or two of them disagree.
    """

    def __init__(self, data: Any, iteration: nn.Module) -> None:
        # Kept, lest another tensor come to lie where one of them lay.
        self._held = held = [*iteration.parameters(), *iteration.buffers(), *_constrained(iteration)]
        self._storages = {tensor.untyped_storage().data_ptr() for tensor in held if tensor.numel()}
        own = {path: tensor for path, tensor in tree.named_tensors(data, "data") if not self._is_held(tensor)}
        self.size = tree.common_size(own, "data")
        self.compact = self.size > 1 and not any(t.ndim > 0 and t.shape[0] == self.size for t in held)

    def check(self, item: Any, name: str) -> None:
        """Refuses a tree with a tensor that is neither per sample nor shared, by its name.

        Raises:
            ValueError: there is one.
        """
        for path, tensor in tree.named_tensors(item, name):
            if tensor.ndim > 0 and tensor.shape[0] not in (self.size, 1) and not self._is_held(tensor):
                raise ValueError(
                    f"{path} has leading size {tensor.shape[0]} and the batch is {self.size}; {tree.RULE}, or because "
                    "it is a parameter or buffer of the iteration"
                )

    def per_sample(self, tensor: Tensor, size: int | None = None) -> bool:
        """Whether the tensor has one entry for each of the samples, ``size`` of which are left."""
        wanted = self.size if size is None else size
        return tensor.ndim > 0 and tensor.shape[0] == wanted and not self._is_held(tensor)

    def select(self, item: Any, index: Tensor, size: int | None = None) -> Any:
        """The samples ``index`` (positions or a mask) of a tree, ``size`` of which are left; what is shared stays."""
        return tree.apply(lambda t: t[index] if self.per_sample(t, size) else t, item)

    def pieces(self, item: Any, most: int) -> Iterator[Any]:
        """The samples in order, about ``most`` at a time (at least two where there are as many); views of the tree.

        Raises:
            ValueError: most < 1.
        """
        if most < 1:
            raise ValueError(f"chunk is {most}; a piece holds at least one sample")
        # Of a single sample nobody could tell what is shared from what is its own.
        most = max(most, 2)
        for begin in range(0, max(self.size, 1), most):
            yield tree.apply(lambda t, begin=begin: t[begin : begin + most] if self.per_sample(t) else t, item)

    def __len__(self) -> int:
        return self.size

    def _is_held(self, tensor: Tensor) -> bool:
        if tensor.numel() == 0 or tensor.untyped_storage().data_ptr() not in self._storages:
            return False
        # A parameter expanded to the batch was meant for each sample.
        return not (tensor.ndim > 0 and tensor.stride(0) == 0 and tensor.shape[0] > 1)


class Joined:
    """Pieces of a run put together as they come, each into its place: no more memory than the whole and one piece.

    Args:
        size: samples in all.
    """

    def __init__(self, size: int) -> None:
        self.size, self.filled = size, 0
        self._whole: Any = None

    def add(self, piece: Any, batch: Batch) -> None:
        """The next samples, ``batch`` being theirs; of a tensor that they share the last one stays."""
        begin, end = self.filled, self.filled + batch.size
        slots = iter([None] * len(tree.tensors(piece)) if self._whole is None else tree.tensors(self._whole))

        def place(tensor: Tensor) -> Tensor:
            slot = next(slots)
            # The first piece decides: of a last one with a single sample nobody could tell.
            if not batch.per_sample(tensor) or (slot is not None and slot.shape[:1] != (self.size,)):
                return tensor
            slot = tensor.new_empty(self.size, *tensor.shape[1:]) if slot is None else slot
            slot[begin:end] = tensor
            return slot

        self._whole, self.filled = tree.apply(place, piece), end

    @property
    def whole(self) -> Any:
        """All of it."""
        return self._whole


def _constrained(module: nn.Module) -> Iterator[Tensor]:
    """The values of constrained parameters, where they are kept from one reading to the next."""
    if not parametrize._cache_enabled:
        return
    for part in module.modules():
        if parametrize.is_parametrized(part):
            lists: Any = part.parametrizations
            yield from (getattr(part, name) for name in lists)


def in_pieces(run: Callable[[Any, Any], Any], network: nn.Module, data: Any, state: Any, most: int) -> Any:
    """What ``run(data, state)`` gives, about ``most`` samples at a time and joined again.

    Args:
        run: data and a state (or None) -> a tree whose tensors are per sample or shared.
        network: what runs; its parameters and buffers are shared by all samples.
        data: all samples.
        state: of all of them, or None.
        most: samples in a piece.

    Raises:
        ValueError: most < 1; an iteration without a batch.
    """
    iteration = next((module for module in network.modules() if isinstance(module, Iteration)), None)
    if iteration is not None:
        if not iteration.batched:
            raise ValueError(f"chunk is {most}, and {class_name(iteration)} has no batch that could be divided")
        admit(iteration, data)
    batch = Batch(data, network)
    if state is not None:
        batch.check(state, "state")
    states = batch.pieces(state, most) if state is not None else itertools.repeat(None)
    # Pieces are joined as they come where nothing is recorded; in place of that, autograd needs them all at once.
    recorded, whole = [], Joined(batch.size)
    for part, begin in zip(batch.pieces(data, most), states, strict=False):
        result = run(part, begin)
        if torch.is_grad_enabled() and any(t.requires_grad for t in tree.tensors(result)):
            recorded.append(result)
        else:
            whole.add(result, Batch(part, network))
    return tree.concatenate(recorded, "the estimate") if recorded else whole.whole
