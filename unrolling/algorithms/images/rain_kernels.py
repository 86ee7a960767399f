"""Rain as a few kernels times sparse maps: alternating proximal gradient steps on maps and background."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from unrolling.algorithms.images.deraining import Parts, check_colours
from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_range, keep
from unrolling.prox.thresholds import nonnegative


class KernelState(NamedTuple):
    """The state of ``RainKernels``."""

    background: Tensor  # B (batch, colours, height, width)
    maps: Tensor  # M (batch, kernels, height, width), M >= 0
    memory: Tensor  # Z (batch, memory, height, width): what the networks carry along


class RainKernels(Iteration):
    """Alternating proximal gradient descent on 0.5 |O - B - C * M|^2 + g(M) + f(B), (C * M)_c = sum_n C_nc * M_n:

        M <- prox_g(M - s C^T (C * M + B - O)),    B <- prox_f((1 - w) B + w (O - C * M));    M = 0 at the start.

    Wang, Xie, Zhao and Meng 2020 (RCDNet), arXiv:2005.01333: the kernels are
    shared by all pictures, the maps say where streaks are, and networks take the place of both proxes. That of the
    background also carries channels Z from step to step, which has no counterpart in the algorithm. Classically g is
    t |M|_1 on M >= 0, and f any prior, total variation across streaks for instance. Borders: rain beyond the picture
    is zero.

    Parameters: ``kernels`` C; ``map_step`` s, ``background_step`` w and ``threshold`` t, positive; those of the proxes
    and of ``first``.

    Args:
        kernels: C (count, colours, side, side) of odd side; (count, 1, side, side) for rain of no colour. Learned where
            it is an ``nn.Parameter``.
        map_prox: (z, t) -> maps; shrinkage on M >= 0 by default.
        background_prox: [B, Z] (batch, colours + memory, height, width) -> the same, such as a network; by default
            nothing changes.
        first: O -> [B, Z] at the start; by default B = O and Z = 0.
        memory: channels of Z.
        colours: of the pictures.
        threshold: t > 0.
        map_step: s; at most 1 / |C|^2, which is 1 for ``streak_kernels``.
        background_step: w, at most 1.

    Raises:
        ValueError: kernels of another shape, a step or a threshold that is not positive.
    """

    kernels: Tensor
    map_step: Tensor
    background_step: Tensor
    threshold: Tensor

    def __init__(
        self,
        kernels: Tensor,
        map_prox: Callable[[Tensor, Tensor], Tensor] | None = None,
        background_prox: Callable[[Tensor], Tensor] | None = None,
        *,
        first: Callable[[Tensor], Tensor] | None = None,
        memory: int = 0,
        colours: int = 3,
        threshold: float = 0.001,
        map_step: float = 1.0,
        background_step: float = 1.0,
    ) -> None:
        super().__init__()
        check_count(memory, "memory", 0)
        check_count(colours, "colours")
        if kernels.ndim != 4 or kernels.shape[1] not in (1, colours) or kernels.shape[2] != kernels.shape[3]:
            raise ValueError(f"kernels are (count, 1 or {colours}, side, side); got shape {tuple(kernels.shape)}")
        if kernels.shape[-1] % 2 == 0:
            raise ValueError(f"kernels have {kernels.shape[-1]} pixels along a side; an odd side has a middle")
        keep(self, "kernels", kernels)
        self.map_prox = nonnegative if map_prox is None else map_prox
        self.background_prox, self.first = background_prox, first
        self.memory, self.colours = memory, colours
        given = {"threshold": threshold, "map_step": map_step, "background_step": background_step}
        for name, value in given.items():
            check_range(value, name, 0.0, above=True)
            setattr(self, name, scalar_parameter(check_weight(value), kernels.detach()))
            constrain(self, name, Positive())

    def start(self, problem: Tensor) -> KernelState:
        """B and Z that ``first`` makes of O, and no rain."""
        batch, _, height, width = problem.shape
        maps = problem.new_zeros(batch, self.kernels.shape[0], height, width)
        if self.first is None:
            return KernelState(problem, maps, problem.new_zeros(batch, self.memory, height, width))
        both = self.first(problem).to(problem.dtype)
        return KernelState(both[:, : self.colours], maps, both[:, self.colours :])

    def forward(self, state: KernelState, problem: Tensor) -> KernelState:
        error = self.synthesis(state.maps) + state.background - problem
        maps = self.map_prox(state.maps - self.map_step * self.analysis(error), self.threshold)
        left = problem - self.synthesis(maps)
        moved = state.background + self.background_step * (left - state.background)
        if self.background_prox is None:
            return KernelState(moved, maps, state.memory)
        both = self.background_prox(torch.cat([moved, state.memory], 1)).to(problem.dtype)
        return KernelState(both[:, : self.colours], maps, both[:, self.colours :])

    def synthesis(self, maps: Tensor) -> Tensor:
        """C * M, (batch, colours, height, width)."""
        turned = self.kernels.flip(-2, -1).transpose(0, 1)
        return conv2d(maps, turned, padding=self.kernels.shape[-1] // 2).expand(-1, self.colours, -1, -1)

    def analysis(self, image: Tensor) -> Tensor:
        """C^T of an image: correlation with every kernel."""
        image = image if self.kernels.shape[1] == self.colours else image.sum(1, keepdim=True)
        return conv2d(image, self.kernels, padding=self.kernels.shape[-1] // 2)

    def estimate(self, state: KernelState, problem: Tensor) -> Tensor:
        """B."""
        return state.background

    def supervised(self, state: KernelState, problem: Tensor) -> Parts:
        """B and C * M."""
        return Parts(state.background, self.synthesis(state.maps))

    def check(self, data: Any) -> None:
        super().check(data)
        check_colours(data, type(self).__name__)
        if data.shape[1] != self.colours:
            raise ValueError(f"data have {data.shape[1]} colours, and these kernels rain of {self.colours}")

    def atoms(self) -> Tensor:
        """The kernels as pictures, (count, side, side)."""
        return self.kernels.mean(1)

    def advice(self) -> str:
        return "take a step of at most 1 / |C|^2 for the maps and at most 1 for the background"


def streak_kernels(count: int = 16, side: int = 9, colours: int = 3, spread: float = 30.0) -> Tensor:
    """Straight streaks through the middle, at angles up to ``spread`` degrees to either side of the vertical and of
    two widths: (count, colours, side, side), scaled such that |C|_2 <= 1.

    Args:
        count: of kernels.
        side: pixels along a side, odd.
        colours: the same in each.
        spread: degrees from the vertical.
    """
    check_count(count, "count")
    check_count(side, "side")
    check_count(colours, "colours")
    half = (side - 1) / 2
    y, x = torch.meshgrid(torch.arange(side) - half, torch.arange(side) - half, indexing="ij")
    kernels = []
    for number in range(count):
        turn = math.radians(spread * (2 * (number // 2) / max((count - 1) // 2, 1) - 1))
        across = x * math.cos(turn) + y * math.sin(turn)
        kernel = torch.exp(-0.5 * (across / (0.6 if number % 2 else 1.2)).square())
        kernels.append(kernel / kernel.sum())
    # sum_n |F C_n|^2 is at most count colours sum^2, each kernel being positive
    return torch.stack(kernels).unsqueeze(1).repeat(1, colours, 1, 1) / math.sqrt(count * colours)


class LearnedMaps(nn.Module):
    """max(N(z) - t, 0): shrinkage on M >= 0 of what a network makes of the maps; the prox itself where N(z) = z.

    Args:
        network: N, maps to maps, such as ``ResidualBlocks``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The maps."""
        return nonnegative(self.network(z).to(z.dtype), threshold)
