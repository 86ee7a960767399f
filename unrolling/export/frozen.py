"""A network as it is exported: for evaluation, without gradients, constraints worked out, finite."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize

from unrolling.core import Backprop, Equilibrium, Iteration, Unrolled


def check_network(network: nn.Module) -> None:
    """Refuses what cannot be exported whatever the format.

    Raises:
        TypeError: not a network: an iteration that was not unrolled, an equilibrium, something that is no module.
        ValueError: a parameter that is NaN or infinite, a fixed tensor that holds NaN.
    """
    if isinstance(network, Iteration):
        name = type(network).__name__.removeprefix("Parametrized")
        raise TypeError(f"{name} is an iteration, which runs for as long as it needs: export a number of its steps, unroll({name}(...), depth)")
    if isinstance(network, Equilibrium):
        raise TypeError("an Equilibrium runs until it has converged, which no exported graph can: export a number of its steps, unroll(iteration, depth)")
    if not isinstance(network, nn.Module):
        raise TypeError(f"a network is an nn.Module; got a {type(network).__name__}")
    if isinstance(network, Unrolled):
        values = {row.key: row.value for row in network.parameter_table()} | network.fixed()
    else:
        values = dict(network.named_parameters()) | dict(network.named_buffers())
    learned = {name for name, value in values.items() if value.requires_grad}
    bad = [name for name, value in values.items() if bool((~torch.isfinite(value) if name in learned else torch.isnan(value)).any())]
    if bad:
        more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
        raise ValueError(f"the network holds values that are NaN or infinite in {', '.join(bad[:4])}{more}: it must be trained again before it is exported")


def untrained(network: Unrolled) -> bool:
    """Whether every learned value is still the classical one, to the bit."""
    return all(torch.equal(row.value, row.classical.expand_as(row.value)) for row in network.parameter_table())


def frozen(network: nn.Module) -> nn.Module:
    """A copy for evaluation whose constrained parameters are plain tensors of the same values."""
    own = copy.deepcopy(network).eval()
    values: dict[int, nn.Parameter] = {}
    for module in own.modules():
        module.zero_grad(set_to_none=True)
        if parametrize.is_parametrized(module):
            lists: nn.ModuleDict = module.parametrizations  # pyright: ignore[reportAssignmentType]
            # A list of constraints that several layers hold gives a tensor that they share.
            plain = {name: values.setdefault(id(part), nn.Parameter(getattr(module, name).detach().clone())) for name, part in lists.items()}
            # torch puts the constrained names on a class made for the purpose, which copies share and which this module leaves.
            module.__class__ = type(module).__bases__[0]
            del module._modules["parametrizations"]
            for name, value in plain.items():
                module.register_parameter(name, value)
    if isinstance(own, Unrolled):
        own.gradient = Backprop()  # every rule has the same forward pass
    return own.requires_grad_(False)
