"""Networks in a row, trained together."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from unrolling.core.refusals import explain_call


@explain_call
class Joint(nn.Module):
    """Each network works on the estimate of the one before it; data -> estimates by name.

    Reconstruction followed by detection, say, each pre-trained and then fine-tuned together (Wu et al. 2018,
    doi:10.1007/978-3-030-00919-9_5). Parameters are known as ``name.parameter``; ``Stage(parameters=("detection",))``
    trains one network alone.

    Args:
        networks: by name, in their order.

    Raises:
        ValueError: fewer than two.
    """

    def __init__(self, **networks: nn.Module) -> None:
        super().__init__()
        if len(networks) < 2:
            raise ValueError(f"Joint puts two networks or more in a row; got {', '.join(networks) or 'none'}")
        for name, network in networks.items():
            self.add_module(name, network)

    def forward(self, data: Any) -> dict[str, Tensor]:
        """The estimate of each network."""
        estimates: dict[str, Tensor] = {}
        for name, network in self.named_children():
            data = estimates[name] = network(data)
        return estimates
