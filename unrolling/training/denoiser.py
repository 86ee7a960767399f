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

# Mean squared errors of good denoisers go about with this power of the level; at the typical one they count as they are
POWER, TYPICAL = 1.2, 0.1


@dataclass(frozen=True)
class DenoiserLoss:
    """100 times the mean squared error of D(x + e, s) over the task's targets x, e white of standard deviation s.

    With ``levels`` the logarithm of s is uniform between two of them, for each picture, and the error counts in units
    of s^1.2, with which those of good denoisers go about, so that all levels count alike.

    The first ``DenoiserProx`` of a network is trained; what the network is for plays no part, so that one denoiser
    serves all tasks on such pictures. Colours of a target are pictures of their own. A stage runs one layer
    (``depth=1``), as the estimate is not looked at.

    Attributes:
        sigma: s; by default the fixed level of the prox.
        levels: the lowest and the highest s, above 0, for a denoiser that is told its level.
    """

    sigma: float | None = None
    levels: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.levels is not None:
            if self.sigma is not None:
                raise ValueError("sigma is one level and levels are a range of them; give one of the two")
            low, high = self.levels
            check_range(low, "the lowest of levels", 0.0, float("inf"), above=True, below=True)
            check_range(high, "the highest of levels", low, float("inf"), below=True)
        if self.sigma is not None:
            check_range(self.sigma, "sigma", 0.0, float("inf"), above=True, below=True)

    @property
    def takes_estimate(self) -> bool:
        """Whether the network is run for an estimate, too: at one level, as norms of a denoiser move on with each run,
        and weights that were trained so are to be had again.
        """
        return self.levels is None

    def __call__(self, estimate: Any, target: Tensor, network: nn.Module) -> Tensor:
        layer = network.layers[0] if isinstance(network, Unrolled) else network
        prox = next((part for part in layer.modules() if isinstance(part, DenoiserProx)), None)
        if prox is None:
            raise ValueError(f"DenoiserLoss trains the denoiser of a DenoiserProx; {class_name(layer)} has none")
        clean = target.flatten(0, 1) if target.ndim == 4 else target
        if self.levels is not None:
            low, high = self.levels
            s = low * (high / low) ** torch.rand_like(clean[:, :1, :1])
            error = (prox(clean + s * torch.randn_like(clean), s.square()) - clean).square()
            return 100 * (error * (TYPICAL / s) ** POWER).mean()
        sigma = prox.sigma if self.sigma is None else self.sigma
        if sigma is None:
            raise ValueError("sigma is None, and the prox has no fixed level: DenoiserLoss(sigma=...) says which")
        return 100 * (prox(clean + sigma * torch.randn_like(clean), sigma**2) - clean).square().mean()
