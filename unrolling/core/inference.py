"""A network run for inference: nothing recorded, constants worked out beforehand, memory used again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unrolling.core.gradients import Backprop
from unrolling.core.unroll import Unrolled


class Way(NamedTuple):
    """How a layer is run: what an iteration's optional ``inference(shared)`` returns.

    ``shared`` names the parameters that all layers have in common. Values are read once, when the way is made.
    """

    prepare: Callable[[Any], Any]  # data -> a problem of its own kind
    # state, problem, whether the new state must be memory of its own (it is the last) -> state
    step: Callable[[Any, Any, bool], Any]
    key: Hashable  # ways of one key have the same problem
    # problem, whether to be kept -> the state after the first step, where the start is known to be zero
    first: Callable[[Any, bool], Any] | None = None
    part: Any = None  # of a layer in a run of all layers at once
    # the parts of all layers -> data -> estimate; None for data it is not for
    fuse: Callable[[Sequence[Any]], Callable[[Any], Tensor | None]] | None = None


class Scratch:
    """Two tensors in turn, made once for a shape: the state before and the state after a step never share memory."""

    def __init__(self) -> None:
        self._kept: dict[Any, list[Tensor]] = {}

    def next(self, like: Tensor, width: int, old: Tensor | None, fresh: bool) -> Tensor:
        """(batch, width) in the precision of ``like``; not the memory of ``old``; ``fresh`` for one that is not
        kept.
        """
        shape = (like.shape[0], width)
        if fresh:
            return like.new_empty(shape)
        key = (shape, like.dtype, like.device)
        pair = self._kept.get(key)
        if pair is None:
            self._kept.clear()  # one batch size at a time
            pair = self._kept[key] = [like.new_empty(shape), like.new_empty(shape)]
        return pair[1] if old is not None and old.data_ptr() == pair[0].data_ptr() else pair[0]


class Inference:
    """The forward pass of a network without anything that only training needs; made by ``Unrolled.inference``, called
    like the network.

    Constraints are worked out once, gradients are never recorded, and layers that know a cheaper way to compute the
    same (fewer products, merged constants, memory used again) go it; others run as they are. Equal to the plain forward
    to rounding. Values are those of the moment it was made: train on, and make another. One call at a time: calls share
    memory.

    Args:
        network: it is not changed.
    """

    def __init__(self, network: Unrolled) -> None:
        own: Any = frozen(network)
        self.network = own
        layers: list[Any] = list(own.layers)
        untied = set(network.untied)
        names = {name for layer in layers[:1] for name, _ in layer.named_parameters()}
        shared = frozenset(name for name in names if name not in untied)
        made: dict[int, Way] = {}
        self.ways: list[Way] = []
        for layer in layers:
            if id(layer) not in made:
                special = layer.inference(shared) if hasattr(layer, "inference") else None
                made[id(layer)] = special or _plain(layer)
            self.ways.append(made[id(layer)])
        fuse = self.ways[0].fuse
        together = fuse is not None and all(way.fuse is fuse and way.part is not None for way in self.ways)
        self._at_once = fuse([way.part for way in self.ways]) if together and fuse is not None else None

    @torch.inference_mode()
    def __call__(self, data: Any) -> Tensor:
        """The estimate."""
        layers: list[Any] = list(self.network.layers)
        layers[0].check(data)
        if self._at_once is not None and (estimate := self._at_once(data)) is not None:
            return estimate
        problems: dict[Hashable, Any] = {}
        state, last = None, len(self.ways) - 1
        for number, way in enumerate(self.ways):
            if way.key not in problems:
                problems[way.key] = way.prepare(data)
            problem = problems[way.key]
            if number == 0 and way.first is not None:
                state = way.first(problem, last == 0)
                continue
            if number == 0:
                start = layers[0]
                state = start.start(problem if way.prepare is start.prepare else start.prepare(data))
            state = way.step(state, problem, number == last)
        return layers[-1].estimate(state, problem)

    def __repr__(self) -> str:
        special = sum(hasattr(layer, "inference") for layer in self.network.layers)
        return f"Inference({len(self.ways)} layers, {special} of which know a cheaper way)"


def _plain(layer: Any) -> Way:
    return Way(
        layer.prepare, lambda state, problem, fresh: layer(state, problem), id(layer._modules.get("prepare") or layer)
    )


def frozen(network: nn.Module) -> nn.Module:
    """A copy for evaluation whose constrained parameters are plain tensors of the same values."""
    own = copy.deepcopy(network).eval()
    values: dict[int, nn.Parameter] = {}
    for module in own.modules():
        module.zero_grad(set_to_none=True)
        if parametrize.is_parametrized(module):
            lists: Any = module.parametrizations
            # A list of constraints that several layers hold gives a tensor that they share.
            plain = {
                name: values.setdefault(id(part), nn.Parameter(getattr(module, name).detach().clone()))
                for name, part in lists.items()
            }
            # torch puts the constrained names on a class made for the purpose, which copies share and which this module
            # leaves.
            module.__class__ = type(module).__bases__[0]
            del module._modules["parametrizations"]
            for name, value in plain.items():
                module.register_parameter(name, value)
    if isinstance(own, Unrolled):
        own.gradient = Backprop()  # every rule has the same forward pass
    return own.requires_grad_(False)
