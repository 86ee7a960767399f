"""What plug-and-play systems have in common: a denoiser of one low level, the shipped one of all, and how they are
trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from unrolling.algorithms.sparse.strided import NoisyImage
from unrolling.prox.plug_and_play import DenoiserProx
from unrolling.training.optimizers import Muon
from unrolling.training.stages import Cosine, Schedule, Stage

LAYERS, CHANNELS = 7, 32  # of the denoisers' networks
STEPS, BATCH = 20_000, 4
MOST = 75 / 255  # the highest level of the shipped denoiser's training


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


def shipped() -> DenoiserProx:
    """The network of imaging/denoise as a prox, each layer one step: trained through, a third is not needed."""
    from unrolling.systems.catalogue import pretrained  # which imports the systems

    network: Any = pretrained("imaging/denoise")
    for layer in network.layers:
        layer.passes = 1.0
    return DenoiserProx(network, told=NoisyImage, most=MOST)


def through(steps: int, prox: str, batch: int, rates: dict[str, float] | None = None) -> Callable[[int], Schedule]:
    """All layers at once by Muon, the shipped denoiser slowly and seeing pictures in one way.

    Args:
        steps: of the one stage.
        prox: the prox of a layer, by name.
        batch: samples of a step.
        rates: of other parameters.
    """
    views = {f"{prox}.denoiser.layers.0.views": 1.0}

    def made(depth: int) -> Schedule:
        options = {"clip": 1.0, "optimizer": Muon(kernels=True), "settings": views, "rates": rates or {}}
        return [Stage(steps, rate=2e-3, batch=batch, annealing=Cosine(0.01, 1e-2), **options)]  # pyright: ignore

    return made
