"""Convolutional sparse coding with a stride for pictures with noise of a known level: ISTA on the code of a picture,
averaged over the positions of its grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.core import Bounded, Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_count
from unrolling.operators.linear import learnable
from unrolling.operators.strided import StridedDictionary, to_cells
from unrolling.prox import soft_threshold

MIDDLE = 0.5  # what is taken from pictures first, so that a code of zeros is a grey picture
USUAL, LEAST = 25 / 255, 0.5 / 255  # the level at which ``slope`` changes nothing, and that below which it stays

STEEPEST = 0.9  # slope and momentum, either way


class NoisyImage(NamedTuple):
    """A picture with white noise."""

    image: Tensor  # (batch, channels, height, width), or (batch, height, width) of one channel
    sigma: Tensor  # (batch,): standard deviation of the noise, in the picture's units


class Shifted(NamedTuple):
    """A picture at every position of the grid that its atoms lie on."""

    image: Tensor  # as it was given
    cells: Tensor  # (batch, shifts, channels s s, rows, columns): less the middle grey
    sigma: Tensor  # (batch, 1, 1, 1, 1)


class Codes(NamedTuple):
    """The state of ``StridedISTA``: (batch, shifts, atoms, rows, columns)."""

    code: Tensor  # z
    previous: Tensor  # of the step before


class Shifts(nn.Module):
    """Puts a picture at positions of a grid of s x s pixels: ``NoisyImage`` to ``Shifted``.

    Args:
        stride: s.
        count: along a side: s for all of them, 1 for the picture as it lies.
    """

    def __init__(self, stride: int, count: int) -> None:
        super().__init__()
        self.stride, self.count = stride, float(count)

    def forward(self, data: NoisyImage) -> Shifted:
        image = data.image.unsqueeze(1) if data.image.ndim == 3 else data.image
        s, count = self.stride, int(self.count)
        height, width = image.shape[-2:]
        down, right = (-(height + count - 1) % s, -(width + count - 1) % s)
        # Where a shift leaves pixels free, the mirrored picture; beyond the border atoms are cut off.
        wide = _mirrored(image - MIDDLE, count - 1, count - 1 + down, count - 1 + right)
        rows, columns = height + count - 1 + down, width + count - 1 + right
        moved = [
            to_cells(wide[..., count - 1 - i : count - 1 - i + rows, count - 1 - j : count - 1 - j + columns], s)
            for i in range(count)
            for j in range(count)
        ]
        cells = torch.stack(moved, 1) if count > 1 else moved[0].unsqueeze(1)
        return Shifted(data.image, cells, data.sigma.reshape(-1, 1, 1, 1, 1))

    def back(self, cells: Tensor, image: Tensor) -> Tensor:
        """The mean of pictures at all positions, cut to the size of ``image``."""
        s, count = self.stride, int(self.count)
        height, width = image.shape[-2:]
        whole = functional.pixel_shuffle(cells, s)  # (batch, shifts, channels, rows, columns)
        total = None
        for i in range(count):
            for j in range(count):
                part = whole[:, i * count + j, :, i : i + height, j : j + width]
                total = part if total is None else total + part
        assert total is not None
        mean = total / count**2 + MIDDLE
        return mean.squeeze(1) if image.ndim == 3 else mean


class StridedISTA(Iteration):
    """z+ = S_theta(v + mu D^T (y - D v)), v = z + beta (z - z-), for min_z 0.5 |y - D z|^2 + sigma sum_i lambda_i |z_i|,
    theta = mu lambda sigma, of a picture y with white noise of standard deviation sigma; D a convolutional dictionary
    with a stride, beta = 0 until it is learned.

    ISTA (survey (2)-(4)) in the form of Simon and Elad 2019, arXiv:1909.05742: atoms lie at every s-th pixel, and the
    answer is the mean over all s^2 positions of their grid. What the dictionary does not explain is taken to be
    Gaussian of variance tau^2, so that the estimate is D z + tau^2 / (tau^2 + sigma^2) (y - D z): without noise it is
    y.

    Parameters: ``dictionary`` D, ``encoder`` E (its adjoint takes the place of mu D^T) and ``decoder`` C (makes the
    picture of the last code), all equal D, or mu D, at the start; ``threshold`` theta at a noise of 25 / 255, positive,
    one per atom; ``slope`` b, one per atom, in [-0.9, 0.9]: the threshold goes with sigma (sigma / (25 / 255))^b, so that 0, as at
    the start, is the classical rule; ``momentum`` beta, in [-0.9, 0.9]; ``remainder`` tau^2, positive.

    Args:
        dictionary: D.
        weight: lambda >= 0, a number or (atoms,).
        step_size: mu; by default 1 / |D|^2.
        remainder: tau.
        shifts: of the s positions along a side, how many are averaged: s for all, 1 for the picture as it lies.

    Raises:
        ValueError: a negative weight, a step size that is not positive, more shifts than there are.
    """

    algorithm = "ISTA"

    def __init__(
        self,
        dictionary: StridedDictionary,
        weight: float | Tensor,
        *,
        step_size: float | None = None,
        remainder: float = 1 / 255,
        shifts: int | None = None,
    ) -> None:
        super().__init__()
        stride = dictionary.stride
        shifts = stride if shifts is None else shifts
        check_count(shifts, "shifts", 1, stride)
        if step_size is None:
            side = 4 * dictionary.overlap  # positions: atoms farther apart do not meet
            step_size = 1 / dictionary.norm(1e-4, shape=(dictionary.kernel.shape[0], side, side)) ** 2
        if not step_size > 0:
            raise ValueError(f"step_size must be positive; got {step_size}")
        self.prepare = Shifts(stride, shifts)
        self.step_size = step_size
        self.dictionary = learnable(dictionary)
        self.encoder = learnable(dictionary, scale=step_size)
        self.decoder = learnable(dictionary)
        like = next(iter(self.dictionary.parameters())).detach()
        each = torch.as_tensor(check_weight(weight)).to(like).expand(like.shape[0]) * (step_size * USUAL)
        self.threshold = nn.Parameter(each.reshape(-1, 1, 1).clone())
        self.slope = nn.Parameter(torch.zeros_like(self.threshold.detach()))
        self.momentum = scalar_parameter(0.0, like)
        self.remainder = scalar_parameter(remainder**2, like)
        constrain(self, "threshold", Positive())
        constrain(self, "remainder", Positive())
        # Weaker noise then never has the larger threshold, and no momentum alone makes steps grow.
        constrain(self, "slope", Bounded(-STEEPEST, STEEPEST))
        constrain(self, "momentum", Bounded(-STEEPEST, STEEPEST))

    @property
    def shifts(self) -> float:
        """Positions along a side that are averaged."""
        return self.prepare.count

    @shifts.setter
    def shifts(self, count: float) -> None:
        self.prepare.count = float(count)

    def start(self, problem: Shifted) -> Codes:
        """z = 0."""
        cells = problem.cells
        more = self._dictionary().overlap - 1
        rows, columns = cells.shape[-2] + more, cells.shape[-1] + more
        zero = cells.new_zeros(cells.shape[0], cells.shape[1], self._dictionary().kernel.shape[0], rows, columns)
        return Codes(zero, zero)

    def forward(self, state: Codes, problem: Shifted, scale: float = 1.0) -> Codes:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        ahead = torch.lerp(state.previous, state.code, (1 + self.momentum).to(state.code.dtype)).flatten(0, 1)
        left = problem.cells.flatten(0, 1) - self._dictionary().cells(ahead)
        moved = ahead + self._modules["encoder"].correlate(left)  # pyright: ignore
        level = self.level(problem.sigma)
        threshold = level if scale == 1.0 else scale * level
        code = soft_threshold(moved.unflatten(0, state.code.shape[:2]), threshold.to(moved.dtype))
        return Codes(code, state.code)

    def level(self, sigma: Float[Tensor, "batch 1 1 1 1"]) -> Tensor:
        """The thresholds at a noise, (batch, 1, atoms, 1, 1)."""
        above = (sigma.clamp_min(LEAST) / USUAL).log()
        return (sigma / USUAL) * self.threshold * (self.slope * above).exp()

    def estimate(self, state: Codes, problem: Shifted) -> Tensor:
        """C z, and the part of the remainder that is not noise; the mean over positions."""
        decoder: StridedDictionary = self._modules["decoder"]  # pyright: ignore[reportAssignmentType]
        image = problem.image
        cells = decoder.cells(state.code.flatten(0, 1)).unflatten(0, state.code.shape[:2])
        mean = self.prepare.back(cells.to(image.dtype), image)
        variance = problem.sigma.square().reshape(-1, *(1,) * (image.ndim - 1))
        kept = self.remainder / (self.remainder + variance)
        return mean + kept * (image - mean)

    def objective(self, state: Codes, problem: Shifted) -> Float[Tensor, " batch"]:
        """0.5 |y - D z|^2 + sigma sum_i lambda_i |z_i|, added over positions, (batch,)."""
        left = problem.cells.flatten(0, 1) - self._dictionary().cells(state.code.flatten(0, 1))
        weighted = self.level(problem.sigma) / self.step_size * state.code.abs()
        return 0.5 * left.unflatten(0, state.code.shape[:2]).square().flatten(1).sum(1) + weighted.flatten(1).sum(1)

    def residual(self, new: Codes, old: Codes, problem: Shifted) -> Tensor:
        """Of the code; the one before only accompanies it."""
        return tree.relative_change(new.code, old.code)

    def atoms(self) -> Tensor:
        """The decoder's atoms as pictures, (count, height, width); of colours their mean."""
        return self.decoder.atoms().mean(1)  # pyright: ignore[reportCallIssue]

    def check(self, data: NoisyImage) -> None:
        super().check(data)
        image, sigma = data
        channels = self._dictionary().output_shape[0]
        if image.ndim not in (3, 4) or (image.shape[1] if image.ndim == 4 else 1) != channels:
            one = ", or (batch, height, width)" if channels == 1 else ""
            raise ValueError(f"image is (batch, {channels}, height, width){one}; got shape {tuple(image.shape)}")
        if sigma.shape != image.shape[:1]:
            raise ValueError(f"sigma is ({image.shape[0]},), one for each picture; got shape {tuple(sigma.shape)}")
        least = max(self._dictionary().patch, int(self.shifts))
        if min(image.shape[-2:]) < least:
            raise ValueError(
                f"pictures have {least} x {least} pixels at least; got {image.shape[-2]} x {image.shape[-1]}"
            )

    def _dictionary(self) -> StridedDictionary:
        return self._modules["dictionary"]  # pyright: ignore[reportReturnType]


def _mirrored(image: Tensor, before: int, below: int, right: int) -> Tensor:
    """Mirrored pixels above and to the left, below, and to the right."""
    if not (before or below or right):
        return image
    return functional.pad(image, (before, right, before, below), mode="reflect")


def cosine_atoms(count: int, size: int) -> Float[Tensor, "count size size"]:
    """The ``count`` lowest atoms of an overcomplete basis of cosines of size x size pixels, unit norm and, but for the
    first, zero mean (Aharon, Elad and Bruckstein 2006, doi:10.1109/TSP.2006.881199, section V).
    """
    per = max(size, int(-(-(count**0.5) // 1)) + 1)
    points = torch.arange(size, dtype=torch.float64) + 0.5
    waves = torch.cos(torch.outer(torch.arange(per, dtype=torch.float64), points) * torch.pi / per)
    waves[1:] -= waves[1:].mean(1, keepdim=True)
    both = torch.einsum("ax,by->abxy", waves, waves).reshape(per**2, size, size)
    order = (torch.arange(per).reshape(-1, 1) ** 2 + torch.arange(per) ** 2).flatten().argsort(stable=True)
    kept = both[order[:count]]
    return (kept / kept.flatten(1).norm(dim=1).reshape(-1, 1, 1)).float()
