"""RCDNet: rain as kernels times maps, proximal gradient steps with networks in the place of the proxes (Wang, Xie, Zhao
and Meng 2020), small.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unrolling.algorithms.images.deraining import across_streaks
from unrolling.algorithms.images.rain_kernels import LearnedMaps, RainKernels, streak_kernels
from unrolling.networks.residual_blocks import ResidualBlocks
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging._rain import RANGE, application
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.images.rain import Rain
from unrolling.training.stages import Cosine, Power, Schedule, Stage

DEPTH = 5
COUNT, SIDE = 12, 9  # kernels, and pixels along a side
MEMORY = 13  # channels that are carried along
BLOCKS = 1, 2  # of two convolutions, for maps and for the background
STEPS = 3_500


class Beginning(nn.Module):
    """O -> [O, Z]: the photograph, and channels that a convolution and a residual block make of it.

    Args:
        memory: channels of Z.
        colours: of O.
    """

    def __init__(self, memory: int, colours: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(colours, memory, 3, padding=1)
        self.blocks = ResidualBlocks(colours + memory, 1, seed=3)
        with torch.no_grad():
            nn.init.kaiming_normal_(self.first.weight, generator=torch.Generator().manual_seed(4))
            nn.init.zeros_(self.first.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, photo: Tensor) -> Tensor:
        """[O, Z]."""
        return self.blocks(torch.cat([photo, self.first(photo).to(photo.dtype)], 1))


def parent(task: Rain) -> RainKernels:
    """Proximal gradient steps on maps of straight streaks; the networks change nothing before training."""
    return RainKernels(
        nn.Parameter(streak_kernels(COUNT, SIDE)),
        LearnedMaps(ResidualBlocks(COUNT, BLOCKS[0], seed=1)),
        ResidualBlocks(3 + MEMORY, BLOCKS[1], seed=2),
        first=Beginning(MEMORY),
        memory=MEMORY,
        background_step=0.5,
    )


class Across(nn.Module):
    """Total variation across the streaks as the prox of the background.

    Args:
        weight: of it.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.prox, self.weight = across_streaks(iterations=10), weight

    def forward(self, both: Tensor) -> Tensor:
        """The background, smoother; there is no memory."""
        return self.prox(both, self.weight)


def classical(system: System, task: Rain) -> Sequence[Baseline]:
    """The algorithm with classical proxes: straight streaks, shrinkage on M >= 0, total variation across them."""

    def made(setting: tuple[float, float]) -> RainKernels:
        weight, threshold = setting
        return RainKernels(
            streak_kernels(COUNT, SIDE), background_prox=Across(weight), first=Across(10 * weight), threshold=threshold
        )

    settings = tuple((weight, threshold) for weight in (0.003, 0.01) for threshold in (0.003, 0.01, 0.03))
    name = "kernels of straight streaks, proximal gradient steps"
    return [Iterative(name, made, settings, 60, tuning=15, setting="weights")]


def schedule(depth: int) -> Schedule:
    """All layers at once, each of them answering for the picture; kernels, whose entries are small, slowly."""
    rates = {"map_step": 1e-2, "background_step": 1e-2, "threshold": 2e-4, "kernels": 2e-4}
    return [
        Stage(
            STEPS,
            rate=2e-3,
            rates=rates,
            batch=2,
            supervision=Power(2),
            annealing=Cosine(0.02, 1e-2),
            clip=1.0,
        )
    ]


SYSTEM = System(
    name="imaging/rcdnet",
    title="RCDNet",
    summary="photographs without rain, and the rain: it is kernels times maps, which proximal gradient steps with "
    "learned proxes find.",
    equations=(
        "M <- max(N_M(M - s C^T (C * M + B - O)) - t, 0),    [B, Z] <- N_B([(1 - w) B + w (O - C * M), Z])\n"
        "C: 12 kernels of 9 x 9 pixels in three colours, the same in all layers; N_M one and N_B two residual blocks "
        "of two convolutions of 3 x 3 (12 and 16 channels), s, w and t in each layer.\n"
        "M = 0 and [B, Z] = N_0(O) at the start; before training N_M and N_B change nothing, N_0(O) = [O, Z], C are "
        "straight streaks."
    ),
    references=("wang2020model",),
    recipes={
        "rain": Recipe(
            parent=parent,
            tying=Tying(
                tied=("kernels", "first"),
                untied=("map_prox", "background_prox", "map_step", "background_step", "threshold"),
            ),
            depth=DEPTH,
            schedule=schedule,
            range=RANGE,
        )
    },
    baselines={"rain": classical},
    apply={"rain": application("imaging/rcdnet")},
    paradigm="inductive-bias",
)
