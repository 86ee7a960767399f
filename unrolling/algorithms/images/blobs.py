"""Round spots in images, found without learning, and whatever is found in what an iteration reconstructs."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from unrolling.core import Iteration
from unrolling.core.arguments import check_numbers, check_range, check_shape
from unrolling.core.refusals import explain_call

DIRECTIONS = 8
EXCESS = 10.0


@explain_call
class Blobs(nn.Module):
    """How far a spot stands out of its surroundings on all sides: s = g(p) - max_j g(p + d u_j), g the image blurred to
    the width of a spot, u_j eight directions.

    A line is as bright along itself as in its middle and has s near 0, as edges have; an isolated round spot has its
    height. In the manner of SUSAN (Smith and Brady 1997, doi:10.1023/A:1007963824710), for spots. What lies in brighter
    surroundings than spots are looked for in has ten times the excess of max_j g(p + d u_j) taken off.

    Args:
        width: standard deviation of the blur, in pixels.
        distance: d, in pixels; 3.5 times the width by default.
        brightest: of the surroundings; None for any.

    Raises:
        ValueError: one that is not positive.
    """

    def __init__(self, width: float = 1.2, distance: float | None = None, brightest: float | None = None) -> None:
        super().__init__()
        distance = 3.5 * width if distance is None else distance
        check_range(width, "width", 0.0)
        check_range(distance, "distance", 0.0)
        self.width, self.distance, self.brightest = width, distance, brightest
        reach = math.ceil(distance + 3 * width)
        axis = torch.arange(-reach, reach + 1, dtype=torch.float32)

        def spot(y: float, x: float) -> Tensor:
            kernel = torch.exp(-((axis.unsqueeze(1) - y).square() + (axis - x).square()) / (2 * width**2))
            return kernel / kernel.sum()

        turns = [2 * math.pi * k / DIRECTIONS for k in range(DIRECTIONS)]
        around = [spot(distance * math.sin(turn), distance * math.cos(turn)) for turn in turns]
        self.register_buffer("kernels", torch.stack([spot(0, 0), *around]).unsqueeze(1))
        self.reach = reach

    kernels: Tensor

    def forward(self, image: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """Scores in the unit of the image, (batch, height, width)."""
        check_numbers(image, "image", "Blobs", real=True)
        check_shape(image, (None, None), "Blobs", "input", "image")
        wide = pad(image.unsqueeze(1), (self.reach,) * 4, mode="replicate")
        levels = conv2d(wide, self.kernels.to(image.dtype))
        around = levels[:, 1:].amax(1)
        found = levels[:, 0] - around
        return found if self.brightest is None else found - EXCESS * (around - self.brightest).clamp_min(0)


class Detected(Iteration):
    """The iteration of a reconstruction, with a detector that reads each of its images: the estimate is (batch, 2,
    height, width), the image and the scores of its pixels.

    Reconstruction followed by detection, one differentiable function of the measurements (Wu et al. 2018,
    doi:10.1007/978-3-030-00919-9_5). The detector has no part in the iteration itself: it sees the last image alone.

    Parameters: those of both parts, ``reconstruction.<name>`` and ``detector.<name>``.

    Args:
        reconstruction: an iteration whose estimates are images (batch, height, width).
        detector: images -> scores of the same shape.
    """

    def __init__(self, reconstruction: Iteration, detector: nn.Module) -> None:
        super().__init__()
        self.reconstruction, self.detector = reconstruction, detector

    @property
    def algorithm(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the reconstruction."""
        return self.reconstruction.algorithm or type(self.reconstruction).__name__.removeprefix("Parametrized")

    def prepare(self, data: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.reconstruction.prepare(data)

    def start(self, problem: Any) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.reconstruction.start(problem)

    def forward(self, state: Any, problem: Any) -> Any:
        return self.reconstruction(state, problem)

    def estimate(self, state: Any, problem: Any) -> Tensor:
        """The image and its scores, (batch, 2, height, width)."""
        image = self.reconstruction.estimate(state, problem)
        return torch.stack([image, self.detector(image)], 1)

    def residual(self, new: Any, old: Any, problem: Any) -> Tensor:
        return self.reconstruction.residual(new, old, problem)

    def check(self, data: Any) -> None:
        self.reconstruction.check(data)

    def advice(self) -> str:
        return self.reconstruction.advice()
