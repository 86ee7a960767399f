"""Small convolutional networks on complex movies: parts of unrolled separations of movies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core.arguments import check_count
from unrolling.core.refusals import explain_call


@explain_call
class MovieFilter(nn.Module):
    """W2 * ReLU(W1 * x + b1) + b2, * convolutions of several movies along height, width and frames, zeros beyond the
    border; real and imaginary parts are channels of their own. W2 = 0 and b2 = 0 at the start.

    Args:
        inputs: movies that it is given.
        outputs: movies that it makes.
        width: channels between the two.
        size: of both kernels, (kh, kw, kt), odd.

    Raises:
        ValueError: a size that is even.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 8, size: tuple[int, int, int] = (3, 3, 3)) -> None:
        super().__init__()
        for name, count in (("inputs", inputs), ("outputs", outputs), ("width", width)):
            check_count(count, name)
        if any(side % 2 == 0 for side in size):
            raise ValueError(f"kernels have a middle, and odd sizes; got {size}")
        padding = (size[0] // 2, size[1] // 2, size[2] // 2)
        self.first = nn.Conv3d(2 * inputs, width, size, padding=padding)
        self.last = nn.Conv3d(width, 2 * outputs, size, padding=padding)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, movies: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The movies that it makes.

        Args:
            movies: complex, (batch, height, width, frames) each.

        Raises:
            TypeError: real movies.
            ValueError: another number of movies, or movies of other shapes.
        """
        count = self.first.in_channels // 2
        if len(movies) != count or any(movie.ndim != 4 or movie.shape != movies[0].shape for movie in movies):
            shapes = ", ".join(str(tuple(movie.shape)) for movie in movies)
            raise ValueError(f"movies are {count} of one shape (batch, height, width, frames); got {shapes}")
        if not all(movie.is_complex() for movie in movies):
            raise TypeError(f"movies are {movies[0].dtype}; filters of movies work on complex ones")
        x = torch.stack([part for movie in movies for part in (movie.real, movie.imag)], 1)
        made = self.last(torch.relu(self.first(x))).unbind(1)
        return tuple(torch.complex(made[k], made[k + 1]) for k in range(0, len(made), 2))


@explain_call
class MovieShrink(nn.Module):
    """z + C(z), C a ``MovieFilter``, in the place of the prox of a penalty on movies; the identity at the start.

    Args:
        width: of the filter.
        size: of its kernels.
    """

    def __init__(self, width: int = 8, size: tuple[int, int, int] = (3, 3, 3)) -> None:
        super().__init__()
        self.filter = MovieFilter(1, 1, width, size)

    def forward(self, z: Tensor, threshold: Tensor | float = 0.0) -> Tensor:
        """The movie; no threshold has a part in it.

        Args:
            z: complex, (batch, height, width, frames).
            threshold: of the prox that it stands for.
        """
        return z + self.filter((z,))[0]


@explain_call
class MovieCorrection(nn.Module):
    """What is added to a step of a separation of movies (``core.Convergent``): C(D, L, S), C a ``MovieFilter``, L and S
    after the step; zero at the start.

    Args:
        width: of the filter.
        size: of its kernels.
    """

    def __init__(self, width: int = 8, size: tuple[int, int, int] = (3, 3, 3)) -> None:
        super().__init__()
        self.filter = MovieFilter(3, 2, width, size)

    def forward(self, stepped: Any, state: Any, problem: Tensor) -> Any:
        """Both corrections, of the kind of the state.

        Args:
            stepped: the state after the step, two movies.
            state: before it.
            problem: D.
        """
        return type(stepped)(*self.filter((problem, *stepped)))
