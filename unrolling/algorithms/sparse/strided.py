"""Convolutional sparse coding with a stride for pictures with noise of a known level: ISTA on the code of a picture,
averaged over the positions of its grid.
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.core import Bounded, Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_count, check_numbers
from unrolling.core.execution import is_plain
from unrolling.operators.linear import learnable
from unrolling.operators.strided import StridedDictionary, from_cells, to_cells
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

    image: Tensor  # what is coded, (batch, channels, height, width), or without channels where there is one
    cells: Tensor  # (batch, shifts, channels s s, rows, columns): less the middle grey
    level: Tensor  # (batch, 1, 1, 1, 1): the standard deviation of its noise


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
        given, level = data
        image = given.unsqueeze(1) if given.ndim == 3 else given
        s, count = self.stride, int(self.count)
        height, width = image.shape[-2:]
        rows, columns = (side + count - 1 + -(side + count - 1) % s for side in (height, width))
        # Where a shift leaves pixels free, the mirrored picture; beyond the border atoms are cut off.
        wide = _mirrored(image - MIDDLE, count - 1, rows - height, columns - width)
        moved = [
            to_cells(wide[..., count - 1 - i : count - 1 - i + rows, count - 1 - j : count - 1 - j + columns], s)
            for i in range(count)
            for j in range(count)
        ]
        cells = torch.stack(moved, 1) if count > 1 else moved[0].unsqueeze(1)
        return Shifted(given, cells, level.reshape(-1, 1, 1, 1, 1))


def _back(cells: Tensor, image: Tensor, stride: int) -> Tensor:
    """The mean of pictures at all positions, cut to the size of ``image``, the middle grey added."""
    whole = from_cells(cells, stride)  # (batch, shifts, channels, rows, columns)
    count, (height, width) = isqrt(cells.shape[1]), image.shape[-2:]
    total = None
    for i in range(count):
        for j in range(count):
            part = whole[:, i * count + j, :, i : i + height, j : j + width]
            total = part if total is None else total + part
    assert total is not None
    mean = total / count**2 + MIDDLE
    return mean.squeeze(1) if image.ndim == 3 else mean


class StridedISTA(Iteration):
    """z+ = S_theta(v + mu D^T (y - D v)), v = z + beta (z - z-), theta = mu lambda l: sparse coding of a picture y with
    white noise of standard deviation l; data are ``NoisyImage``.

    For min_z 0.5 |y - D z|^2 + l sum_i lambda_i |z_i|, D a convolutional dictionary with a stride; beta = 0 until it is
    learned.

    ISTA (survey (2)-(4)) in the form of Simon and Elad 2019, arXiv:1909.05742: atoms lie at every s-th pixel, and the
    answer is the mean over all s^2 positions of their grid. What the dictionary does not explain is taken to be
    Gaussian of variance tau^2, so that the estimate is C z + tau^2 / (tau^2 + l^2) (y - C z): without noise it is y.

    Parameters: ``dictionary`` D, ``encoder`` E (its adjoint takes the place of mu D^T) and ``decoder`` C (makes the
    picture of the last code), all equal D, or mu D, at the start; ``threshold`` theta at a level of 25 / 255, positive,
    one per atom; ``slope`` b, one per atom, in [-0.9, 0.9]: the threshold goes with l (l / (25 / 255))^b, so that 0, as
    at the start, is the classical rule; ``momentum`` beta, in [-0.9, 0.9]; ``remainder`` tau^2, positive.

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
    unused_at_start = ("momentum",)

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
            step_size = 1 / dictionary.norm(1e-2, shape=(dictionary.kernel.shape[0], side, side)) ** 2
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
        # A weaker disturbance then never has the larger threshold, and no momentum alone makes steps grow.
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
        cells, atoms = problem.cells, self._dictionary().kernel.shape[0]
        rows, columns = (side + self._dictionary().overlap - 1 for side in cells.shape[-2:])
        zero = cells.new_zeros(cells.shape[0], cells.shape[1], atoms, rows, columns)
        return Codes(zero, zero)

    def forward(self, state: Codes, problem: Shifted, scale: float = 1.0) -> Codes:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        ahead = torch.lerp(state.previous, state.code, (1 + self.momentum).to(state.code.dtype)).flatten(0, 1)
        left = problem.cells.flatten(0, 1) - self._dictionary().cells(ahead)
        moved = ahead + self._modules["encoder"].correlate(left)  # pyright: ignore
        level = self.thresholds(problem.level)
        threshold = level if scale == 1.0 else scale * level
        code = soft_threshold(moved.unflatten(0, state.code.shape[:2]), threshold.to(moved.dtype))
        return Codes(code, state.code)

    def thresholds(self, level: Float[Tensor, "batch 1 1 1 1"]) -> Tensor:
        """Of all atoms at a level, (batch, 1, atoms, 1, 1)."""
        above = (level.clamp_min(LEAST) / USUAL).log()
        return (level / USUAL) * self.threshold * (self.slope * above).exp()

    def estimate(self, state: Codes, problem: Shifted) -> Tensor:
        """C z, the mean over positions, and the part of the remainder that is no disturbance."""
        decoder: StridedDictionary = self._modules["decoder"]  # pyright: ignore[reportAssignmentType]
        image = problem.image
        cells = decoder.cells(state.code.flatten(0, 1)).unflatten(0, state.code.shape[:2])
        mean = _back(cells.to(image.dtype), image, decoder.stride)
        variance = problem.level.square().reshape(-1, *(1,) * (image.ndim - 1))
        return mean + self.remainder / (self.remainder + variance) * (image - mean)

    def objective(self, state: Codes, problem: Shifted) -> Float[Tensor, " batch"]:
        """0.5 |y - D z|^2 + l sum_i lambda_i |z_i|, added over positions, (batch,)."""
        left = problem.cells.flatten(0, 1) - self._dictionary().cells(state.code.flatten(0, 1))
        weighted = self.thresholds(problem.level) / self.step_size * state.code.abs()
        return 0.5 * left.unflatten(0, state.code.shape[:2]).square().flatten(1).sum(1) + weighted.flatten(1).sum(1)

    def residual(self, new: Codes, old: Codes, problem: Shifted) -> Tensor:
        """Of the code; the one before only accompanies it."""
        return tree.relative_change(new.code, old.code)

    def atoms(self) -> Tensor:
        """The decoder's atoms as pictures, (count, height, width); of colours their mean."""
        return self.decoder.atoms().mean(1)  # pyright: ignore[reportCallIssue]

    def check(self, data: NoisyImage) -> None:
        super().check(data)
        image = data.image
        for name, value in zip(NoisyImage._fields, data, strict=True):
            check_numbers(value, name, "denoising", real=True)
        channels = self._dictionary().output_shape[0]
        if image.ndim not in (3, 4) or (image.shape[1] if image.ndim == 4 else 1) != channels:
            one = ", or (batch, height, width)" if channels == 1 else ""
            raise ValueError(f"image is (batch, {channels}, height, width){one}; got shape {tuple(image.shape)}")
        least = self._dictionary().patch
        if min(image.shape[-2:]) < least:
            raise ValueError(
                f"pictures have {least} x {least} pixels at least; got {image.shape[-2]} x {image.shape[-1]}"
            )
        check_noise(data)

    def _dictionary(self) -> StridedDictionary:
        return self._modules["dictionary"]  # pyright: ignore[reportReturnType]


def check_noise(data: NoisyImage) -> None:
    """Refuses levels of noise that are no part of white, or not one for each picture.

    Raises:
        ValueError: with the shape, or how far they go.
    """
    image, sigma = data
    if sigma.shape != image.shape[:1]:
        raise ValueError(f"sigma is ({image.shape[0]},), one for each picture; got shape {tuple(sigma.shape)}")
    if is_plain() and bool(((sigma < 0) | (sigma > 1)).any()):
        low, high = float(sigma.min()), float(sigma.max())
        raise ValueError(
            f"sigma is a part of white, from 0 to 1 (25 / 255, not 25); it goes from {low:.4g} to {high:.4g}"
        )


def _mirrored(image: Tensor, before: int, below: int, right: int) -> Tensor:
    """So many mirrored pixels above and to the left, below, and to the right."""
    return functional.pad(image, (before, right, before, below), mode="reflect") if before or below or right else image


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
