"""The Deep Parsing Network: one step of mean field with learned contexts of labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from unrolling.algorithms.vision.dense_crf import CRFPotentials, CRFProblem, PixelMeanField
from unrolling.algorithms.vision.gaussian_filters import TILE, WindowKernel, window_offsets
from unrolling.core.arguments import check_count, check_range

MOST_CONTEXTS = 7


class ParsingNetwork(PixelMeanField):
    """One step of mean field, Q <- softmax(U - Psi), U = -phi, whose penalty mixes K contexts of labels:

    S_j^v = sum over z in the window of d(j, z) Q_z^v        (layer b12)
    T_j^v = S_j^v Q_j^v  with ``factor``, else S_j^v
    Psi_i^u = min over k of sum over j, v of mu_k(j - i, u, v) T_j^v        (layers b13, a convolution, and b14)

    Deep Parsing Network, Liu, Li, Luo, Loy and Tang 2015, doi:10.1109/ICCV.2015.162 and 2018,
    doi:10.1109/TPAMI.2017.2737535; survey, section on computer vision, reference [33]. Names and sizes of the layers,
    and the place of the factor Q_j^v, are as we remember them; no code of the authors is known. d is the bilateral
    kernel of ``CRFPotentials`` within its window, normalised, without j itself. The minimum takes the place of the
    mixture's lambda_k: Psi is a penalty, of which the context that fits best counts. Run more than once, the step uses
    the Q that it is given.

    With one context, no factor and mu_1 = w mu at j = i alone it is a step of ``DenseCRF`` with W_s = 0 and W_b = w I.
    Contexts start as Potts's mu on areas of different shape, each of weight w: a pixel, 3 x 3 pixels, a row, a column,
    the whole window, two diagonals; with one alike start all would stay alike in training.

    Parameters: ``contexts`` mu (K L, L, size, size), K L L size^2 numbers, blocks of L rows a context; with ``pixels``
    also ``smoothing``, V of d(j, z) exp(V_jz), (2 radius + 1)^2 numbers for each pixel, 0 at the start.

    Args:
        classes: L.
        potentials: makes scores and the kernel of data; its back end is the window.
        contexts: K, 1 to 7.
        size: of the convolution, odd; 9 as published, for pictures of 512 pixels.
        weight: w.
        factor: whether S is multiplied by Q.
        pixels: height and width of all pictures, where d is learned for each pixel.

    Raises:
        ValueError: counts out of range, an even size, another back end.
    """

    contexts: Tensor

    def __init__(
        self,
        classes: int,
        potentials: CRFPotentials | None = None,
        *,
        contexts: int = 5,
        size: int = 5,
        weight: float = 2.0,
        factor: bool = False,
        pixels: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(potentials, classes)
        check_count(classes, "classes", 2)
        check_count(contexts, "contexts", 1, MOST_CONTEXTS)
        check_count(size, "size")
        check_range(weight, "weight")
        if size % 2 == 0:
            raise ValueError(f"size is {size}; the convolution has a pixel in its middle: take an odd size")
        potentials = self.potentials
        if potentials.back_end != "window":
            raise ValueError(f"the potentials' back end is {potentials.back_end!r}; layer b12 is a window")
        self.count, self.factor, self.pixels = contexts, factor, pixels
        areas = _areas(size)[:contexts]
        potts = (1 - torch.eye(classes)).view(1, classes, classes, 1, 1)
        start = weight * potts * areas.view(-1, 1, 1, size, size).to(torch.get_default_dtype())
        self.contexts = nn.Parameter(start.flatten(0, 1))
        if pixels is not None:
            height, width = pixels
            check_count(height, "the height of pixels")
            check_count(width, "the width of pixels")
            self.smoothing = nn.Parameter(torch.zeros((2 * potentials.radius + 1) ** 2, height, width))
            self.register_buffer("places", _window_places(potentials.radius), persistent=False)

    @property
    def reach(self) -> int:
        """Pixels that a step depends on, in each direction, but for the scale of the kernel."""
        return self.potentials.radius + self.contexts.shape[-1] // 2

    def check(self, data: Any) -> None:
        super().check(data)
        shape = tuple((data if isinstance(data, Tensor) else data[1]).shape[-2:])
        if self.pixels is not None and shape != tuple(self.pixels):
            raise ValueError(
                f"the picture has {shape[0]} x {shape[1]} pixels, and smoothing was learned for each of "
                f"{self.pixels[0]} x {self.pixels[1]}"
            )

    def penalty(self, chances: Tensor, problem: CRFProblem) -> Tensor:
        """Psi of marginals: layers b12, b13 and b14."""
        smooth = self.smoothed(chances, problem)
        seen = conv2d(smooth * chances if self.factor else smooth, self.contexts, padding="same")
        return seen.unflatten(1, (self.count, chances.shape[1])).amin(1)

    def smoothed(self, chances: Tensor, problem: CRFProblem) -> Tensor:
        """S, layer b12."""
        potentials = self.potentials
        kernel: WindowKernel = problem.bilateral
        if self.pixels is not None:
            kernel = kernel._replace(tiles=kernel.tiles * self._factors(self.pixels))
        return potentials.bilateral.apply(kernel, chances)

    def _factors(self, pixels: tuple[int, int]) -> Tensor:
        """exp(V) as tiles, (tiles, 64, surroundings)."""
        height, width = pixels
        padded = nn.functional.pad(self.smoothing, (0, -width % TILE, 0, -height % TILE)).exp()
        tiles = padded.unfold(1, TILE, TILE).unfold(2, TILE, TILE).permute(1, 2, 3, 4, 0).flatten(2, 3).flatten(0, 1)
        places: Tensor = self.places  # pyright: ignore[reportAssignmentType]
        return tiles.gather(2, places.expand(tiles.shape[0], -1, -1))

    def advice(self) -> str:
        return "it is made for one step; use smaller contexts for more"


def _areas(size: int) -> Tensor:
    """Areas of weight 1 that contexts start from, (7, size, size)."""
    middle = size // 2
    areas = torch.zeros(MOST_CONTEXTS, size, size)
    near = slice(max(0, middle - 1), middle + 2)
    areas[0, middle, middle] = 1
    areas[1, near, near] = 1
    areas[2, middle], areas[3, :, middle] = 1, 1
    areas[4] = 1
    areas[5], areas[6] = torch.eye(size), torch.eye(size).flip(0)
    return areas / areas.sum((1, 2), keepdim=True)


def _window_places(radius: int) -> Tensor:
    """For a pixel of a tile and one of its surroundings, the number of the latter's place in the window, (1, 64,
    surroundings); any where it lies outside.
    """
    offsets, seen = window_offsets(radius)
    rows, columns = (offsets.long() + radius).unbind(-1)
    return torch.where(seen, rows * (2 * radius + 1) + columns, 0).unsqueeze(0)
