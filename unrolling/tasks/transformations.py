"""Groups of transformations that the signals of a task are as likely after as before, for losses of equivariance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolling.core.arguments import check_range
from unrolling.tasks.draws import Draws

Move = Callable[[Tensor], Tensor]


class Transformations:
    """A group that acts on signals (batch, ...); a subclass writes ``draw``."""

    def draw(self, x: Tensor, draws: Draws) -> Move:
        """A random element for each sample of x, as a function of tensors of this shape."""
        raise TypeError(f"{type(self).__name__} is a Transformations without `draw`")


def _each(x: Tensor, move: Callable[[Tensor, int], Tensor]) -> Tensor:
    return torch.stack([move(sample, number) for number, sample in enumerate(x)])


@dataclass(frozen=True)
class Turns(Transformations):
    """Turns by quarters of a circle in the last two dimensions; by halves where these are unlike."""

    def draw(self, x: Tensor, draws: Draws) -> Move:
        step = 1 if x.shape[-1] == x.shape[-2] else 2
        turns = (step * draws.integers(4 // step, x.shape[:1])).tolist()
        return lambda y: _each(y, lambda sample, number: torch.rot90(sample, turns[number], (-2, -1)))


@dataclass(frozen=True)
class Flips(Transformations):
    """Mirror images across either axis of the last two dimensions."""

    def draw(self, x: Tensor, draws: Draws) -> Move:
        flips = draws.integers(4, x.shape[:1]).tolist()
        return lambda y: _each(y, lambda sample, n: sample.flip([d for d in (-2, -1) if flips[n] >> (d + 2) & 1]))


@dataclass(frozen=True)
class Shifts(Transformations):
    """Circular shifts by whole pixels in the last two dimensions, or in the last one of vectors.

    Attributes:
        most: part of a side that is moved by at most, to either side; 0.5 takes all shifts.
    """

    most: float = 0.5

    def __post_init__(self) -> None:
        check_range(self.most, "most", 0.0, 0.5)

    def draw(self, x: Tensor, draws: Draws) -> Move:
        dims = tuple(range(-min(2, x.ndim - 1), 0))
        reach = [int(self.most * x.shape[d]) for d in dims]
        moves = [(draws.integers(2 * r + 1, x.shape[:1]) - r).tolist() for r in reach]
        return lambda y: _each(y, lambda sample, n: sample.roll([move[n] for move in moves], dims))


@dataclass(frozen=True)
class Rotations(Transformations):
    """Rotations by any angle around the middle of the last two dimensions, bilinear between pixels, zero outside: a
    group but for the interpolation and the corners.

    Attributes:
        degrees: the largest angle to either side.
    """

    degrees: float = 180.0

    def __post_init__(self) -> None:
        check_range(self.degrees, "degrees", 0.0, 180.0)

    def draw(self, x: Tensor, draws: Draws) -> Move:
        angles = (2 * draws.uniform(torch.zeros(x.shape[0])) - 1) * math.radians(self.degrees)
        return lambda y: rotate(y, angles)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Images (batch, ..., height, width), real or complex, turned by angles (batch,) in radians around their middle."""
    if x.is_complex():
        return torch.complex(rotate(x.real, angles), rotate(x.imag, angles))
    height, width = x.shape[-2:]
    planes = x.reshape(x.shape[0], -1, height, width)
    cos, sin = (f(angles).to(x) for f in (torch.cos, torch.sin))
    zero, ratio = torch.zeros_like(cos), height / width
    rows = [torch.stack([cos, -sin * ratio, zero], 1), torch.stack([sin / ratio, cos, zero], 1)]
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), list(planes.shape), align_corners=False)
    return torch.nn.functional.grid_sample(planes, grid, align_corners=False).reshape(x.shape)


@dataclass(frozen=True)
class Permutations(Transformations):
    """Permutations of the numbers of a vector, each with a random sign: of codes whose entries are alike and as often
    negative as positive.
    """

    def draw(self, x: Tensor, draws: Draws) -> Move:
        like = torch.zeros(x.shape)
        order, signs = draws.uniform(like).argsort(1).to(x.device), draws.signs(like).to(x)
        return lambda y: y.gather(1, order) * signs


@dataclass(frozen=True)
class Product(Transformations):
    """An element of each of several groups, one after the other.

    Attributes:
        groups: in order.
    """

    groups: tuple[Transformations, ...]

    def draw(self, x: Tensor, draws: Draws) -> Move:
        moves = [group.draw(x, draws) for group in self.groups]

        def move(y: Tensor) -> Tensor:
            for each in moves:
                y = each(y)
            return y

        return move
