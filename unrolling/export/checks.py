"""What a network must be to be exported: finite, and a network."""

from __future__ import annotations

import torch
from torch import nn

from unrolling.core import Equilibrium, Iteration, Unrolled


def check_network(network: nn.Module) -> None:
    """Refuses what cannot be exported whatever the format.

    Raises:
        TypeError: not a network: an iteration that was not unrolled, an equilibrium, something that is no module.
        ValueError: a parameter that is NaN or infinite, a fixed tensor that holds NaN.
    """
    if isinstance(network, Iteration):
        name = type(network).__name__.removeprefix("Parametrized")
        raise TypeError(
            f"{name} is an iteration, which runs for as long as it needs: export a number of its steps, "
            f"unroll({name}(...), depth)"
        )
    if isinstance(network, Equilibrium):
        raise TypeError(
            "an Equilibrium runs until it has converged, which no exported graph can: export a number of "
            "its steps, unroll(iteration, depth)"
        )
    if not isinstance(network, nn.Module):
        raise TypeError(f"a network is an nn.Module; got a {type(network).__name__}")
    if isinstance(network, Unrolled):
        values = {row.key: row.value for row in network.parameter_table()} | network.fixed_tensors()
    else:
        values = dict(network.named_parameters()) | dict(network.named_buffers())
    learned = {name for name, value in values.items() if value.requires_grad}
    bad = [
        name
        for name, value in values.items()
        if bool((~torch.isfinite(value) if name in learned else torch.isnan(value)).any())
    ]
    if bad:
        more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
        raise ValueError(
            f"the network holds values that are NaN or infinite in {', '.join(bad[:4])}{more}: it must "
            "be trained again before it is exported"
        )


def untrained(network: Unrolled) -> bool:
    """Whether every learned value is still the classical one, to the bit."""
    return all(torch.equal(row.value, row.classical.expand_as(row.value)) for row in network.parameter_table())
