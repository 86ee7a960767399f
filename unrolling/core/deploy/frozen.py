"""A network with its values as they are, and nothing that only training needs."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import nn
from torch.nn.utils import parametrize

from unrolling.core.gradients import Backprop
from unrolling.core.unroll import Unrolled

M = TypeVar("M", bound=nn.Module)


def frozen(network: M) -> M:
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
