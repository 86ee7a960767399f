"""How the denoiser of a plug-and-play method is trained: by itself, on the task's pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled
from unrolling.core.arguments import check_range
from unrolling.core.naming import class_name
from unrolling.prox.plug_and_play import DenoiserProx


@dataclass(frozen=True)
class DenoiserLoss:
    """100 times the mean squared error of D(x + e, s) over the task's targets x, e white of standard deviation s.

    The first ``DenoiserProx`` of a network is trained; what the network is for plays no part, so that one denoiser
    serves all tasks on such pictures. Colours of a target are pictures of their own. A stage runs one layer
    (``depth=1``), as the estimate is not looked at.

    Attributes:
        sigma: s; by default the fixed level of the prox.
    """

    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_range(self.sigma, "sigma", 0.0, float("inf"), above=True, below=True)

    def __call__(self, estimate: Any, target: Tensor, network: nn.Module) -> Tensor:
        layer = network.layers[0] if isinstance(network, Unrolled) else network
        prox = next((part for part in layer.modules() if isinstance(part, DenoiserProx)), None)
        if prox is None:
            raise ValueError(f"DenoiserLoss trains the denoiser of a DenoiserProx; {class_name(layer)} has none")
        sigma = prox.sigma if self.sigma is None else self.sigma
        if sigma is None:
            raise ValueError("sigma is None, and the prox has no fixed level: DenoiserLoss(sigma=...) says which")
        clean = target.flatten(0, 1) if target.ndim == 4 else target
        return 100 * (prox(clean + sigma * torch.randn_like(clean), sigma**2) - clean).square().mean()
