"""What plug-and-play systems have in common: a denoiser of one low level, and how it is trained."""

from __future__ import annotations

import torch
from torch import nn

from unrolling.prox.plug_and_play import DenoiserProx
from unrolling.training.stages import Cosine, Schedule, Stage

LAYERS, CHANNELS = 7, 32  # of the denoisers' networks
STEPS, BATCH = 20_000, 4


def quiet(network: nn.Module, sigma: float) -> DenoiserProx:
    """A residual network as a prox of one level; its last layer is small, so that at the start it changes little."""
    return DenoiserProx(network, sigma=sigma).eval()


def seeded(make: type[nn.Module], *sizes: int, **options: object) -> nn.Module:
    """A network whose start does not depend on what was drawn before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(*sizes, **options)


def stage(**changes: object) -> Schedule:
    """Adam on crops, the rate falling to nearly nothing."""
    return [Stage(STEPS, rate=1e-3, batch=BATCH, annealing=Cosine(0.02, 1e-3), clip=1.0, **changes)]  # pyright: ignore
